"""Walking, cutting, cleaning and identifying computation graphs. Everything returns a new graph."""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node

if TYPE_CHECKING:
    import rustworkx


def topological_order(cg: ComputeGraph) -> list[int]:
    """Order the node indices so that every node follows its predecessors, generation by generation.

    Kahn's algorithm by levels: a node joins the next level the moment its last predecessor is passed. The published
    tokenizer was trained on this order.

    Raises:
        ValueError: The graph has a cycle.
    """
    missing = [len(sources) for sources in cg.predecessors]
    successors = cg.successors
    order = [index for index, count in enumerate(missing) if count == 0]
    for index in order:  # grows while it is walked: first in, first out is level by level
        for successor in successors[index]:
            missing[successor] -= 1
            if missing[successor] == 0:
                order.append(successor)
    if len(order) != len(missing):
        raise ValueError(f"{cg.name}: the graph has a cycle")
    return order


def canonical_hash(cg: ComputeGraph) -> str:
    """Identify a graph whatever its node numbering, ids, labels and name: equal for isomorphic graphs.

    Weisfeiler-Lehman colours along the whole graph: one sweep down in topological order mixes each node's operation,
    resolution, strides, kernel and metadata with its ancestors, one sweep up mixes in its descendants.
    Blake2b, so the text is the same in every process and on every machine.

    Returns:
        32 hexadecimal digits.
    """
    order = topological_order(cg)
    colours = [node.digest for node in cg.nodes]
    mix_in(colours, order, cg.predecessors)
    mix_in(colours, reversed(order), cg.successors)
    return hash_of_colours(colours)


def hash_of_colours(colours: Iterable[bytes]) -> str:
    """32 hexadecimal digits that say which colours a graph has, and how often."""
    return blake2b(b"".join(sorted(colours)), digest_size=16).hexdigest()


def mix_in(colours: list[bytes], order: Iterable[int], neighbours: Sequence[Sequence[int]]) -> None:
    """Give every node, one after the other, the hash of its colour and its neighbours' sorted colours."""
    empty = blake2b(digest_size=16)
    for index in order:
        others = neighbours[index]
        content = colours[others[0]] if len(others) == 1 else b"".join(sorted([colours[other] for other in others]))
        hasher = empty.copy()  # half the price of a new one
        hasher.update(colours[index] + content)
        colours[index] = hasher.digest()


def bypass(cg: ComputeGraph, removed: Iterable[int]) -> ComputeGraph:
    """Delete nodes, connecting every predecessor of each to every successor."""
    sources = [set(entries) for entries in cg.predecessors]
    targets = [set(entries) for entries in cg.successors]
    removed = list(removed)
    for index in removed:
        _bypass_one(index, sources, targets)
    return _without(cg, set(removed), targets)


def _bypass_one(index: int, sources: list[set[int]], targets: list[set[int]]) -> None:
    for source in sources[index]:
        targets[source].discard(index)
        targets[source] |= targets[index]
    for target in targets[index]:
        sources[target].discard(index)
        sources[target] |= sources[index]


def _without(cg: ComputeGraph, removed: set[int], targets: Sequence[Iterable[int]]) -> ComputeGraph:
    kept = [index for index in range(cg.n_nodes) if index not in removed]
    new_index = {index: position for position, index in enumerate(kept)}
    edges = [(new_index[index], new_index[target]) for index in kept for target in targets[index]]
    return ComputeGraph.from_nodes(cg.name, cg.input_shape, [cg.nodes[i] for i in kept], edges, cg.normalisers)


def prune_merges(cg: ComputeGraph, fewest: int = 1) -> ComputeGraph:
    """Bypass merge operations with one predecessor (and with none if `fewest` is 0) until none is left.

    Raises:
        ValueError: Nobody registered the operation of a node.
    """
    nodes = cg.nodes
    merges = [index for index in range(cg.n_weighted_nodes, cg.n_nodes) if nodes[index].operation.is_merge]

    def idle(predecessors: Sequence[Collection[int]]) -> list[int]:
        counts = [(index, len(predecessors[index])) for index in merges]
        return [index for index, count in counts if count >= fewest and nodes[index].operation.is_idle(count)]

    found = idle(cg.predecessors)
    if not found:
        return cg
    sources = [set(entries) for entries in cg.predecessors]
    targets = [set(entries) for entries in cg.successors]
    removed: set[int] = set()
    while found:
        for index in found:
            _bypass_one(index, sources, targets)
        removed.update(found)
        merges = [index for index in merges if index not in removed]
        found = idle(sources)
    return _without(cg, removed, targets)


def induced_subgraph(cg: ComputeGraph, indices: Iterable[int]) -> ComputeGraph:
    """The given nodes (in ascending index) with the edges between them."""
    kept = sorted(set(indices))
    new_index = {index: position for position, index in enumerate(kept)}
    edges = [
        (new_index[index], new_index[target])
        for index in kept
        for target in cg.successors[index]
        if target in new_index
    ]
    with_source = {target for _, target in edges}
    nodes = [cg.nodes[index] for index in kept]
    inputs = [(1, *node.in_shape) for position, node in enumerate(nodes) if position not in with_source]
    return ComputeGraph.from_nodes(cg.name, inputs, nodes, edges, cg.normalisers)


def part_of(cg: ComputeGraph, indices: Iterable[int]) -> ComputeGraph:
    """A predecessor, segment or successor part as the predictor sees it: merges with one input left are bypassed."""
    return prune_merges(induced_subgraph(cg, indices))


def same_topology(first: ComputeGraph, second: ComputeGraph) -> bool:
    """Whether two graphs are isomorphic in operation, resolution, strides, kernel and metadata (exact test)."""
    return isomorphism(first, second, _digest) is not None


def isomorphism(first: ComputeGraph, second: ComputeGraph, key: Callable[[Node], Hashable]) -> list[int] | None:
    """Per node of a graph its place in an isomorphic one, if nodes of one key are alike; None where there is none."""
    import rustworkx

    def bridge(cg: ComputeGraph) -> "rustworkx.PyDiGraph[Hashable, None]":
        graph: rustworkx.PyDiGraph[Hashable, None] = rustworkx.PyDiGraph()
        graph.add_nodes_from([key(node) for node in cg.nodes])
        graph.add_edges_from_no_data(list(cg.edge_pairs))
        return graph

    graphs = bridge(first), bridge(second)
    if not rustworkx.is_isomorphic(*graphs, node_matcher=lambda a, b: a == b):
        return None
    places = next(iter(rustworkx.vf2_mapping(*graphs, node_matcher=lambda a, b: a == b)))
    return [places[index] for index in range(first.n_nodes)]


def _digest(node: Node) -> bytes:
    return node.digest
