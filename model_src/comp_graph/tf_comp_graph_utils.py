"""FLOPs, GNN features and shape inference of a computation graph."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model_src.comp_graph.graph_ops import bypass, is_merge, prune_merges, topological_order
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph, Node, RegularNode, node_from_state
from model_src.comp_graph.tf_comp_graph_flops_counter import node_macs

WINDOW_OPS = ("conv", "depthwise", "maxpool", "avgpool")


def graph_macs(cg: ComputeGraph, op2i: OP2I) -> int:
    """Multiply-accumulates of a graph: those of every node times its number of distinct inputs."""
    return sum(
        node_macs(node, op2i.query_op(node.op_type_idx)) * max(1, len(sources))
        for node, sources in zip(cg.nodes, cg.predecessors, strict=True)
    )


def compute_cg_flops(
    cg: ComputeGraph, op2i: OP2I, use_fast_counter: bool = True, div: float = 1e6, allow_zero: bool = False
) -> float:
    """FLOPs of a graph: twice the MACs of every node, times its number of distinct inputs.

    Args:
        cg: The graph.
        op2i: The operation vocabulary.
        use_fast_counter: Accepted for compatibility; there is one counter and it is the fast one.
        div: Unit of the result; 1e6 gives millions.
        allow_zero: Return 0 for a graph without work instead of raising.

    Raises:
        ValueError: The graph costs nothing and `allow_zero` is off.
    """
    macs = graph_macs(cg, op2i)
    if macs == 0 and not allow_zero:
        raise ValueError(f"{cg.name}: the graph has no operation that costs anything")
    return 2 * macs / div


class NodeFeatures(NamedTuple):
    """What the predictors see of a graph's nodes, in node order (weighted first)."""

    op: np.ndarray  # (n,) int64, vocabulary index
    resolution: np.ndarray  # (n, 6) float64, scaled by the graph's normalisers
    kernel: np.ndarray  # (n_weighted, 2) int64, k_h and k_w
    bias: np.ndarray  # (n_weighted,) int64, 1 where a bias is used


def node_features(cg: ComputeGraph) -> NodeFeatures:
    """What predictors see of every node: operation, scaled sizes, kernel, bias."""
    nodes = cg.nodes
    scale = [
        cg.max_derived_H,
        cg.max_derived_H,
        cg.max_derived_W,
        cg.max_derived_W,
        cg.max_hidden_size,
        cg.max_hidden_size,
    ]
    return NodeFeatures(
        np.array([node.op_type_idx for node in nodes], dtype=np.int64),
        np.array([node.resolution for node in nodes], dtype=np.float64).reshape(-1, 6)
        / np.array(scale, dtype=np.float64),
        np.array([node.shape[2:] for node in cg.weighted_nodes], dtype=np.int64).reshape(-1, 2),
        np.array([node.use_bias for node in cg.weighted_nodes], dtype=np.int64),
    )


def derived_normalisers(cg: ComputeGraph) -> dict[str, int]:
    """The normalisers that the graph's own largest sizes give."""
    resolutions = np.array([node.resolution for node in cg.nodes])
    shapes = np.array([node.shape for node in cg.weighted_nodes] or [(1, 1, 1, 1)])
    return {
        "max_hidden_size": int(shapes[:, :2].max()),
        "max_kernel_size": int(shapes[:, 2:].max()),
        "max_derived_H": int(resolutions[:, :2].max()),
        "max_derived_W": int(resolutions[:, 2:4].max()),
    }


