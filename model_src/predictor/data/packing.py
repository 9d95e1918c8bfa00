"""Putting networks, whole or split, into a `Pack` from which batches are drawn."""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, count
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import torch

from model_src.comp_graph.node_pool import NodePool
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node
from model_src.comp_graph.tf_comp_graph_utils import NodeFeatures, node_features
from model_src.predictor.data.batching import Pack, ranges
from model_src.predictor.data.splits import CutEffect, cut_effect, wire
from model_src.predictor.settings import N_KERNEL_SIZES, N_LABELS

_normalisers_of = attrgetter(*ComputeGraph.NORMALISERS)


class Network(NamedTuple):
    """A network to be packed; only what is split needs an order and splits.

    Attributes:
        rows: (n,) row of every node, by index, in the pack's features.
        edges: (2, m) indices of sources and targets.
        order: (n,) node indices in topological order.
        splits: (k, 2) positions in that order where the segment of every split starts and stops.
    """

    rows: np.ndarray
    edges: np.ndarray
    order: np.ndarray | None = None
    splits: np.ndarray | None = None


def pack_graphs(graphs: Sequence[ComputeGraph]) -> Pack:
    """Pack whole graphs; item i is graph i.

    Raises:
        ValueError: A graph has no normalisers, or an operation or a kernel that predictors do not know.
    """
    n_nodes, n_edges = [graph.n_nodes for graph in graphs], [len(graph.edge_pairs) for graph in graphs]
    node_start, edge_start = np.cumsum([0, *n_nodes]), np.cumsum([0, *n_edges])
    features, rows = _distinct_rows(graphs, node_start)
    ends = chain.from_iterable(chain.from_iterable(graph.edge_pairs for graph in graphs))
    edges = np.fromiter(ends, dtype=np.int64, count=2 * edge_start[-1]).reshape(-1, 2).T
    numbers, zeros = np.arange(len(graphs)), np.zeros(len(graphs), dtype=np.int64)
    return Pack(
        features=NodeFeatures(*map(torch.from_numpy, features)),
        rows=rows,
        originals=np.arange(node_start[-1]),
        edges=edges + np.repeat(node_start[:-1], n_edges),
        bypassed=zeros[:0],
        node_start=node_start,
        edge_start=edge_start,
        bypassed_start=np.zeros(len(graphs) + 1, dtype=np.int64),
        network=numbers,
        parts=np.stack([numbers, zeros, np.diff(node_start), numbers, zeros, zeros], axis=1)[:, None],
    )


def _distinct_rows(graphs: Sequence[ComputeGraph], node_start: np.ndarray) -> tuple[NodeFeatures, np.ndarray]:
    """The features of the distinct nodes of graphs, and for every node of the graphs its row in them."""
    groups: defaultdict[tuple, list[int]] = defaultdict(list)  # by normalisers
    for number, graph in enumerate(graphs):
        groups[_normalisers_of(graph)].append(number)
    pools, numbers = [NodePool() for _ in groups], []
    for pool, members in zip(pools, groups.values(), strict=True):
        nodes = [node for number in members for node in graphs[number].nodes]
        numbers.append(pool.numbers([node.digest for node in nodes], nodes, lambda node, _: node))
    try:
        features, rows = stack_features(
            [_features_of(pool.nodes, key) for pool, key in zip(pools, groups, strict=True)]
        )
    except ValueError:
        for graph in graphs:
            checked_features(graph)  # names the graph
        raise
    row_of = np.empty(node_start[-1], dtype=np.int64)
    for pool, members, own_numbers, own_rows in zip(pools, groups.values(), numbers, rows, strict=True):
        weighted_first = np.argsort([-node.type_idx for node in pool.nodes], kind="stable")
        positions = ranges(node_start[members], node_start[np.add(members, 1)])
        row_of[positions] = own_rows[np.argsort(weighted_first)][own_numbers]
    return features, row_of


def _features_of(nodes: Sequence[Node], normalisers: Sequence[int | None]) -> NodeFeatures:
    scale = dict(zip(ComputeGraph.NORMALISERS, normalisers, strict=True))
    return checked_features(ComputeGraph.from_nodes("nodes", (), nodes, (), scale))


def edge_array(graph: ComputeGraph) -> np.ndarray:
    """(2, m) indices of the sources and targets of a graph's edges."""
    return np.array(graph.edge_pairs, dtype=np.int64).reshape(-1, 2).T


def checked_features(graph: ComputeGraph) -> NodeFeatures:
    """The features of a graph's nodes.

    Raises:
        ValueError: The graph has no normalisers, or an operation or a kernel that predictors do not know.
    """
    if None in graph.normalisers.values():
        raise ValueError(f"{graph.name}: the graph has no feature normalisers")
    features = node_features(graph)
    for what, values, end in (("kernel size", features.kernel, N_KERNEL_SIZES), ("operation", features.op, N_LABELS)):
        if values.size and not (values.min() >= 0 and values.max() < end):
            raise ValueError(f"{graph.name}: {what} {values.max()} is unknown to predictors, they end at {end - 1}")
    return features


