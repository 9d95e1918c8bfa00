"""Cutting a network into predecessor (P), segment (S) and successor (C), and what a cut changes.

In topological order the three parts are consecutive ranges, and messages only flow forward. So a part that begins at
position `start` encodes its nodes as the whole network does, except for nodes that lost a predecessor at the cut, or
are at most as many hops downstream of such a node as the encoder has layers. P begins at 0 and loses nothing; the part
that S begins is the part that the C before it begins, so they share these nodes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


def split_bounds(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Where the segment of every split starts and stops, one split per segment length.

    The network's first node always stays in P and its last node in C; a segment may be left empty by that.
    """
    stops = np.cumsum(lengths).tolist()
    last = max(stops, default=0) - 1
    return [(max(start, 1), min(stop, last)) for start, stop in zip([0, *stops], stops, strict=False)]


class Wiring(NamedTuple):
    """The edges of a network whose nodes go by their position in topological order.

    Attributes:
        edges: (2, m) positions of sources and targets.
        sources: Predecessors of every node.
        targets: Successors of every node.
        merges: Positions of the merge operations (add, concat, mul).
    """

    edges: np.ndarray
    sources: list[list[int]]
    targets: list[list[int]]
    merges: set[int]


def wire(edges: np.ndarray, order: np.ndarray, is_merge: np.ndarray) -> Wiring:
    """Renumber the nodes of a network by position.

    Args:
        edges: (2, m) indices of sources and targets.
        order: (n,) node indices in topological order.
        is_merge: (n,) by node index, whether it is a merge operation.
    """
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    edges = position[edges]
    sources: list[list[int]] = [[] for _ in order]
    targets: list[list[int]] = [[] for _ in order]
    for source, target in edges.T.tolist():
        sources[target].append(source)
        targets[source].append(target)
    return Wiring(edges, sources, targets, set(position[is_merge].tolist()))


class CutEffect(NamedTuple):
    """What changes for nodes at or after a cut.

    Attributes:
        copies: Positions, ascending, of the nodes that are encoded differently.
        sources: For each of them, the positions of its predecessors inside the part.
        bypassed: Positions of the merge operations that were left with one predecessor and are no longer there.
    """

    copies: list[int]
    sources: list[list[int]]
    bypassed: list[int]


class _Lazy(dict):
    """Sets that are made when they are asked for first."""

    def __init__(self, make: Callable[[int], set[int]]):
        super().__init__()
        self._make = make

    def __missing__(self, key: int) -> set[int]:
        self[key] = self._make(key)
        return self[key]


def cut_effect(wiring: Wiring, start: int, hops: int) -> CutEffect:
    """Find the nodes from `start` on that `hops` layers encode differently once everything before is gone.

    Merges left with one predecessor are bypassed as `graph_ops.prune_merges` does.
    """
    sources = _Lazy(lambda node: {other for other in wiring.sources[node] if other >= start})
    targets = _Lazy(lambda node: set(wiring.targets[node]))
    source, target = wiring.edges
    changed = set(target[(source < start) & (target >= start)].tolist())
    bypassed = _bypass_merges(wiring, start, changed, sources, targets)
    copies = frontier = changed - bypassed
    for _ in range(hops - 1):
        frontier = {other for node in frontier for other in targets[node]} - copies
        copies = copies | frontier
    nodes = sorted(copies)
    return CutEffect(nodes, [sorted(sources[node]) for node in nodes], sorted(bypassed))


def _bypass_merges(wiring: Wiring, start: int, changed: set[int], sources: _Lazy, targets: _Lazy) -> set[int]:
    """Bypass merges that have one predecessor; updates the links and adds every node that got others to `changed`."""
    single = {node for node in wiring.merges if node >= start and len(wiring.sources[node]) == 1}
    waiting = list((changed & wiring.merges) | single)
    bypassed: set[int] = set()
    while waiting:
        node = waiting.pop()
        if node in bypassed or len(sources[node]) != 1:
            continue
        bypassed.add(node)
        for other in sources[node]:
            targets[other] = targets[other] - {node} | targets[node]
        for other in targets[node]:
            sources[other] = sources[other] - {node} | sources[node]
        changed |= targets[node]
        waiting += targets[node] & wiring.merges
    return bypassed
