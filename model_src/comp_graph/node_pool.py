"""Reading many graphs whose nodes are mostly the same."""

import marshal
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, node_from_state


class NodePool:
    """Numbers the nodes of networks by index; equal nodes at the same place of different networks are one object.

    The networks of a family have few different nodes, so a cache takes a fraction of the memory, and of the time: what
    a file says of a node is checked when it is met first.
    """

    def __init__(self):
        self._known: defaultdict[bytes, dict[int, Node]] = defaultdict(dict)  # by content, then by index

    def shared(self, graph: ComputeGraph) -> ComputeGraph:
        """The graph with nodes of the pool."""
        nodes = []
        for index, node in enumerate(graph.nodes):
            alike = self._alike(_content(node))
            if not alike:
                alike[index] = node.with_id(str(index))
            nodes.append(alike.get(index) or _copied(alike, index))
        first = graph.n_weighted_nodes
        parts = tuple(nodes[:first]), tuple(nodes[first:]), graph.edge_pairs
        return ComputeGraph(graph.name, tuple(graph.input_shape), *parts, **graph.normalisers)

    def graph_from_state(self, state: dict[str, Any]) -> ComputeGraph:
        """A graph of nodes of the pool from its JSON state form, which is used up.

        Raises:
            ValueError: As `ComputeGraph.from_state_dict`.
        """
        try:
            weighted = self._nodes_from(state["weighted_nodes"], True, 0)
            regular = self._nodes_from(state["regular_nodes"], False, len(weighted))
            graph = object.__new__(ComputeGraph)
            shape = tuple(state["input_shape"])
            graph.__setstate__({**state, "input_shape": shape, "weighted_nodes": weighted, "regular_nodes": regular})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a computation graph: {type(error).__name__} {error}") from error
        return graph

    def _nodes_from(self, states: Iterable[dict[str, Any]], weighted: bool, first: int) -> list[Node]:
        nodes = []
        for index, state in enumerate(states, first):
            del state["str_id"]
            alike = self._alike((weighted, state))
            if not alike:
                alike[index] = node_from_state({**state, "str_id": index}, weighted)
            nodes.append(alike.get(index) or _copied(alike, index))
        return nodes

    def _alike(self, content: tuple) -> dict[int, Node]:
        """The nodes that plain data describe, by index."""
        return self._known[marshal.dumps(content, 2)]  # the quickest way to bytes that equal data share


def _copied(alike: dict[int, Node], index: int) -> Node:
    """A copy for another index, which is noted."""
    alike[index] = next(iter(alike.values())).with_id(str(index))
    return alike[index]


def _content(node: Node) -> tuple:
    """All of a node but its id."""
    kernel = node.shape if node.type_idx else None
    return node.label, node.op_type_idx, node.resolution, node.strides, node.metadata, kernel
