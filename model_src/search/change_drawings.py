"""Drawings of a result that show what is new in it: of the whole network, and of its changed regions alone."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from model_src.comp_graph.drawing import Drawing, Row, Style, describe, neighbours
from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.changes import Changes

# Light, and different for neighbours; a thirteenth swap has the first colour again.
STEP_COLOURS = (
    "#FDB462", "#8DD3C7", "#BEBADA", "#FB8072", "#80B1D3", "#B3DE69",
    "#FCCDE5", "#FFED6F", "#CCEBC5", "#BC80BD", "#E5C494", "#66C2A5",
)  # fmt: skip
_WHITE = "#FFFFFF"
_CONTEXT = 2  # layers around a change
_FOLDED = 3  # unchanged layers that become one box, at least

Edges = list[tuple[int, int]]


def whole_network(changes: Changes, header: Sequence[str] = ()) -> Drawing:
    """The whole network: new nodes in the colour of their swap, resized ones marked, all others grey."""
    rows = {index: _row(changes, index) for index in range(changes.graph.n_nodes)}
    return Drawing(rows, changes.graph.edge_pairs, header, _legend(changes, rows.values()))


def changed_regions(changes: Changes, header: Sequence[str] = ()) -> Drawing:
    """What changed and two layers around it; removed nodes are ghosts, other stretches are one row each."""
    graph = changes.graph
    shown = _surroundings(graph, changes.touched)
    folds = [fold for fold in stretches(graph, shown) if len(fold) >= _FOLDED]
    stands_for = {index: graph.n_nodes + number for number, fold in enumerate(folds) for index in fold}
    rows = {index: _row(changes, index) for index in range(graph.n_nodes) if index not in stands_for}
    for number, fold in enumerate(folds):
        rows[graph.n_nodes + number] = Row(f"{len(fold)} layers unchanged", "", _WHITE, Style.FOLD)
    edges = [(stands_for.get(source, source), stands_for.get(target, target)) for source, target in graph.edge_pairs]
    ghosts, ghost_edges = _ghosts(changes, first=graph.n_nodes + len(folds))
    rows |= ghosts
    edges += [(stands_for.get(source, source), stands_for.get(target, target)) for source, target in ghost_edges]
    edges = [pair for pair in dict.fromkeys(edges) if pair[0] != pair[1]]
    return Drawing(rows, edges, header, _legend(changes, rows.values()))


def _row(changes: Changes, index: int) -> Row:
    row = Row(describe(changes.graph.nodes[index]), str(index))
    if index in changes.brought:
        step = changes.brought[index]
        return replace(row, text=f"{row.text}  · swap {step + 1}", fill=_colour(step))
    if index in changes.resized:
        return replace(row, text=f"{row.text}  ({changes.resized[index]})", style=Style.MARKED)
    return row


def _colour(step: int) -> str:
    return STEP_COLOURS[step % len(STEP_COLOURS)]


def _ghosts(changes: Changes, first: int) -> tuple[dict[int, Row], Edges]:
    """The removed nodes as rows numbered from `first` on, and their edges, also with nodes that are still there."""
    number = {old: first + place for place, old in enumerate(changes.removed)}
    rows = {
        number[old]: Row(
            f"{describe(changes.source.nodes[old])}  · swap {step + 1}", f"input's {old}", _WHITE, Style.GHOST
        )
        for old, step in changes.removed.items()
    }
    here = number | {old: index for index, old in changes.kept.items()}
    edges = [
        (here[source], here[target])
        for source, target in changes.source.edge_pairs
        if (source in number or target in number) and source in here and target in here
    ]
    return rows, edges


def _legend(changes: Changes, rows: Iterable[Row]) -> list[Row]:
    """What every swap did, and the styles that occur."""
    entries = []
    for number, step in enumerate(changes.steps):
        n_out, n_in = len(step["removed"]), len(step["inserted"])
        text = f"swap {number + 1}, iteration {step['iteration']}: {n_out} out, {n_in} in"
        entries.append(Row(text, fill=_colour(number)))
    styles = {row.style for row in rows}
    others = {
        Style.PLAIN: Row("as in the input"),
        Style.MARKED: Row("sizes changed", style=Style.MARKED),
        Style.GHOST: Row("no longer there", fill=_WHITE, style=Style.GHOST),
    }
    return entries + [row for style, row in others.items() if style in styles]


def _surroundings(graph: ComputeGraph, centre: Collection[int]) -> set[int]:
    found = latest = set(centre)
    for _ in range(_CONTEXT):
        latest = {other for index in latest for other in graph.predecessors[index] + graph.successors[index]} - found
        found = found | latest
    return found


def stretches(graph: ComputeGraph, shown: Collection[int]) -> list[list[int]]:
    """The nodes that are not shown, in connected pieces that read from the same shown ones, directly or not.

    So a piece never lies both above and below a shown node.
    """
    above = [0] * graph.n_nodes  # the shown nodes before a node, a bit each
    for index in topological_order(graph):
        for source in graph.predecessors[index]:
            above[index] |= above[source] | (1 << source if source in shown else 0)
    hidden = [index for index in range(graph.n_nodes) if index not in shown]
    inner = [(s, t) for s, t in graph.edge_pairs if s not in shown and t not in shown and above[s] == above[t]]
    sources, targets = neighbours(hidden, inner)
    pieces: list[list[int]] = []
    seen: set[int] = set()
    for begin in hidden:
        if begin in seen:
            continue
        piece, seen = [begin], seen | {begin}
        for index in piece:  # grows while it is walked
            new = [other for other in sources[index] + targets[index] if other not in seen]
            seen.update(new)
            piece += dict.fromkeys(new)
        pieces.append(piece)
    return pieces
