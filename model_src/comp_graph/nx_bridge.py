"""Computation graph <-> networkx DiGraph."""

from collections.abc import Iterable
from typing import Any

import networkx as nx

from model_src.comp_graph.graph_ops import prune_merges
from model_src.comp_graph.tf_comp_graph import ComputeGraph, node_from_state


def cg_to_nx(cgs: Iterable[ComputeGraph]) -> list[nx.DiGraph]:
    """Convert graphs to networkx; node i is the graph's node i, edges are inserted in `edge_pairs` order.

    Node attributes are the node's fields plus `op_name` and `type_idx`; `str_id` becomes the index as text.
    Graph attributes are `name`, `input_shape` and the normalisers. The arguments are not changed.
    """
    graphs = []
    for cg in cgs:
        graph = nx.DiGraph(name=cg.name, input_shape=list(cg.input_shape), **cg.normalisers)
        for index, node in enumerate(cg.nodes):
            fields = {**node.state_dict(), "str_id": str(index), "type_idx": node.type_idx, "op_name": node.op_name}
            graph.add_node(index, **fields)
        graph.add_edges_from(cg.edge_pairs)
        graphs.append(graph)
    return graphs


def nx_to_cg(graphs: Iterable[nx.DiGraph]) -> list[ComputeGraph]:
    """Convert networkx graphs to computation graphs; merges left with one predecessor are bypassed.

    Node attributes are authoritative; the name and the normalisers come from the graph attributes.

    Raises:
        KeyError: A node lacks one of the fields of a computation-graph node.
    """
    return [prune_merges(_nx_to_cg(graph)) for graph in graphs]


def _nx_to_cg(graph: nx.DiGraph) -> ComputeGraph:
    ids = list(graph.nodes)
    index = {node_id: position for position, node_id in enumerate(ids)}
    nodes = [
        node_from_state({"str_id": node_id, **graph.nodes[node_id]}, bool(graph.nodes[node_id]["type_idx"]))
        for node_id in ids
    ]
    inputs = graph.graph.get("input_shape") or [
        (1, *node.in_shape) for node_id, node in zip(ids, nodes, strict=True) if not graph.in_degree(node_id)
    ]
    return ComputeGraph.from_nodes(
        graph.graph.get("name", ""),
        [tuple(entry) if isinstance(entry, (list, tuple)) else entry for entry in inputs],
        nodes,
        [(index[source], index[target]) for source, target in graph.edges],
        {key: graph.graph.get(key) for key in ComputeGraph.NORMALISERS},
    )


def in_shape(graph: nx.DiGraph, node_id: Any) -> tuple[int, int, int]:
    """(H_in, W_in, C_in) of a networkx node."""
    return tuple(graph.nodes[node_id]["resolution"][0::2])


def out_shape(graph: nx.DiGraph, node_id: Any) -> tuple[int, int, int]:
    """(H_out, W_out, C_out) of a networkx node."""
    return tuple(graph.nodes[node_id]["resolution"][1::2])
