"""The resolution problem of one segment, in plain integers.

Both formulations, the Pyomo model and the one handed to HiGHS, are made from this and answer with the output (H, W, C)
of every node; what each node reads, its strides and the objective follow from that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from model_src.comp_graph.ops import OPERATIONS, Channels, Kind, Operation
from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import NodeResolution, Shape
from model_src.propagation.forward import (
    PropagationError,
    concat_input_channels,
    integer_strides,
)

if TYPE_CHECKING:
    import networkx as nx

H, W, C = AXES = (0, 1, 2)
SMALLEST, LARGEST = 2, 10_000  # what a size may be

OPTIMAL, INFEASIBLE = "optimal", "infeasible"  # of a solver; any other status means that nothing is proven

# When a solver gives up, which counts as a failure. The usual case takes a node or none and milliseconds. Nodes are the
# same everywhere; the time is for a solver that hangs, or that cannot count its nodes.
MAX_NODES, MAX_SECONDS = 10_000, 60

CONV, POOL, DEPTHWISE, CONCAT, KEEP = "conv", "pool", "depthwise", "concat", "keep"
CHANGE = (CONV, POOL, DEPTHWISE)  # the kinds that have strides


def resolution_kind(operation: Operation) -> str:
    """How the output size of an operation's nodes follows from their input."""
    if operation.channels is Channels.SUMMED:
        return CONCAT
    if not operation.has_window:
        return KEEP
    if operation.channels is Channels.CHOSEN:
        return CONV
    return DEPTHWISE if operation.kind is Kind.WEIGHTED else POOL


