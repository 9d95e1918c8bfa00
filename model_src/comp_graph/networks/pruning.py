"""Taking operations out of a graph that a network is to be built from."""

from collections.abc import Collection
from dataclasses import replace

from model_src.comp_graph.graph_ops import bypass
from model_src.comp_graph.tf_comp_graph import WEIGHTED, ComputeGraph, Node


def bypass_operations(cg: ComputeGraph, names: Collection[str]) -> ComputeGraph:
    """Bypass every node of one of these operations; resolutions stay as they are."""
    return bypass(cg, [index for index, node in enumerate(cg.nodes) if node.operation.name in names])


def merge_dilations(cg: ComputeGraph) -> ComputeGraph:
    """Make every spacetobatchnd -> convolution -> batchtospacend one dilated convolution with SAME padding.

    It takes its input size from the first of the three, and its output size, its bias and its dilation rate, the number
    of pixels per block, from the last.
    """
    nodes, merged = list(cg.nodes), []
    for index, node in enumerate(cg.nodes):
        before, after = cg.predecessors[index], cg.successors[index]
        if node.type_idx != WEIGHTED or len(before) != 1 or len(after) != 1:
            continue
        first, last = cg.nodes[before[0]], cg.nodes[after[0]]
        is_triple = (first.operation.name, last.operation.name) == ("spacetobatchnd", "batchtospacend")
        if is_triple and len(cg.successors[before[0]]) == len(cg.predecessors[after[0]]) == 1:
            nodes[index] = _dilated(node, first, last)
            merged += [before[0], after[0]]
    graph = ComputeGraph.from_nodes(cg.name, cg.input_shape, nodes, cg.edge_pairs, cg.normalisers)
    return bypass(graph, merged)


def _dilated(node: Node, first: Node, last: Node) -> Node:
    h_block, h, *_ = last.resolution
    metadata = {**(node.metadata or {}), "padding": "same", "dil_rate": -(-h // h_block)}
    if last.use_bias:
        metadata["use_bias"] = True
    h_in, w_in, c_in = first.in_shape
    h_out, w_out, c_out = last.out_shape
    return replace(node, resolution=(h_in, h_out, w_in, w_out, c_in, c_out), metadata=metadata)
