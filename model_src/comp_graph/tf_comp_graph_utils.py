"""FLOPs, GNN features and shape inference of a computation graph."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from model_src.comp_graph.graph_ops import bypass, prune_merges, topological_order
from model_src.comp_graph.ops import OPERATIONS, Channels
from model_src.comp_graph.region import region_of
from model_src.comp_graph.sizes import window_of
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph, Node, RegularNode, Shape, node_from_state
from model_src.comp_graph.tf_comp_graph_flops_counter import node_macs


def graph_macs(cg: ComputeGraph) -> int:
    """Multiply-accumulates of a graph: those of every node times its number of distinct inputs.

    Raises:
        ValueError: Nobody registered the operation of a node, so its cost is not known.
    """
    return sum([node_macs(node, len(sources)) for node, sources in zip(cg.nodes, cg.predecessors, strict=True)])


def parameter_count(cg: ComputeGraph) -> int:
    """Number of trainable parameters of a graph's network.

    Raises:
        ValueError: Nobody registered the operation of a node.
    """
    return sum([node.operation.parameters(node) for node in cg.nodes])


def compute_cg_flops(
    cg: ComputeGraph, op2i: OP2I, use_fast_counter: bool = True, div: float = 1e6, allow_zero: bool = False
) -> float:
    """FLOPs of a graph: twice the MACs of every node, times its number of distinct inputs.

    Args:
        cg: The graph.
        op2i: Accepted for compatibility; the table of operations knows what costs what.
        use_fast_counter: Accepted for compatibility; there is one counter and it is the fast one.
        div: Unit of the result; 1e6 gives millions.
        allow_zero: Return 0 for a graph without work instead of raising.

    Raises:
        ValueError: The graph costs nothing and `allow_zero` is off, or nobody registered the operation of a node.
    """
    macs = graph_macs(cg)
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


def correct_cg_for_downstream(cg: ComputeGraph, H: int, W: int, C: int) -> ComputeGraph:
    """Make a mutated graph consistent by inferring every resolution anew from an H x W x C input.

    Inputs wider than a node's channels are sliced, sums of several inputs become nodes of their own, kernel shapes
    follow the actual channels, merges with one input and inner input/output nodes disappear, normalisers are derived
    from the result.

    Raises:
        ValueError: A node gets too few channels, maps of different sizes, or a map smaller than one pixel; or what it
            makes of a map of another size is not known.
    """
    return corrected_with_ids(cg, H, W, C)[0]


def corrected_with_ids(cg: ComputeGraph, H: int, W: int, C: int) -> tuple[ComputeGraph, list[str]]:
    """`correct_cg_for_downstream`, and per node of the result the id of the node that it was made of.

    Raises:
        ValueError: See `correct_cg_for_downstream`.
    """
    graph = _with_explicit_sums(_without_inner_ends(prune_merges(cg, fewest=0)))
    nodes: dict[int, Node] = {}
    n_adds = 0
    for index in topological_order(graph):
        shapes = [nodes[source].out_shape for source in graph.predecessors[index]] or [(H, W, C)]
        node = graph.nodes[index]
        label = node.operation.label
        if node.operation.name == "add":
            label = f"addn_{n_adds}" if n_adds else "addn"
            n_adds += 1
        state = {**_inferred(node, shapes), "str_id": _renumbered(node, index), "label": label}
        nodes[index] = node_from_state(state, bool(node.type_idx))
    result = ComputeGraph.from_nodes(
        cg.name, (1, H, W, C), [nodes[index] for index in range(graph.n_nodes)], graph.edge_pairs
    )
    return result.with_normalisers(derived_normalisers(result)), [node.str_id for node in graph.nodes]


def _renumbered(node: Node, index: int) -> str:
    """An id by number, with the name that the node had in the network that it came from."""
    _, bar, name = node.str_id.partition("|")
    return f"{index}{bar}{name}"


def _without_inner_ends(cg: ComputeGraph) -> ComputeGraph:
    inner = [
        index
        for index in range(cg.n_weighted_nodes, cg.n_nodes)
        if cg.nodes[index].operation.name in ("input", "output") and cg.predecessors[index] and cg.successors[index]
    ]
    return bypass(cg, inner) if inner else cg


def _with_explicit_sums(cg: ComputeGraph) -> ComputeGraph:
    """Put an add in front of every node that is no merge but has several inputs."""
    nodes, edges, add = list(cg.nodes), set(cg.edge_pairs), OPERATIONS["add"]
    for index, sources in enumerate(cg.predecessors):
        node = cg.nodes[index]
        if len(sources) < 2 or node.operation.is_merge or node.operation.reads_apart:
            continue
        h, w, c = node.in_shape
        edges -= {(source, index) for source in sources}
        edges |= {(source, len(nodes)) for source in sources} | {(len(nodes), index)}
        nodes.append(RegularNode(f"{node.str_id}_sum", add.label, add.index, (h, h, w, w, c, c)))
    if len(nodes) == cg.n_nodes:
        return cg
    return ComputeGraph.from_nodes(cg.name, cg.input_shape, nodes, edges, cg.normalisers)


def _inferred(node: Node, shapes: Sequence[Shape]) -> dict[str, Any]:
    """The node's state with the resolution, strides and kernel channels that its inputs (H, W, C) give it."""
    operation = node.operation
    if operation.reads_apart:
        return _unchanged(node, shapes)
    h, w = max(shape[:2] for shape in shapes)
    gate = [(1, 1)] if operation.is_product else []
    if any(shape[:2] not in ((h, w), *gate) for shape in shapes):
        raise node.error(f"inputs of different sizes {sorted(set(shapes))}")
    c, c_out = _channels(node, [shape[2] for shape in shapes])
    h_out, w_out = operation.size(node, h, w)
    if min(h_out, w_out) < 1:
        raise node.error(f"a {h}x{w} map leaves nothing")
    state = {**node.state_dict(), "resolution": (h, h_out, w, w_out, c, c_out)}
    if operation.has_window:
        state["strides"] = (1, *window_of(node).stride, 1)
    if node.type_idx:
        state["shape"] = operation.kernel_shape(c, c_out, *node.kernel[2:])
    return state


def _unchanged(node: Node, shapes: Sequence[Shape]) -> dict[str, Any]:
    """The state of a node that can only read the maps that it was made for."""
    wanted = sorted((h, w, c) for c, h, w in region_of(node).inputs)
    if sorted(shapes) != wanted:
        raise node.error(f"it reads maps (H, W, C) of {wanted} and gets {sorted(shapes)}")
    return node.state_dict()


def _channels(node: Node, widths: Sequence[int]) -> tuple[int, int]:
    """(C_in, C_out) of a node for inputs with so many channels; what is too wide is cut."""
    operation, own = node.operation, node.resolution[4]
    if operation.channels is Channels.SUMMED:
        return widths[0], sum(widths)
    c = min(widths)
    if len(widths) == 1 and c > own:
        c = own
    elif operation.needs_channels and c < own:
        raise node.error(f"{c} input channels, {own} needed")
    return c, node.resolution[5] if operation.channels is Channels.CHOSEN else c