@dataclass(frozen=True)
class ResolutionProblem:
    """What a segment has to satisfy. Nodes are numbered from 0.

    Attributes:
        kinds: Per node, how its output follows from its input.
        predecessors: Per node, the nodes in the segment that it reads.
        outside: Per node, the (H, W, C) of the tensors that it reads from outside.
        resolutions: Per node, its resolution after forward propagation.
        strides: Per node, (s_h, s_w).
        required: Node -> the (H, W, C) that it must give.
        groups: Node -> the number that must divide the channels that it reads and gives, where that is not 1.
    """

    kinds: tuple[str, ...]
    predecessors: tuple[tuple[int, ...], ...]
    outside: tuple[tuple[Shape, ...], ...]
    resolutions: tuple[NodeResolution, ...]
    strides: tuple[tuple[int, int], ...]
    required: Mapping[int, Shape]
    groups: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The nodes, each after its predecessors."""
        missing = [len(sources) for sources in self.predecessors]
        order = [node for node, count in enumerate(missing) if not count]
        for node in order:
            for reader in self.successors[node]:
                missing[reader] -= 1
                if not missing[reader]:
                    order.append(reader)
        return tuple(order)

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """Per node, the nodes in the segment that read it."""
        readers: list[list[int]] = [[] for _ in self.kinds]
        for node, sources in enumerate(self.predecessors):
            for source in sources:
                readers[source].append(node)
        return tuple(map(tuple, readers))

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """Per node, its number of descendants: what a change of its size is charged with."""
        below = [0] * len(self.kinds)  # bit sets
        for node in reversed(self.order):
            for reader in self.successors[node]:
                below[node] |= below[reader] | 1 << reader
        return tuple(bits.bit_count() for bits in below)

    def passes_on(self, node: int, axis: int) -> bool:
        """Whether a node's output has the size of its input along an axis."""
        kind = self.kinds[node]
        if axis == C:
            return kind in (KEEP, POOL, DEPTHWISE)
        return kind in (KEEP, CONCAT)

    def sums(self, node: int, axis: int) -> bool:
        """Whether a node's output size is the sum of its inputs' along an axis."""
        return self.kinds[node] == CONCAT and axis == C

    def options(self, node: int, axis: int) -> tuple[int, ...] | None:
        """The output sizes that a node may choose from along an axis, its own first; None if it does not choose."""
        kind = self.kinds[node]
        if kind not in CHANGE or (kind == DEPTHWISE and axis == C):
            return None
        size = self.resolutions[node][2 * axis + 1]
        sizes = (size, 2 * size, size // 2) if axis == C else (size, size // 2, size // 4)
        return tuple(dict.fromkeys(sizes))

    def operands(self, node: int, shapes: Sequence[Shape]) -> list[Shape]:
        """The (H, W, C) of what a node reads, where `shapes` are the outputs of all nodes."""
        return [*(shapes[source] for source in self.predecessors[node]), *self.outside[node]]

    def objective(self, shapes: Sequence[Shape]) -> int:
        """The cost of giving the nodes these output (H, W, C)."""
        total = 0
        for node, weight in enumerate(self.weights):
            out = shapes[node]
            if not weight:
                continue
            if self.kinds[node] == CONCAT:
                total += weight * sum(out)
            elif self.kinds[node] == KEEP:
                total += weight * sum(self.operands(node, shapes)[0])
            else:
                before = self.resolutions[node][1::2]
                inputs = self.operands(node, shapes)[0]
                loss = max(0, before[C] - out[C])
                total += weight * (loss + abs(sum(out) - sum(before)) + inputs[H] + inputs[W] - out[H] - out[W])
        return total

    def keeps_groups(self, shapes: Sequence[Shape]) -> bool:
        """Whether groups divide the channels, where `shapes` are the outputs of all nodes."""
        sizes = ((self.resolution(node, shapes)[4:], groups) for node, groups in self.groups.items())
        return not any(count % groups for channels, groups in sizes for count in channels)

    def resolution(self, node: int, shapes: Sequence[Shape]) -> NodeResolution:
        """A node's resolution, where `shapes` are the outputs of all nodes."""
        operands = self.operands(node, shapes)
        h, w, c = operands[0]
        if self.kinds[node] == CONCAT:
            c = concat_input_channels(self.resolutions[node][4], [shape[C] for shape in operands])
        h_out, w_out, c_out = shapes[node]
        return (h, h_out, w, w_out, c, c_out)

    def new_strides(self, node: int, shapes: Sequence[Shape]) -> tuple[int, int]:
        """(s_h, s_w) of a node that has strides, where `shapes` are the outputs of all nodes."""
        inputs, out, old = self.operands(node, shapes)[0], shapes[node], self.strides[node]
        return _fitting_stride(inputs[H], out[H], old[0]), _fitting_stride(inputs[W], out[W], old[1])


def smallest_stride(size: int, out: int) -> int | None:
    """The smallest integer s with ceil(size / s) = out, or None where there is none (24 -> 16)."""
    stride = -(-size // out)
    return stride if -(-size // stride) == out else None


def _fitting_stride(size: int, out: int, old: int) -> int:
    if -(-size // old) == out:
        return old
    stride = smallest_stride(size, out)
    assert stride is not None  # in a solution there is one
    return stride


def problem_of_segment(
    segment: Segment,
    resolutions: Sequence[NodeResolution],
    outside: Sequence[Sequence[Shape]],
    output_shapes: Sequence[Shape],
) -> ResolutionProblem:
    """The problem of a segment after forward propagation; the output tensors must get `output_shapes`."""
    nodes = segment.graph.nodes
    return ResolutionProblem(
        kinds=tuple(resolution_kind(node.operation) for node in nodes),
        predecessors=segment.graph.predecessors,
        outside=tuple(map(tuple, outside)),
        resolutions=tuple(resolutions),
        strides=tuple(integer_strides(node.strides) for node in nodes),
        required=dict(zip(segment.outputs, output_shapes, strict=True)),
        groups=_groups([node.metadata for node in nodes]),
    )


def problem_of_graph(graph: "nx.DiGraph", required: Mapping[object, Shape]) -> ResolutionProblem:
    """The problem of a networkx segment after forward propagation; nodes are numbered in the graph's order.

    What a node without predecessors reads is in its resolution, and no other node reads from outside.

    Raises:
        PropagationError: A padding is not `same`, or strides are not positive integers.
        ValueError: The segment is cyclic, or `required` does not name its sinks.
    """
    import networkx as nx

    ids = list(graph.nodes)
    index = {node_id: position for position, node_id in enumerate(ids)}
    sinks = {node_id for node_id in ids if not graph.out_degree(node_id)}
    if set(required) != sinks:
        raise ValueError(f"sizes are required of the nodes {list(required)}, the sinks are {list(sinks)}")
    if not nx.is_directed_acyclic_graph(graph):
        raise ValueError("the segment has a cycle")
    attributes = [graph.nodes[node_id] for node_id in ids]
    operations = [operation_of(node) for node in attributes]
    for node_id, node, operation in zip(ids, attributes, operations, strict=True):
        padding = (node.get("metadata") or node).get("padding") or "same"
        if operation.has_window and padding.lower() != "same":
            raise PropagationError(f"node {node_id} ({node['op_name']}): the padding is {padding}, not same")
    kinds = tuple(map(resolution_kind, operations))
    resolutions = tuple(_whole_resolution(node["resolution"]) for node in attributes)
    predecessors = tuple(tuple(index[source] for source in graph.predecessors(node_id)) for node_id in ids)
    return ResolutionProblem(
        kinds=kinds,
        predecessors=predecessors,
        outside=tuple(
            () if inner else _outside_of_source(kind, resolution)
            for kind, resolution, inner in zip(kinds, resolutions, predecessors, strict=True)
        ),
        resolutions=resolutions,
        strides=tuple(integer_strides(node.get("strides")) for node in attributes),
        required={index[node_id]: (int(h), int(w), int(c)) for node_id, (h, w, c) in required.items()},
        groups=_groups([node.get("metadata") for node in attributes]),
    )


def _groups(metadata: Sequence[Mapping[str, Any] | None]) -> dict[int, int]:
    """The groups of convolutions that have several."""
    return {node: entries["groups"] for node, entries in enumerate(metadata) if entries and "groups" in entries}


def _whole_resolution(numbers: Sequence[float]) -> NodeResolution:
    h_in, h_out, w_in, w_out, c_in, c_out = map(int, numbers)
    return h_in, h_out, w_in, w_out, c_in, c_out


def operation_of(attributes: Mapping[str, Any]) -> Operation:
    """The operation of a networkx node.

    Raises:
        ValueError: Nobody registered it.
    """
    operation = OPERATIONS.find(attributes["op_name"])
    return operation or OPERATIONS[attributes["op_name"]]


def _outside_of_source(kind: str, resolution: NodeResolution) -> tuple[Shape, ...]:
    h, _, w, _, c_in, c_out = resolution
    if kind == CONCAT and c_out > c_in:  # its first input, and all others as one
        return (h, w, c_in), (h, w, c_out - c_in)
    return ((h, w, c_in),)
