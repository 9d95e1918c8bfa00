"""Pictures of computation graphs, drawn by Graphviz."""

import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

import graphviz

from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node
from model_src.files import atomic_write

# Matplotlib's ggplot colour cycle without its grey.
GROUP_COLOURS = ("#E24A33", "#348ABD", "#988ED5", "#FBC15E", "#8EBA42", "#FFB5B8")
PLAIN_COLOUR = "#E8E8E8"
# Small boxes in tight rows: 300 layers below each other stay under 10,000 pixels and can still be read.
_GRAPH_STYLE = {"dpi": "96", "ranksep": "0.12", "nodesep": "0.15"}
_NODE_STYLE = {
    "shape": "box",
    "style": "filled",
    "fontname": "Helvetica",
    "fontsize": "10",
    "height": "0",
    "margin": "0.06,0.03",
}
_EDGE_STYLE = {"arrowsize": "0.5"}


class DrawingError(RuntimeError):
    """A picture could not be made; the text is one line."""


def draw_cg(cg: ComputeGraph, path: str | Path, groups: Sequence[Iterable[int]] = (), timeout: float = 120) -> None:
    """Write a PNG of a graph: one box per node with id, operation and (H, W, C) before and after it.

    Args:
        cg: The graph.
        path: The PNG file; its folder is made.
        groups: Lists of node indices; group j is filled with colour j mod 6, nodes in no group stay grey. An empty
            group keeps its number, so the same segment can have the same colour in two pictures.
        timeout: Seconds after which the layout is given up.

    Raises:
        DrawingError: Graphviz is missing, failed or took too long, or the file cannot be written.
    """
    source = to_dot(cg, groups).encode()
    try:
        done = subprocess.run([_dot_program(), "-Tpng"], input=source, capture_output=True, timeout=timeout, check=True)
        with atomic_write(path) as file:
            file.write(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise DrawingError(f"{path}: no picture after {timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.decode(errors="replace").split()) or f"exit code {error.returncode}"
        raise DrawingError(f"{path}: Graphviz failed: {reason}") from error
    except OSError as error:
        raise DrawingError(f"{path}: {error}") from error


def to_dot(cg: ComputeGraph, groups: Sequence[Iterable[int]] = ()) -> str:
    """The picture in Graphviz' DOT language."""
    colours = {index: GROUP_COLOURS[j % len(GROUP_COLOURS)] for j, group in enumerate(groups) for index in group}
    dot = graphviz.Digraph(graph_attr=_GRAPH_STYLE, node_attr=_NODE_STYLE, edge_attr=_EDGE_STYLE)
    for index, node in enumerate(cg.nodes):
        dot.node(str(index), graphviz.escape(_text(index, node)), fillcolor=colours.get(index, PLAIN_COLOUR))
    dot.edges((str(source), str(target)) for source, target in cg.edge_pairs)
    return dot.source


def _text(index: int, node: Node) -> str:
    before, after = ("×".join(map(str, shape)) for shape in (node.in_shape, node.out_shape))
    return f"{index}  {before if before == after else f'{before} → {after}'}  {node.op_name}"


def _dot_program() -> str:
    """The system's `dot`, else the program that the package graphviz-pure puts beside this Python or on the path."""
    name = "graphviz-pure"
    found = shutil.which("dot") or shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise DrawingError("Graphviz is missing: install its `dot`, or `pip install graphviz-pure`")
    return found
