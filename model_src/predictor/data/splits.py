"""Cutting networks into predecessor (P), segment (S) and successor (C), and what the cuts change.

In topological order the three parts are consecutive ranges, and messages only flow forward. So a part that begins at
position `start` encodes its nodes as the whole network does, except for nodes that lost a predecessor at the cut, or
are at most as many hops downstream of such a node as the encoder has layers. P begins at 0 and loses nothing; the part
that S begins is the part that the C before it begins, so they share these nodes.

A network is cut some ninety times and a cut changes some twenty nodes, so all cuts of many networks are worked out at
once, in arrays with a place for every node of every cut.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def split_bounds(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Where the segment of every split starts and stops, one split per segment length.

    The network's first node always stays in P and its last node in C; a segment may be left empty by that.
    """
    stops = np.cumsum(lengths).tolist()
    last = max(stops, default=0) - 1
    return [(max(start, 1), min(stop, last)) for start, stop in zip([0, *stops], stops, strict=False)]


def ranges(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The numbers of many ranges, one range after the other: ([2, 7], [4, 8]) -> [2, 3, 7]."""
    lengths = stops - starts
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - ends + lengths, lengths)


class Wiring(NamedTuple):
    """Networks one after the other, the nodes of each in topological order; a node goes by its position.

    Attributes:
        first: (networks + 1,) where the nodes of a network begin.
        edges: (2, m) positions of sources and targets.
        is_merge: (n,) whether a node is a merge operation (add, concat, mul).
    """

    first: np.ndarray
    edges: np.ndarray
    is_merge: np.ndarray


class Cuts(NamedTuple):
    """What changes for nodes at or after a cut.

    Attributes:
        copy_cut: (c,) the cut of every node that is encoded differently, ascending.
        copies: (c,) its position, ascending within a cut.
        sources: (e,) predecessors of these nodes inside the part: a position or, for copy j, n + j.
        targets: (e,) which copy each of them is a predecessor of.
        bypassed_cut: (b,) the cut of every merge that was left with one predecessor and is no longer there, ascending.
        bypassed: (b,) its position, ascending within a cut.
    """

    copy_cut: np.ndarray
    copies: np.ndarray
    sources: np.ndarray
    targets: np.ndarray
    bypassed_cut: np.ndarray
    bypassed: np.ndarray


class _Links:
    """The nodes at the other ends of every node's edges."""

    def __init__(self, nodes: np.ndarray, others: np.ndarray, n_nodes: int):
        order = np.lexsort((others, nodes))
        self._others = others[order]
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(nodes, minlength=n_nodes))])

    def of(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every link of the given nodes, which of them it is of (ascending), and the other end."""
        begin, end = self.starts[nodes], self.starts[nodes + 1]
        return np.repeat(np.arange(len(nodes)), end - begin), self._others[ranges(begin, end)]


class _Cutter:
    """Works out cuts; a (cut, node) pair goes by its key, which counts through the cuts and their networks' nodes."""

    def __init__(self, wiring: Wiring, starts: np.ndarray):
        n_nodes = len(wiring.is_merge)
        source, target = wiring.edges
        self.wiring, self.starts = wiring, starts
        self.sources, self.targets = _Links(target, source, n_nodes), _Links(source, target, n_nodes)
        network = np.searchsorted(wiring.first, starts, side="right") - 1
        sizes = wiring.first[network + 1] - wiring.first[network]
        ends = np.cumsum(sizes)
        self._offset = ends - sizes - wiring.first[network]
        self._cut = np.repeat(np.arange(len(starts)), sizes)
        self.changed = np.zeros(len(self._cut), dtype=bool)
        self.passed_to = np.full(len(self._cut), -1)  # the only predecessor of what is bypassed

    def keys(self, cuts: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        return self._offset[cuts] + nodes

    def pairs(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cuts = self._cut[keys]
        return cuts, keys - self._offset[cuts]

    def after(self, nodes: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The keys of nodes in all cuts at or before them but after the positions `before`."""
        first = np.searchsorted(self.starts, before, side="right")
        last = np.searchsorted(self.starts, nodes, side="right")
        return self.keys(ranges(first, last), np.repeat(nodes, last - first))

    def readers(self, keys: np.ndarray) -> np.ndarray:
        """The keys of the direct successors."""
        cuts, nodes = self.pairs(keys)
        owner, readers = self.targets.of(nodes)
        return self.keys(cuts[owner], readers)

    def inputs(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every predecessor inside the part, with bypassed ones replaced by theirs: whose it is, and its key."""
        cuts, nodes = self.pairs(keys)
        owner, sources = self.sources.of(nodes)
        inside = sources >= self.starts[cuts[owner]]
        owner, sources = owner[inside], self.keys(cuts[owner[inside]], sources[inside])
        moved = np.flatnonzero(self.passed_to[sources] >= 0)
        replaced = np.zeros(len(keys), dtype=bool)
        replaced[owner[moved]] = True  # only these may hear of a node twice
        while len(moved):
            sources[moved] = self.passed_to[sources[moved]]
            moved = moved[self.passed_to[sources[moved]] >= 0]
        twice, base = replaced[owner], len(self._cut)
        distinct = np.unique(owner[twice] * base + sources[twice])
        owner, sources = np.append(owner[~twice], distinct // base), np.append(sources[~twice], distinct % base)
        order = np.argsort(owner, kind="stable")
        return owner[order], sources[order]

    def bypass_merges(self) -> None:
        """Bypass merges that have one predecessor, as `graph_ops.prune_merges` does; their readers have changed."""
        merges = self.wiring.is_merge
        single = np.flatnonzero(merges & (np.diff(self.sources.starts) == 1))
        network = self.wiring.first[np.searchsorted(self.wiring.first, single, side="right") - 1]
        self.changed[self.after(single, network - 1)] = True
        while True:
            keys = np.flatnonzero(self.changed)
            keys = keys[merges[self.pairs(keys)[1]] & (self.passed_to[keys] < 0)]
            owner, sources = self.inputs(keys)
            alone = np.bincount(owner, minlength=len(keys)) == 1
            if not alone.any():
                return
            self.passed_to[keys[alone]] = sources[alone[owner]]
            self.changed[self.readers(keys[alone])] = True

    def spread(self, hops: int) -> np.ndarray:
        """Mark what is downstream of changed nodes; the keys of all that are encoded differently, ascending."""
        copied = self.changed & (self.passed_to < 0)
        frontier = np.flatnonzero(copied)
        for _ in range(hops - 1):
            readers = self.readers(frontier)
            reached = [readers]
            while len(passed := readers[self.passed_to[readers] >= 0]):
                reached.append(readers := self.readers(np.unique(passed)))
            fresh = np.zeros_like(copied)
            fresh[np.concatenate(reached)] = True
            fresh &= ~copied & (self.passed_to < 0)
            frontier = np.flatnonzero(fresh)
            copied |= fresh
        return np.flatnonzero(copied)


def find_cuts(wiring: Wiring, starts: np.ndarray, hops: int) -> Cuts:
    """Find the nodes that `hops` layers encode differently once everything before a cut is gone.

    Merges left with one predecessor are bypassed as `graph_ops.prune_merges` does.

    Args:
        wiring: The networks.
        starts: (cuts,) the positions of the cuts, ascending; at its first node a network is not cut.
        hops: Number of the encoder's layers.
    """
    cutter = _Cutter(wiring, starts)
    source, target = wiring.edges
    cutter.changed[cutter.after(target, source)] = True
    cutter.bypass_merges()
    keys = cutter.spread(hops)
    number = np.full(len(cutter.changed), -1)
    number[keys] = np.arange(len(keys))
    targets, sources = cutter.inputs(keys)
    copies = number[sources]
    sources = np.where(copies < 0, cutter.pairs(sources)[1], len(wiring.is_merge) + copies)
    return Cuts(*cutter.pairs(keys), sources, targets, *cutter.pairs(np.flatnonzero(cutter.passed_to >= 0)))
