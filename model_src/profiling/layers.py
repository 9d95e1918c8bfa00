"""The layers of networks as a runtime sees them: what tells two apart, and a network of a single one to time it by."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from model_src.comp_graph.ops import OPERATIONS, Channels, Kind
from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, RegularNode

_UNTIMED = frozenset({"opaque", "port", "concat"})  # no network of its own stands for one


class Layer(NamedTuple):
    """What the time of a layer depends on; sizes in pixels and channels."""

    operation: str
    h_in: int
    w_in: int
    c_in: int
    h_out: int
    w_out: int
    c_out: int
    k_h: int = 0
    k_w: int = 0
    s_h: int = 1
    s_w: int = 1
    groups: int = 1


class Amounts(NamedTuple):
    """How much a layer computes and moves."""

    macs: int
    values: int
    weights: int


def layer_of(node: Node) -> Layer:
    """The layer that a node is."""
    metadata = node.metadata or {}
    k_h, k_w = node.kernel[2:] if node.type_idx else metadata.get("ksize", (1, 0, 0, 1))[1:3]
    s_h, s_w = (node.strides or (1, 1, 1, 1))[1:3]
    name = node.operation.name
    groups = node.groups if name in ("grouped_conv", "conv2d_transpose") else 1
    return Layer(name, *node.in_shape, *node.out_shape, k_h, k_w, s_h, s_w, groups)


def amounts_of(layer: Layer) -> Amounts:
    """What a layer computes (MACs), reads and writes (numbers of maps) and knows (parameters), biases left out."""
    taps = layer.k_h * layer.k_w or 1
    values = layer.h_in * layer.w_in * layer.c_in + layer.h_out * layer.w_out * layer.c_out
    operation = OPERATIONS[layer.operation]
    if operation.kind is not Kind.WEIGHTED:
        return Amounts(taps * layer.h_out * layer.w_out * layer.c_out, values, 0)
    readers = layer.c_out if operation.channels is Channels.CHOSEN else 1
    weights = taps * layer.c_in * readers // layer.groups
    transposed = operation.name == "conv2d_transpose"
    places = layer.h_in * layer.w_in if transposed else layer.h_out * layer.w_out
    return Amounts(weights * places, values, weights)


def nodes_of_graph(cg: ComputeGraph) -> Iterator[tuple[Node, int]]:
    """The nodes of a network, each with its number of inputs."""
    for node, sources in zip(cg.nodes, cg.predecessors, strict=True):
        yield node, len(sources)


def nodes_of_segment(segment: Segment) -> Iterator[tuple[Node, int]]:
    """The nodes of a segment in its place: inputs from outside count like inner ones."""
    counts = [len(sources) for sources in segment.graph.predecessors]
    for readers in segment.inputs:
        for index in readers:
            counts[index] += 1
    yield from zip(segment.graph.nodes, counts, strict=True)


def different_layers(nodes: Iterable[Node], fused: frozenset[str]) -> dict[Layer, Node]:
    """Every layer that takes time and can be timed alone, with a node of its kind, in order."""
    found: dict[Layer, Node] = {}
    for node in nodes:
        if node.operation.name not in fused | _UNTIMED:
            found.setdefault(layer_of(node), node)
    return found


def nothing() -> ComputeGraph:
    """A network that does nothing; it takes as long as calling one."""
    ends = _end("input", (1, 1, 1)), _end("output", (1, 1, 1))
    return ComputeGraph.from_nodes("nothing", (1, 1, 1, 1), ends, [(0, 1)])


def alone(node: Node) -> ComputeGraph:
    """A network of an input, a node and an output; a merge reads the input and its positive part."""
    first, last = _end("input", node.in_shape), _end("output", node.out_shape)
    if not node.operation.is_merge:
        return _network(node, [node.with_id("layer"), first, last], [(1, 0), (0, 2)])
    other = _end("relu", node.in_shape)
    return _network(node, [first, other, node.with_id("layer"), last], [(0, 1), (0, 2), (1, 2), (2, 3)])


def _network(node: Node, nodes: list[Node], edges: list[tuple[int, int]]) -> ComputeGraph:
    return ComputeGraph.from_nodes("layer", (1, *node.in_shape), nodes, edges)


def _end(name: str, shape: tuple[int, int, int]) -> RegularNode:
    row, (h, w, c) = OPERATIONS[name], shape
    return RegularNode(name, row.label, row.index, (h, h, w, w, c, c))
