"""Putting graphs into a `Pack` from which batches are drawn, and the features of their nodes."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

import numpy as np

from model_src.comp_graph.node_pool import NodePool
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node
from model_src.comp_graph.tf_comp_graph_utils import NodeFeatures, node_features
from model_src.predictor.data.batching import FeatureTensors, Pack
from model_src.predictor.data.blocks import Network, pack_splits
from model_src.predictor.data.splits import ranges, split_bounds
from model_src.predictor.settings import N_KERNEL_SIZES, N_LABELS

# A graph and its segments: lists of node indices, together all nodes in topological order.
SegmentedGraph = tuple[ComputeGraph, Sequence[Sequence[int]]]

_normalisers_of = attrgetter(*ComputeGraph.NORMALISERS)


def pack_graphs(graphs: Sequence[ComputeGraph]) -> Pack:
    """Pack whole graphs; item i is graph i.

    Raises:
        ValueError: A graph has no normalisers, or an operation that predictors do not know.
    """
    n_nodes, n_edges = [graph.n_nodes for graph in graphs], [len(graph.edge_pairs) for graph in graphs]
    node_start, edge_start = np.cumsum([0, *n_nodes]), np.cumsum([0, *n_edges])
    features, rows = _distinct_rows(graphs, node_start)
    ends = chain.from_iterable(chain.from_iterable(graph.edge_pairs for graph in graphs))
    edges = np.fromiter(ends, dtype=np.int64, count=2 * edge_start[-1]).reshape(-1, 2).T
    numbers, zeros = np.arange(len(graphs)), np.zeros(len(graphs), dtype=np.int64)
    return Pack(
        features=FeatureTensors.made_of(features),
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


def pack_segmented(networks: Sequence[SegmentedGraph], hops: int) -> Pack:
    """Pack the splits of networks at all their segments; the items are the splits that are not empty, in order.

    Args:
        networks: Graphs and their segments.
        hops: Number of the encoder's layers.

    Raises:
        ValueError: See `pack_graphs`; or the segments are not all nodes, or none lies between the ends of a network.
    """
    graphs = [graph for graph, _ in networks]
    node_start = np.cumsum([0, *(graph.n_nodes for graph in graphs)])
    features, rows = _distinct_rows(graphs, node_start)
    _, where = np.unique(rows, return_index=True)
    nodes = list(chain.from_iterable(graph.nodes for graph in graphs))
    merges = np.zeros(len(features.op), dtype=bool)
    merges[rows[where]] = [nodes[index].operation.is_merge for index in where]
    entries = (
        _network(graph, segments, own)
        for (graph, segments), own in zip(networks, np.split(rows, node_start[1:-1]), strict=True)
    )
    return pack_splits(features, merges, entries, hops)


def _network(graph: ComputeGraph, segments: Sequence[Sequence[int]], rows: np.ndarray) -> Network:
    order = np.fromiter(chain.from_iterable(segments), dtype=np.int64)
    bounds = [(start, stop) for start, stop in split_bounds([len(nodes) for nodes in segments]) if start < stop]
    if len(order) != graph.n_nodes:
        raise ValueError(f"{graph.name}: its segments have {len(order)} nodes, the graph has {graph.n_nodes}")
    if not bounds:
        raise ValueError(f"{graph.name}: no segment lies between the first and the last node")
    return Network(rows, edge_array(graph), order, np.array(bounds))


def _distinct_rows(graphs: Sequence[ComputeGraph], node_start: np.ndarray) -> tuple[NodeFeatures, np.ndarray]:
    """The features of the distinct nodes of graphs, and for every node of the graphs its row in them."""
    groups: defaultdict[tuple[int | None, ...], list[int]] = defaultdict(list)  # by normalisers
    for number, graph in enumerate(graphs):
        groups[_normalisers_of(graph)].append(number)
    pools: list[NodePool[Node]] = [NodePool() for _ in groups]
    numbers = []
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
    """The features of a graph's nodes; a kernel that is larger than predictors know is seen as the largest they know.

    Raises:
        ValueError: The graph has no normalisers, or an operation that predictors do not know.
    """
    if None in graph.normalisers.values():
        raise ValueError(f"{graph.name}: the graph has no feature normalisers")
    features = node_features(graph)
    if features.op.size and not (features.op.min() >= 0 and features.op.max() < N_LABELS):
        largest = features.op.max()
        raise ValueError(f"{graph.name}: operation {largest} is unknown to predictors, they end at {N_LABELS - 1}")
    return features._replace(kernel=np.minimum(features.kernel, N_KERNEL_SIZES - 1))


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
