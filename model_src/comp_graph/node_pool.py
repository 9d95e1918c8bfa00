"""One node for all equal nodes of many graphs."""

import marshal
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from typing import Any, TypeVar

from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, node_from_state

Item = TypeVar("Item")


class NodePool:
    """Distinct nodes by number, in order of first appearance; what counts as equal, the callers' keys say.

    Attributes:
        nodes: The nodes by number.
    """

    def __init__(self, nodes: Iterable[Node] = ()):
        self.nodes = list(nodes)
        self._number_of: defaultdict[Hashable, int] = defaultdict(count(len(self.nodes)).__next__)

    def numbers(self, keys: Iterable[Hashable], items: Iterable[Item], make: Callable[[Item, int], Node]) -> list[int]:
        """The numbers of nodes; of those that are new, `make` gives the node from the item and its number.

        Once `make` has raised an error the pool is of no use.
        """
        number_of, nodes, n_known = self._number_of, self.nodes, len(self._number_of)
        numbers = [number_of[key] for key in keys]
        end = len(nodes) + len(number_of) - n_known
        for number, item in zip(numbers, items, strict=True):
            if len(nodes) == end:
                break
            if number == len(nodes):
                nodes.append(make(item, number))
        return numbers


class GraphPool:
    """Gives nodes their index as id; equal nodes at the same place of different networks are one object.

    The networks of a family have few different nodes, so a cache takes a fraction of the memory, and of the time: what
    a file says of a node is checked when it is met first.
    """

    def __init__(self) -> None:
        self._contents = NodePool()
        self._copies: defaultdict[int, dict[int, Node]] = defaultdict(dict)  # by number of the content, then by index

    def shared(self, graph: ComputeGraph) -> ComputeGraph:
        """The graph with nodes of the pool."""
        nodes = self._nodes(map(_content, graph.nodes), graph.nodes, lambda node, _: node, 0)
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

    def _nodes_from(self, states: list[dict[str, Any]], weighted: bool, first: int) -> list[Node]:
        for state in states:
            del state["str_id"]
        contents = [(weighted, state) for state in states]
        return self._nodes(contents, states, lambda state, _: node_from_state({**state, "str_id": ""}, weighted), first)

    def _nodes(
        self, contents: Iterable[tuple], items: Iterable[Item], make: Callable[[Item, int], Node], first: int
    ) -> list[Node]:
        """The pool's nodes for plain data that describe them, with ids from `first` on."""
        keys = [marshal.dumps(content, 2) for content in contents]  # the quickest way to bytes that equal data share
        nodes = []
        for index, number in enumerate(self._contents.numbers(keys, items, make), first):
            copies = self._copies[number]
            if index not in copies:
                copies[index] = self._contents.nodes[number].with_id(str(index))
            nodes.append(copies[index])
        return nodes


def _content(node: Node) -> tuple:
    """All of a node but its id."""
    kernel = node.shape if node.type_idx else None
    return node.label, node.op_type_idx, node.resolution, node.strides, node.metadata, kernel