def window_output(size: int, kernel: int, stride: int, padding: str, dilation: int = 1) -> int:
    """Pixels left along one axis after a sliding window (`same`: ceil(size / stride))."""
    if padding == "valid":
        size -= (kernel - 1) * dilation
    return -(-size // stride)


def correct_cg_for_downstream(cg: ComputeGraph, H: int, W: int, C: int) -> ComputeGraph:
    """Make a mutated graph consistent by inferring every resolution anew from an H x W x C input.

    Inputs wider than a node's channels are sliced, sums of several inputs become nodes of their own, kernel shapes
    follow the actual channels, merges with one input and inner input/output nodes disappear, normalisers are derived
    from the result.

    Raises:
        ValueError: A node gets too few channels, maps of different sizes, or a map smaller than one pixel.
    """
    op2i = OP2I().build_from_file()
    graph = _with_explicit_sums(_without_inner_ends(prune_merges(cg, fewest=0)), op2i)
    nodes: list[Node | None] = [None] * graph.n_nodes
    n_adds = 0
    for index in topological_order(graph):
        shapes = [nodes[source].out_shape for source in graph.predecessors[index]] or [(H, W, C)]
        node = graph.nodes[index]
        op = op2i.query_op(node.op_type_idx)
        label = {"add": f"addn_{n_adds}" if n_adds else "addn", "batchnorm": "fusedbatchnormv3"}.get(op)
        n_adds += op == "add"
        nodes[index] = _inferred(node, op, label or node.op_name, shapes, str(index))
    result = ComputeGraph.from_nodes(cg.name, (1, H, W, C), nodes, graph.edge_pairs)
    return result.with_normalisers(derived_normalisers(result))


def _without_inner_ends(cg: ComputeGraph) -> ComputeGraph:
    inner = [
        index
        for index in range(cg.n_weighted_nodes, cg.n_nodes)
        if cg.nodes[index].label.startswith(("input", "output")) and cg.predecessors[index] and cg.successors[index]
    ]
    return bypass(cg, inner) if inner else cg


def _with_explicit_sums(cg: ComputeGraph, op2i: OP2I) -> ComputeGraph:
    """Put an add in front of every node that is no merge but has several inputs."""
    nodes, edges = list(cg.nodes), set(cg.edge_pairs)
    for index, sources in enumerate(cg.predecessors):
        node = cg.nodes[index]
        if len(sources) < 2 or is_merge(node.label):
            continue
        h, w, c = node.in_shape
        edges -= {(source, index) for source in sources}
        edges |= {(source, len(nodes)) for source in sources} | {(len(nodes), index)}
        nodes.append(RegularNode(f"{node.str_id}_sum", "add", op2i["add"], (h, h, w, w, c, c)))
    if len(nodes) == cg.n_nodes:
        return cg
    return ComputeGraph.from_nodes(cg.name, cg.input_shape, nodes, edges, cg.normalisers)


def _inferred(node: Node, op: str, label: str, shapes: Sequence[tuple[int, int, int]], str_id: str) -> Node:
    """The node with the resolution, strides and kernel channels that its inputs (H, W, C) give it."""
    h, w = max(shape[:2] for shape in shapes)
    c = shapes[0][2]
    if any(shape[:2] != (h, w) and (op != "mul" or shape[:2] != (1, 1)) for shape in shapes):  # a gate may be one pixel
        raise ValueError(f"node {node.str_id} ({label}): inputs of different sizes {sorted(set(shapes))}")
    out_h, out_w = h, w
    state = {**node.state_dict(), "str_id": str_id, "label": label}
    if op == "concat":
        c_out = sum(shape[2] for shape in shapes)
    else:
        c = min(shape[2] for shape in shapes)
        if len(shapes) == 1 and c > node.resolution[4]:
            c = node.resolution[4]
        elif op in ("conv", "depthwise", "matmul", "batchnorm") and c < node.resolution[4]:
            raise ValueError(f"node {node.str_id} ({label}): {c} input channels, {node.resolution[4]} needed")
        c_out = node.resolution[5] if op in ("conv", "matmul") else c
    if op in WINDOW_OPS:
        state["strides"], (out_h, out_w) = _window(node, label, h, w)
    elif op == "paddings":
        out_h, out_w = (size + sum((node.metadata or {}).get(key, ())) for size, key in ((h, "pad_h"), (w, "pad_w")))
    elif op in ("mean", "global"):
        out_h = out_w = 1
    if min(out_h, out_w) < 1:
        raise ValueError(f"node {node.str_id} ({label}): a {h}x{w} map leaves nothing")
    if node.type_idx:
        state["shape"] = (c, 1 if op == "depthwise" else c_out, *node.shape[2:])
    return node_from_state({**state, "resolution": (h, out_h, w, out_w, c, c_out)}, bool(node.type_idx))


def _window(node: Node, label: str, h: int, w: int) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Integer strides and output (H, W) of a convolution or pool."""
    metadata = node.metadata or {}
    strides = tuple(int(stride) for stride in node.strides or (1, 1, 1, 1))
    if node.strides is not None and strides != tuple(node.strides):
        raise ValueError(f"node {node.str_id} ({label}): strides {node.strides} are not whole numbers")
    kernel = node.shape[2:] if node.type_idx else metadata.get("ksize", (1, 1, 1, 1))[1:3]
    dilations = [metadata["dil_rate"]] * 2 if "dil_rate" in metadata else metadata.get("dilations", (1, 1, 1, 1))[1:3]
    sizes = tuple(
        window_output(size, k, stride, node.padding, dilation)
        for size, k, stride, dilation in zip((h, w), kernel, strides[1:3], dilations, strict=True)
    )
    return strides, sizes
