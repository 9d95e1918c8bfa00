"""Pictures of computation graphs, drawn by Graphviz."""

import html
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from math import ceil
from pathlib import Path

import graphviz

from model_src.comp_graph.drawing import Drawing, Row, Style, boxes, in_groups
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import atomic_write

# Matplotlib's ggplot colour cycle without its grey.
GROUP_COLOURS = ("#E24A33", "#348ABD", "#988ED5", "#FBC15E", "#8EBA42", "#FFB5B8")
_GRAPH_STYLE = {
    "dpi": "96",
    "ranksep": "0.18",
    "nodesep": "0.15",
    "fontname": "Helvetica",
    "labelloc": "t",
    "labeljust": "l",
    "pack": "20",  # every column is laid out by itself
}
_NODE_STYLE = {"shape": "plain", "fontname": "Helvetica", "fontsize": "10"}
_EDGE_STYLE = {"arrowsize": "0.5", "color": "#555555"}
_TABLE = '<TABLE BORDER="0" CELLBORDER="1" CELLPADDING="3" CELLSPACING="{space}">{rows}</TABLE>'
_LEGEND_WIDTH = 5  # entries
_HELVETICA = 0.92  # of the width of DejaVu Sans, at most: what Graphviz draws letters in
_ROW_SIZE, _LINE_SIZES = 10, (15, 11)  # of letters: in rows; in the first line of the header and in the others

# Points that a text of a size has to have at least, in bold or not.
Room = Callable[[str, int, bool], int]


class DrawingError(RuntimeError):
    """A picture could not be made; the text is one line."""


def draw_cg(cg: ComputeGraph, path: str | Path, groups: Sequence[Iterable[int]] = (), timeout: float = 120) -> None:
    """Write a PNG of a graph, and an SVG beside it: a row per node with its index and `drawing.describe`.

    Args:
        cg: The graph.
        path: The PNG file; its folder is made.
        groups: Lists of node indices; group j is filled with colour j mod 6, nodes in no group stay grey. An empty
            group keeps its number, so the same segment can have the same colour in two pictures.
        timeout: Seconds after which the layout is given up.

    Raises:
        DrawingError: Graphviz is missing, failed or took too long, or a file cannot be written.
    """
    draw(Drawing(in_groups(cg, groups, GROUP_COLOURS), cg.edge_pairs), path, timeout)


def draw(drawing: Drawing, path: str | Path, timeout: float = 120) -> None:
    """Write a picture as an SVG, and beside it in the format that the path ends in.

    Raises:
        DrawingError: See `draw_cg`.
    """
    path = Path(path)
    try:
        for suffix in dict.fromkeys((path.suffix, ".svg")):
            content = rendered(drawing, suffix[1:], timeout)
            with atomic_write(path.with_suffix(suffix)) as file:
                file.write(content)
    except (DrawingError, OSError) as error:
        raise DrawingError(f"{path}: {error}") from error