def stack_features(features: Sequence[NodeFeatures]) -> tuple[NodeFeatures, list[np.ndarray]]:
    """Join the features of several graphs, all weighted nodes first.

    Returns:
        The features, and for every graph the rows of its nodes.
    """
    n_weighted = [len(entry.bias) for entry in features]
    n_regular = [len(entry.op) - len(entry.bias) for entry in features]
    weighted_start = np.cumsum([0, *n_weighted])
    regular_start = np.cumsum([weighted_start[-1], *n_regular])
    joined = NodeFeatures(
        *(
            np.concatenate([values[:n] for values, n in column] + [values[n:] for values, n in column])
            for column in (list(zip(values, n_weighted, strict=True)) for values in zip(*features, strict=True))
        )
    )
    rows = [
        np.concatenate([np.arange(w, w + n), np.arange(r, r + m)])
        for w, n, r, m in zip(weighted_start, n_weighted, regular_start, n_regular, strict=False)
    ]
    return joined, rows


def pack_networks(features: NodeFeatures, networks: Iterable[Network]) -> Pack:
    """Pack whole networks; item i is network i."""
    builder = _Builder()
    parts = []
    for network in networks:
        block = builder.add(network.rows, network.edges + builder.n_nodes)
        parts.append(np.array([(block, 0, len(network.rows), block, 0, 0)], dtype=np.int32))
    return builder.pack(features, parts, parts_per_item=1)


def pack_splits(features: NodeFeatures, is_merge: np.ndarray, networks: Iterable[Network], hops: int) -> Pack:
    """Pack the splits of networks; the items are the splits, network by network, each with parts P, S and C.

    Args:
        features: Features of the distinct nodes.
        is_merge: For every row of the features, whether it is an add, concat or mul.
        networks: The networks and their splits.
        hops: Number of the encoder's layers.
    """
    builder = _Builder()
    parts = []
    for network in networks:
        wiring = wire(network.edges, network.order, is_merge[network.rows])
        rows, n_nodes, first = network.rows[network.order], len(network.rows), builder.n_nodes
        block = builder.add(rows, wiring.edges + first)
        cuts = {}
        for begin in {0, *network.splits.ravel().tolist()}:
            effect = cut_effect(wiring, begin, hops)
            cuts[begin] = effect, builder.add_cut(effect, block, rows, first)
        bounds = [r for start, stop in network.splits.tolist() for r in ((0, start), (start, stop), (stop, n_nodes))]
        parts.append(np.array([_part(block, begin, end, *cuts[begin]) for begin, end in bounds], dtype=np.int32))
    return builder.pack(features, parts, parts_per_item=3)


def _part(block: int, begin: int, end: int, cut: CutEffect, cut_block: int) -> tuple[int, ...]:
    return block, begin, end, cut_block, bisect_left(cut.copies, end), bisect_left(cut.bypassed, end)


class _Builder:
    """Collects the blocks of a pack in flat arrays: there are millions of small ones."""

    def __init__(self):
        self._rows, self._originals, self._edges, self._bypassed = (array("i") for _ in range(4))
        self._starts = [array("q", [0]) for _ in range(3)]

    @property
    def n_nodes(self) -> int:
        """Nodes of all blocks so far."""
        return len(self._rows)

    def add(
        self, rows: np.ndarray, edges: np.ndarray, originals: np.ndarray | None = None, bypassed: Sequence[int] = ()
    ) -> int:
        """Add a block and return its number; edges, originals and bypassed merges are given by node id."""
        own = np.arange(self.n_nodes, self.n_nodes + len(rows))
        for column, values in (
            (self._rows, rows),
            (self._originals, own if originals is None else originals),
            (self._edges, edges.T),
            (self._bypassed, bypassed),
        ):
            column.frombytes(np.asarray(values, dtype=np.int32).tobytes())
        ends = len(self._rows), len(self._edges) // 2, len(self._bypassed)
        for starts, end in zip(self._starts, ends, strict=True):
            starts.append(end)
        return len(self._starts[0]) - 2

    def add_cut(self, cut: CutEffect, block: int, rows: np.ndarray, first: int) -> int:
        """Add what a cut changes in the network of a block, whose nodes begin at `first`; nothing, if it is nothing."""
        if not cut.copies and not cut.bypassed:
            return block
        ids = dict(zip(cut.copies, count(self.n_nodes)))
        edges = [
            (ids.get(source, first + source), ids[node])
            for node, sources in zip(cut.copies, cut.sources, strict=True)
            for source in sources
        ]
        return self.add(
            rows[cut.copies],
            np.array(edges).reshape(-1, 2).T,
            first + np.array(cut.copies),
            [first + node for node in cut.bypassed],
        )

    def pack(self, features: NodeFeatures, parts: list[np.ndarray], parts_per_item: int) -> Pack:
        """The finished pack, from the parts of every network, item by item."""
        parts = [entry.reshape(-1, parts_per_item, 6) for entry in parts]
        node_start, edge_start, bypassed_start = map(np.asarray, self._starts)
        return Pack(
            features=NodeFeatures(*map(torch.from_numpy, features)),
            rows=np.asarray(self._rows),
            originals=np.asarray(self._originals),
            edges=np.asarray(self._edges).reshape(-1, 2).T,
            bypassed=np.asarray(self._bypassed),
            node_start=node_start,
            edge_start=edge_start,
            bypassed_start=bypassed_start,
            network=np.repeat(np.arange(len(parts)), [len(entry) for entry in parts]),
            parts=np.concatenate(parts),
        )
