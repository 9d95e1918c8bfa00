"""Judges of resolved segments: the published constraints and cost, with corrections, sharing no solver code."""

import itertools

import networkx as nx

from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from tests.propagation.cases import WINDOWS


def violations(segment: Segment, before: ComputeGraph, after: Segment, input_shapes, output_shapes) -> list[str]:
    """What is wrong with a resolved segment (`before`: forward-propagated); empty if nothing is."""
    found = []
    graph = after.graph
    if (graph.edge_pairs, after.inputs, after.outputs, after.text, after.input_shapes) != (
        segment.graph.edge_pairs,
        segment.inputs,
        segment.outputs,
        segment.text,
        tuple(input_shapes),
    ):
        found.append("structure")
    if after.output_shapes != tuple(output_shapes):
        found.append(f"outputs {after.output_shapes}")
    for index, (old, node) in enumerate(zip(before.nodes, graph.nodes, strict=True)):
        operands = [graph.nodes[source].out_shape for source in graph.predecessors[index]]
        operands += [shape for readers, shape in zip(after.inputs, input_shapes, strict=True) if index in readers]
        found += [f"{node.str_id} {node.label} {node.resolution}: {text}" for text in _wrong(old, node, operands)]
    return found


def _wrong(old, node, operands):
    """The constraints on one node, with the corrections D-07, D-09 and D-10 (docs/conformance.md)."""
    h, h_out, w, w_out, c, c_out = node.resolution
    if not all(isinstance(size, int) and 2 <= size <= 10_000 for size in node.resolution):
        yield "sizes"
    if any(shape[:2] != (h, w) for shape in operands):
        yield "maps differ"
    if node.label == "concat":
        if c_out != sum(shape[2] for shape in operands) or c not in [shape[2] for shape in operands]:
            yield "concat"
    elif any(shape[2] != c for shape in operands):
        yield "channels differ"
    if node.label in WINDOWS:
        one, s_h, s_w, last = node.strides
        if not all(isinstance(stride, int) for stride in node.strides) or (one, last) != (1, 1):
            yield "strides"
        if (h_out, w_out) != (-(-h // s_h), -(-w // s_w)):
            yield "strides do not give the output"
    elif (h_out, w_out) != (h, w):
        yield "keeps its map"
    for axis, name in enumerate("HWC"):
        options = _options(old, axis)
        if options and node.out_shape[axis] not in options:
            yield f"options of {name}"
    if node.label not in ("conv2d", "concat") and c_out != c:
        yield "keeps its channels"
    if node.type_idx and node.shape != (c, 1 if node.label == "depthwise" else c_out, *old.shape[2:]):
        yield "kernel"
    if node.metadata != old.metadata:
        yield "metadata"


def exhaustive(before: ComputeGraph, segment: Segment, input_shapes, output_shapes) -> int | None:
    """The least cost over all choices of all nodes, found by trying them; None if there is no solution.

    `before` is the segment's graph after forward propagation.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(
        (index, {"node": node, "outside": [], "required": None}) for index, node in enumerate(before.nodes)
    )
    graph.add_edges_from(before.edge_pairs)
    for readers, shape in zip(segment.inputs, input_shapes, strict=True):
        for index in readers:
            graph.nodes[index]["outside"].append(shape)
    for index, shape in zip(segment.outputs, output_shapes, strict=True):
        graph.nodes[index]["required"] = shape
    per_axis = [list(_solutions(graph, axis)) for axis in range(3)]
    weights = {index: len(nx.descendants(graph, index)) for index in graph}
    return min((_cost(before, weights, sizes) for sizes in itertools.product(*per_axis)), default=None)


def _solutions(graph: nx.DiGraph, axis: int):
    """All solutions along one axis: node -> (input size, output size)."""
    choosing = {index: set(options) for index in graph if (options := _options(graph.nodes[index]["node"], axis))}
    order = list(nx.topological_sort(graph))
    for combination in itertools.product(*choosing.values()):
        chosen = dict(zip(choosing, combination, strict=True))
        sizes: dict[int, tuple[int, int]] = {}
        for index in order:
            operands = [sizes[source][1] for source in graph.predecessors(index)]
            operands += [shape[axis] for shape in graph.nodes[index]["outside"]]
            joined = graph.nodes[index]["node"].label == "concat" and axis == 2
            size = sum(operands) if joined else operands[0]
            out = chosen.get(index, size)
            if not (joined or len(set(operands)) == 1) or not _allowed(graph.nodes[index], axis, size, out):
                break
            sizes[index] = size, out
        else:
            yield sizes


def _options(node, axis):
    size = node.out_shape[axis]
    if axis < 2 and node.label in WINDOWS:
        return size, size // 2, size // 4
    if axis == 2 and node.label in ("conv2d", "avgpool", "maxpool"):
        return size * 2, size, size // 2
    return ()


def _allowed(attributes, axis, size, out):
    label, required = attributes["node"].label, attributes["required"]
    if min(size, out) < 2 or (required is not None and required[axis] != out):
        return False
    if axis < 2 and label in WINDOWS:
        return any(out == -(-size // stride) for stride in range(1, size + 1))
    return out == size or label == "conv2d"


def _cost(before: ComputeGraph, weights, axes):
    total = 0
    for index, weight in weights.items():
        node = before.nodes[index]
        (h, h_out), (w, w_out), (c, c_out) = (sizes[index] for sizes in axes)
        if node.label == "concat":
            total += weight * (h_out + w_out + c_out)
        elif node.label in WINDOWS:
            total += weight * max(0, node.resolution[5] - c_out)
            total += weight * abs(h_out + w_out + c_out - sum(node.out_shape))
            total += weight * (h - h_out + w - w_out)
        else:
            total += weight * (h + w + c)
    return total