def rendered(drawing: Drawing, kind: str = "svg", timeout: float = 120) -> bytes:
    """A picture as the content of a file.

    Args:
        drawing: The picture.
        kind: What Graphviz is to make of it: `svg`, `png`, `pdf`, ...
        timeout: Seconds after which the layout is given up.

    Raises:
        DrawingError: Graphviz is missing, failed or took too long.
    """
    dot = to_dot(drawing, _room_in_points(1 if kind == "svg" else _HELVETICA))
    command, source = [_dot_program(), f"-T{kind}"], dot.encode(errors="replace")
    try:
        return subprocess.run(command, input=source, capture_output=True, timeout=timeout, check=True).stdout
    except subprocess.TimeoutExpired as error:
        raise DrawingError(f"no picture after {timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.decode(errors="replace").split()) or f"exit code {error.returncode}"
        raise DrawingError(f"Graphviz failed: {reason}") from error
    except OSError as error:
        raise DrawingError(f"Graphviz cannot be run: {error}") from error


def to_dot(drawing: Drawing, room: Room | None = None) -> str:
    """A picture in Graphviz' DOT language.

    An edge from one column to another is cut: each of its ends says where it goes on.

    Args:
        drawing: The picture.
        room: What texts have to have; None for what Graphviz measures, which may not know of × and →.
    """
    room = room or (lambda text, size, bold: 0)
    found = boxes(drawing)
    box_of = {number: f"b{position}" for position, box in enumerate(found) for number in box.rows}
    column_of = {f"b{position}": box.column for position, box in enumerate(found)}
    labels = {f"b{position}": _box([drawing.rows[i] for i in box.rows], room) for position, box in enumerate(found)}
    dashed: dict[tuple[str, str], bool] = {}
    for source, target in drawing.edges:
        tail, head = box_of[source], box_of[target]
        pairs = [(tail, head)]
        if column_of[tail] != column_of[head]:
            leaves, enters = f"{tail}to{target}", f"{head}from{source}"
            pairs = [(tail, leaves), (enters, head)]
            column_of |= {leaves: column_of[tail], enters: column_of[head]}
            labels |= {leaves: f"to {drawing.rows[target].title}", enters: f"from {drawing.rows[source].title}"}
        is_dashed = Style.GHOST in (drawing.rows[source].style, drawing.rows[target].style)
        dashed |= {pair: dashed.get(pair, True) and is_dashed for pair in pairs if pair[0] != pair[1]}
    dot = graphviz.Digraph(graph_attr=_GRAPH_STYLE, node_attr=_NODE_STYLE, edge_attr=_EDGE_STYLE)
    dot.attr(label=_head(drawing, room), packmode=f"array_tu{1 + max(column_of.values(), default=0)}")
    for name, label in labels.items():
        dot.node(name, label, sortv=str(column_of[name] + 1))
    for (tail, head), is_dashed in dashed.items():
        dot.edge(tail, head, **({"style": "dashed"} if is_dashed else {}))
    _hold_together(dot, column_of, {head for _, head in dashed})
    return dot.source


def _hold_together(dot: graphviz.Digraph, column_of: Mapping[str, int], heads: Set[str]) -> None:
    """Tie all that begins in a column to a point above it: what is not connected would be laid out side by side."""
    begins: dict[int, list[str]] = {}
    for name, column in column_of.items():
        if name not in heads:
            begins.setdefault(column, []).append(name)
    for column, names in begins.items():
        if len(names) > 1:
            dot.node(f"top{column}", "", shape="point", style="invis", width="0", sortv=str(column + 1))
            for name in names:
                dot.edge(f"top{column}", name, style="invis")


def _room_in_points(share: float) -> Room:
    """A share of the room that texts take in DejaVu Sans, one of the widest fonts that a viewer may show an SVG in."""
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    fonts = [ImageFont.truetype(str(folder / f"DejaVuSans{kind}.ttf"), _ROW_SIZE) for kind in ("", "-Bold")]
    return lambda text, size, bold: ceil(share * fonts[bold].getlength(text) * size / _ROW_SIZE)


def _head(drawing: Drawing, room: Room) -> str:
    """Header, the first line large, and legend."""
    lines = []
    for number, line in enumerate(drawing.header):
        size = _LINE_SIZES[number > 0]
        lines.append((room(line, size, False), f'<FONT POINT-SIZE="{size}">{_safe(line)}</FONT>'))
    for first in range(0, len(drawing.legend), _LEGEND_WIDTH):
        cells = "".join(_cell(row, room) for row in drawing.legend[first : first + _LEGEND_WIDTH])
        lines.append((0, _TABLE.format(space=4, rows=f"<TR>{cells}</TR>")))
    rows = "".join(f'<TR><TD ALIGN="LEFT" WIDTH="{width}">{line}</TD></TR>' for width, line in lines)
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{rows}</TABLE>>' if rows else ""


def _box(rows: Sequence[Row], room: Room) -> str:
    return f"<{_TABLE.format(space=0, rows=''.join(f'<TR>{_cell(row, room)}</TR>' for row in rows))}>"


def _cell(row: Row, room: Room) -> str:
    """A row as a cell of Graphviz' tables."""
    before, after, attributes = _LOOKS[row.style]
    width = room(str(row), _ROW_SIZE, row.style is Style.MARKED)
    if width:
        attributes += f' WIDTH="{width + 8}"'  # padding and frame
    return (
        f'<TD ALIGN="LEFT" COLOR="{row.line}" BGCOLOR="{row.fill}"{attributes}>'
        f'<FONT POINT-SIZE="{_ROW_SIZE}">{before}{_safe(str(row))}{after}</FONT></TD>'
    )


_LOOKS = {
    Style.PLAIN: ("", "", ""),
    Style.MARKED: ("<B>", "</B>", ' BORDER="2"'),
    Style.GHOST: ('<FONT COLOR="#777777">', "</FONT>", ' STYLE="dashed"'),
    Style.FOLD: ("<I>", "</I>", ""),
}


def _safe(text: str) -> str:
    """A text for Graphviz' tables: on one line, without control characters, signs of HTML escaped."""
    return html.escape("".join(sign if sign.isprintable() else " " for sign in text)) or " "


def _dot_program() -> str:
    """The system's `dot`, else the program that the package graphviz-pure puts beside this Python or on the path."""
    name = "graphviz-pure"
    found = shutil.which("dot") or shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise DrawingError("Graphviz is missing: install its `dot`, or `pip install graphviz-pure`")
    return found
