"""One row for all nodes that a predictor cannot tell apart.

After k layers a node's encoding depends on nothing but the features that reach it in k steps. So nodes, of the same or
of different graphs, are coloured as in the Weisfeiler-Lehman test, k times along incoming edges (or along all, where
messages go both ways), and layer k computes one row for each colour. Networks repeat their cells and parts of a network
repeat the network: a quarter of the rows is left in the last layer, and next to none in the first ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model_src.predictor.data.batching import FeatureTensors, Pack, Selection, part_shares
from model_src.predictor.data.splits import ranges
from model_src.predictor.data.sums import RangeMeans, Sums

# Colours only need to differ within a batch: among 40,000 random numbers of 64 bits, two are equal once in 10^10 times.
_OFFSET, _OWN, _TOLD, _FIRST, _SECOND = map(
    np.uint64, (0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xA0761D6478BD642F, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
MIN_NODES = 200  # fewer are encoded in less time than it takes to find the repeats


class Step(NamedTuple):
    """How the rows of a layer come from those of the layer before.

    Attributes:
        own: (m,) the row that each was.
        sums: Sums over the rows of the layer before, each of which counts as two, or as three where messages go both
            ways: k i is row i as a node's own, k i + 1 as a message along an edge, k i + 2 as one against it.
    """

    own: Tensor
    sums: Sums

    def to(self, device: torch.device, dtype: torch.dtype) -> "Step":
        """The same step on another device and with another type of weights."""
        return Step(self.own.to(device), self.sums.to(device, dtype))


@dataclass(frozen=True)
class FoldedBatch:
    """What a `GraphBatch` holds, without repeated rows.

    Attributes:
        features: Features of distinct nodes.
        rows: (n,) the rows of these features that the first layer takes.
        steps: One for every layer.
        pooling: The parts as means of the last layer's rows.
    """

    features: FeatureTensors
    rows: Tensor
    steps: tuple[Step, ...]
    pooling: Sums | RangeMeans

    def to(self, device: torch.device, dtype: torch.dtype) -> "FoldedBatch":
        """The batch on another device and with another type of floating-point numbers."""
        return FoldedBatch(
            self.features.to(device, dtype),
            self.rows.to(device),
            tuple(step.to(device, dtype) for step in self.steps),
            self.pooling.to(device, dtype),
        )


def fold(pack: Pack, hops: int, items: np.ndarray | slice = slice(None), is_bidirectional: bool = False) -> FoldedBatch:
    """The batch of the given items with one row per colour, for an encoder of `hops` layers."""
    chosen, n_kinds = pack.select(items), 3 if is_bidirectional else 2
    pairs, starts = _inputs(chosen.edges, len(chosen.rows), n_kinds)
    if len(chosen.rows) < MIN_NODES:
        nodes, place = np.arange(len(chosen.rows)), np.arange(len(chosen.rows))
        steps = [Step(torch.from_numpy(nodes), Sums.made_of(pairs, np.diff(starts)))] * hops
    else:
        nodes, place, steps = _shared(chosen.rows, pairs, starts, hops, n_kinds)
    pooling = _pooling(pack, chosen, place)
    return FoldedBatch(pack.features, torch.from_numpy(chosen.rows[nodes]), tuple(steps), pooling)


def _pooling(pack: Pack, chosen: Selection, place: np.ndarray) -> Sums | RangeMeans:
    """The parts as means over rows; `place` is the row of every node of the selection."""
    parts, shares = chosen.parts, part_shares(chosen.parts)
    if pack.parts.shape[1] == 1:
        nodes, owners, signs = pack.members(parts)
        counts = np.bincount(owners, minlength=len(parts))
        return Sums.made_of(place[chosen.place[nodes]], counts, signs * shares[owners])
    nodes, owners, signs = pack.changes(parts)
    changes = Sums.made_of(place[chosen.place[nodes]], np.bincount(owners, minlength=len(parts)), signs)
    networks, network = np.unique(parts[:, 0], return_inverse=True)
    first, stop = pack.node_start[networks], pack.node_start[networks + 1]
    rows = place[chosen.place[ranges(first, stop)]]
    return RangeMeans.made_of(rows, stop - first, (network, parts[:, 1], parts[:, 2]), changes, shares)


def _shared(
    rows: np.ndarray, pairs: np.ndarray, starts: np.ndarray, hops: int, n_kinds: int
) -> tuple[np.ndarray, np.ndarray, list[Step]]:
    """The nodes that the first layer takes, for every node its row in the last layer, and the steps between."""
    colours = [_mixed(rows.astype(np.uint64) + _OFFSET)]
    for _ in range(hops):
        kinds = [_OWN * colours[-1], colours[-1], _TOLD * colours[-1]]
        of_pairs = np.stack(kinds[:n_kinds], axis=1).ravel()[pairs]
        colours.append(_mixed(np.add.reduceat(of_pairs, starts[:-1])))
    nodes, last = _distinct(colours.pop())
    steps = []
    while colours:  # which rows are needed shows from the last layer on
        needed = pairs[ranges(starts[nodes], starts[nodes + 1])]
        sources, kinds = np.divmod(needed, n_kinds)
        first, place = _distinct(colours.pop()[sources])
        sums = Sums.made_of(n_kinds * place + kinds, starts[nodes + 1] - starts[nodes])
        steps.append(Step(torch.from_numpy(place[kinds == 0]), sums))
        nodes = sources[first]
    return nodes, last, steps[::-1]


def _inputs(edges: np.ndarray, n_nodes: int, n_kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """What goes into a node, node by node, and where that of each begins.

    That is k i for the node i itself, k j + 1 for every j with an edge to it, k j + 2 (of three kinds) for every j that
    it has an edge to.
    """
    own, (sources, targets) = np.arange(n_nodes), edges
    pairs = np.concatenate([n_kinds * own, n_kinds * sources + 1, *([n_kinds * targets + 2] if n_kinds > 2 else [])])
    targets = np.concatenate([own, targets, *([sources] if n_kinds > 2 else [])])
    starts = np.concatenate([[0], np.cumsum(np.bincount(targets))])
    return np.sort(targets << 32 | pairs, kind="stable") & 0xFFFFFFFF, starts  # stable is quick on sorted runs


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers of 64 bits whose every bit depends on all bits of the given ones (the end of SplitMix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return numbers ^ (numbers >> np.uint64(31))


def _distinct(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions of distinct colours, and for every colour which of these it equals.

    A colour's leading bits are its slot in a table. Where two meet in a slot, which is rare, the repeats of one of them
    are not found: each counts as distinct.
    """
    own, n_bits = np.arange(len(colours), dtype=np.int32), (16 * len(colours)).bit_length()
    slots = (colours >> np.uint64(64 - n_bits)).astype(np.int64)
    table = np.empty(1 << n_bits, dtype=np.int32)
    table[slots] = own
    same = table[slots]
    same = np.where(colours[same] == colours, same, own)
    is_first = same == own
    return np.flatnonzero(is_first), (np.cumsum(is_first) - 1)[same]
