"""Virtual forward propagation: new input sizes run through a segment."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.ops import Channels
from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, NodeResolution, Shape, Strides, WeightedNode

N_CLASSES = 10  # what a dense layer gives, whatever it reads


class PropagationError(ValueError):
    """A segment cannot take the sizes that it is given; the text is the reason."""


def forward_propagate(segment: Segment, input_shapes: Sequence[Shape]) -> ComputeGraph:
    """Give the segment new input tensors and let every node's resolution follow.

    A node that reads only from outside passes its channels on. An inner node whose inputs are what they were stays as
    it is; any other takes its inputs' channels for its own.

    Args:
        segment: The segment.
        input_shapes: Per input tensor of the segment, its new (H, W, C).

    Raises:
        PropagationError: The operands of a node disagree, a padding is not `same`, or a size is no positive integer.
    """
    resolutions = forward_resolutions(segment, outside_shapes(segment, input_shapes))
    return with_resolutions(segment.graph, resolutions, [node.strides for node in segment.graph.nodes])


def outside_shapes(segment: Segment, input_shapes: Sequence[Shape]) -> list[list[Shape]]:
    """Per node, the (H, W, C) of the tensors that it reads from outside.

    Raises:
        PropagationError: The number of shapes is not that of the input tensors, or a size is no positive integer.
    """
    if len(input_shapes) != len(segment.inputs):
        raise PropagationError(f"{len(input_shapes)} shapes for {len(segment.inputs)} input tensors")
    shapes: list[list[Shape]] = [[] for _ in segment.graph.nodes]
    for readers, shape in zip(segment.inputs, input_shapes, strict=True):
        if any(size < 1 or size != int(size) for size in shape):
            raise PropagationError(f"the input shape {tuple(shape)} is not made of positive integers")
        h, w, c = map(int, shape)
        for index in readers:
            shapes[index].append((h, w, c))
    return shapes


def forward_resolutions(segment: Segment, outside: Sequence[Sequence[Shape]]) -> list[NodeResolution]:
    """The resolution of every node; `outside` is what `outside_shapes` returns.

    Raises:
        PropagationError: As for `forward_propagate`.
    """
    graph = segment.graph
    shapes: dict[int, Shape] = {}
    resolutions: dict[int, NodeResolution] = {}
    for index in topological_order(graph):
        node, inner = graph.nodes[index], graph.predecessors[index]
        operands = [*(shapes[source] for source in inner), *outside[index]]
        if not operands:
            raise PropagationError(f"node {node.str_id} ({node.label}) has no input")
        resolutions[index] = _forward_one(node, operands, is_source=not inner)
        shapes[index] = resolutions[index][1::2]
    return [resolutions[index] for index in range(graph.n_nodes)]


def _forward_one(node: Node, operands: Sequence[Shape], is_source: bool) -> NodeResolution:
    operation = node.operation
    h, w, c = operands[0]
    if operation.channels is Channels.SUMMED:
        if any(shape[:2] != (h, w) for shape in operands):
            raise PropagationError(f"node {node.str_id} ({node.label}): it joins maps of different sizes {operands}")
        channels = [shape[2] for shape in operands]
        return (h, h, w, w, concat_input_channels(node.resolution[4], channels), sum(channels))
    if any(shape != (h, w, c) for shape in operands):
        raise PropagationError(f"node {node.str_id} ({node.label}): its inputs differ {operands}")
    if operation.has_window and node.padding != "same":
        raise PropagationError(f"node {node.str_id} ({node.label}): the padding is {node.padding}, not same")
    if not is_source and (h, w, c) == node.in_shape:
        return node.resolution
    if operation.has_window:
        s_h, s_w = integer_strides(node.strides)
        if c % node.groups:
            raise PropagationError(
                f"node {node.str_id} ({node.label}): {c} channels are not {node.groups} equal groups"
            )
        return (h, -(-h // s_h), w, -(-w // s_w), c, c)
    try:
        h_out, w_out = operation.size(node, h, w)
    except ValueError as error:
        raise PropagationError(str(error)) from error
    c_out = node.resolution[5] if operation.channels is Channels.CHOSEN else c
    return (h, h_out, w, w_out, c, N_CLASSES if operation.name == "matmul" else c_out)


def concat_input_channels(recorded: int, channels: Sequence[int]) -> int:
    """The C_in of a concat: its first operand's channels, or the recorded number where an operand still has it."""
    return recorded if recorded in channels else channels[0]


def integer_strides(strides: Sequence[float] | None) -> tuple[int, int]:
    """(s_h, s_w) of a node's strides (1, s_h, s_w, 1); none are strides of 1.

    Raises:
        PropagationError: They are not positive integers.
    """
    if strides is None:
        return 1, 1
    s_h, s_w = strides[1:3]
    if s_h != int(s_h) or s_w != int(s_w) or min(s_h, s_w) < 1:
        raise PropagationError(f"the strides {tuple(strides)} are not positive integers")
    return int(s_h), int(s_w)


def with_resolutions(
    graph: ComputeGraph, resolutions: Sequence[NodeResolution], strides: Sequence[Strides | None]
) -> ComputeGraph:
    """The graph with the given resolution and strides per node; kernel shapes follow, unchanged nodes are shared."""
    nodes = tuple(map(_with_resolution, graph.nodes, resolutions, strides))
    if all(new is old for new, old in zip(nodes, graph.nodes, strict=True)):
        return graph
    starts = (node for node, sources in zip(nodes, graph.predecessors, strict=True) if not sources)
    return replace(
        graph,
        input_shape=tuple((1, *node.in_shape) for node in starts),
        weighted_nodes=tuple(node for node in nodes if isinstance(node, WeightedNode)),
        regular_nodes=tuple(node for node in nodes if not isinstance(node, WeightedNode)),
    )


def _with_resolution(node: Node, resolution: NodeResolution, strides: Strides | None) -> Node:
    changes: dict[str, Any] = {}
    if isinstance(node, WeightedNode):
        shape = node.operation.kernel_shape(*resolution[4:], *node.shape[2:])
        if shape != node.shape:
            changes["shape"] = shape
    if resolution != node.resolution:
        changes["resolution"] = resolution
    if strides != node.strides:
        changes["strides"] = strides
    return replace(node, **changes) if changes else node
