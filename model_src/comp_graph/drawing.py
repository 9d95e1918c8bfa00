"""What a picture of a network shows: rows of text, one per node, stacked into boxes, and boxes into columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import sqrt

from model_src.comp_graph.sizes import window_of
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node

PLAIN_COLOUR = "#E8E8E8"

Edges = Iterable[tuple[int, int]]

_SQUARE = 24  # rows whose height is the usual width of a column, space between columns included


class Style(Enum):
    """How a row looks besides its colour."""

    PLAIN = "plain"
    MARKED = "marked"  # bold
    GHOST = "ghost"  # dashed, as are its edges: it is no longer there
    FOLD = "fold"  # stands for several nodes


@dataclass(frozen=True)
class Row:
    """A line of a picture, for a node as a rule.

    Attributes:
        text: What it says.
        name: What others call it, and it begins with.
        fill: Its colour.
        style: See `Style`.
        line: The colour of its frame.
    """

    text: str
    name: str = ""
    fill: str = PLAIN_COLOUR
    style: Style = Style.PLAIN
    line: str = "#555555"

    @property
    def title(self) -> str:
        """What others call it."""
        return self.name or self.text

    def __str__(self) -> str:
        return f"{self.name}  {self.text}" if self.name else self.text


@dataclass(frozen=True)
class Drawing:
    """A picture of a network.

    Attributes:
        rows: The rows, by any number.
        edges: Pairs of these numbers.
        header: Lines above the picture, the first one large.
        legend: What colours and styles mean.
    """

    rows: Mapping[int, Row]
    edges: Sequence[tuple[int, int]]
    header: Sequence[str] = ()
    legend: Sequence[Row] = ()


@dataclass
class Box:
    """Rows one after the other, each of which only reads the one above it.

    Attributes:
        rows: Their numbers.
        column: Of the picture, from 0.
    """

    rows: list[int] = field(default_factory=list)
    column: int = 0


def describe(node: Node) -> str:
    """Operation, kernel, stride, dilation, groups; channels and map (H×W; one number if square) where they change."""
    h, h_out, w, w_out, c, c_out = node.resolution
    words = [node.operation.name, *_window_words(node)]
    if node.operation.name == "input":
        words.append("×".join(map(str, node.out_shape)))
    if c != c_out:
        words.append(f"{c}→{c_out}")
    if (h, w) != (h_out, w_out):
        words.append(f"{_pair(h, w)}→{_pair(h_out, w_out)} px")
    return " ".join(words)


def _window_words(node: Node) -> list[str]:
    try:
        window = window_of(node)
    except ValueError:  # it has none, or does not say which
        return []
    words = ["×".join(map(str, window.kernel))] if max(window.kernel) else []
    if max(window.stride) > 1:
        words.append(f"/{_pair(*window.stride)}")
    if max(window.dilation) > 1:
        words.append(f"dilation {_pair(*window.dilation)}")
    if node.operation.name == "grouped_conv" and node.groups > 1:
        words.append(f"{node.groups} groups")
    return words


def _pair(first: int, second: int) -> str:
    return str(first) if first == second else f"{first}×{second}"


def in_groups(cg: ComputeGraph, groups: Iterable[Iterable[int]], colours: Sequence[str]) -> dict[int, Row]:
    """A row per node with its index; group j has colour j, and again from the first one on, nodes in none are grey."""
    fills = {index: colours[j % len(colours)] for j, group in enumerate(groups) for index in group}
    return {i: Row(describe(node), str(i), fills.get(i, PLAIN_COLOUR)) for i, node in enumerate(cg.nodes)}


def boxes(drawing: Drawing) -> list[Box]:
    """The rows in boxes, top to bottom and column by column."""
    order, column = in_columns(drawing.rows, drawing.edges)
    sources, targets = neighbours(drawing.rows, drawing.edges)
    found: list[Box] = []
    box_of: dict[int, Box] = {}
    for number in order:
        above = sources[number][0] if len(sources[number]) == 1 else None
        if above is not None and targets[above] == [number] and above in box_of and column[above] == column[number]:
            box = box_of[above]
        else:
            box = Box(column=column[number])
            found.append(box)
        box.rows.append(number)
        box_of[number] = box
    return found


def neighbours(rows: Iterable[int], edges: Edges) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Per row the rows that it reads, and those that read it."""
    sources: dict[int, list[int]] = {number: [] for number in rows}
    targets: dict[int, list[int]] = {number: [] for number in sources}
    for source, target in edges:
        sources[target].append(source)
        targets[source].append(target)
    return sources, targets


def in_columns(rows: Iterable[int], edges: Sequence[tuple[int, int]]) -> tuple[list[int], dict[int, int]]:
    """An order in which rows follow what they read, and the column of each.

    Columns are of about equal height, as many as make the picture about as wide as high, and begin where few edges
    have to be cut.
    """
    sources, targets = neighbours(rows, edges)
    order = _depth_first(sources, targets)
    depth: dict[int, int] = {}
    for number in order:
        depth[number] = 1 + max((depth.get(source, 0) for source in sources[number]), default=0)
    count = max(1, round(sqrt(max(depth.values(), default=1) / _SQUARE)))
    place = {number: at for at, number in enumerate(order)}
    spans = [(place[source], place[target]) for source, target in edges]
    column, begin = {}, 0
    for now in range(count):
        end = len(order) if now == count - 1 else _cheapest_cut(spans, begin, len(order) * (now + 1) // count, count)
        column.update(dict.fromkeys(order[begin:end], now))
        begin = end
    return order, column


def _cheapest_cut(spans: Sequence[tuple[int, int]], begin: int, wanted: int, count: int) -> int:
    """The place near the wanted one that the fewest edges cross.

    Args:
        spans: Per edge the places of its ends.
        begin: The place of the cut before.
        wanted: Where columns would be of equal height.
        count: Columns.
    """
    slack = len(spans) // (5 * count)
    places = range(max(begin + 1, wanted - slack), wanted + slack + 1)
    crossing = {at: sum(first < at <= last for first, last in spans) for at in places}
    return min(places, key=lambda at: (crossing[at], abs(at - wanted)))


def _depth_first(sources: Mapping[int, Sequence[int]], targets: Mapping[int, Sequence[int]]) -> list[int]:
    """Rows behind what they read, branch by branch; those of a cycle, which only ghosts can make, in any order."""
    missing = {number: len(found) for number, found in sources.items()}
    ready = [number for number in reversed(missing) if not missing[number]]
    order: dict[int, None] = {}
    while len(order) < len(missing):
        number = ready.pop() if ready else next(each for each in missing if each not in order)
        if number in order:
            continue
        order[number] = None
        for target in reversed(targets[number]):
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    return list(order)
