"""One node for all equal nodes of many graphs."""

import marshal
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from itertools import count
from typing import Any, Generic, TypeVar

from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode, node_from_state

AnyNode = TypeVar("AnyNode", bound=RegularNode)
Item = TypeVar("Item")


class NodePool(Generic[AnyNode]):
    """Distinct nodes by number, in order of first appearance; what counts as equal, the callers' keys say.

    Attributes:
        nodes: The nodes by number.
    """

    def __init__(self, nodes: Iterable[AnyNode] = ()):
        self.nodes = list(nodes)
        self._number_of: defaultdict[Hashable, int] = defaultdict(count(len(self.nodes)).__next__)

    def numbers(
        self, keys: Iterable[Hashable], items: Iterable[Item], make: Callable[[Item, int], AnyNode]
    ) -> list[int]:
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

    Attributes:
        fresh: Positions, in the last graph, of the nodes whose like was not met before.
    """

    def __init__(self) -> None:
        self._weighted = _PlacedNodes[WeightedNode]()
        self._regular = _PlacedNodes[RegularNode]()

    @property
    def fresh(self) -> list[int]:
        """See the class."""
        return self._weighted.fresh + self._regular.fresh

    def shared(self, graph: ComputeGraph) -> ComputeGraph:
        """The graph with nodes of the pool."""
        weighted = self._weighted.nodes(map(_content, graph.weighted_nodes), graph.weighted_nodes, _itself, 0)
        regular = self._regular.nodes(map(_content, graph.regular_nodes), graph.regular_nodes, _itself, len(weighted))
        return replace(
            graph, input_shape=tuple(graph.input_shape), weighted_nodes=tuple(weighted), regular_nodes=tuple(regular)
        )

    def graph_from_state(self, state: dict[str, Any]) -> ComputeGraph:
        """A graph of nodes of the pool from its JSON state form, which is used up.

        Raises:
            ValueError: As `ComputeGraph.from_state_dict`.
        """
        try:
            weighted, regular = _without_ids(state["weighted_nodes"]), _without_ids(state["regular_nodes"])
            nodes = {
                "weighted_nodes": self._weighted.nodes(weighted, weighted, _weighted_from, 0),
                "regular_nodes": self._regular.nodes(regular, regular, _regular_from, len(weighted)),
            }
            graph = object.__new__(ComputeGraph)
            shape = tuple(state["input_shape"])
            graph.__setstate__({**state, "input_shape": shape, **nodes})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a computation graph: {type(error).__name__} {error}") from error
        return graph


class _PlacedNodes(Generic[AnyNode]):
    """Nodes by content and index."""

    def __init__(self) -> None:
        self._contents = NodePool[AnyNode]()
        self._copies: defaultdict[int, dict[int, AnyNode]] = defaultdict(
            dict
        )  # by number of the content, then by index
        self.fresh: list[int] = []

    def nodes(
        self, contents: Iterable[Any], items: Iterable[Item], make: Callable[[Item, int], AnyNode], first: int
    ) -> list[AnyNode]:
        """The nodes that plain data describe, with ids from `first` on."""
        keys = [marshal.dumps(content, 2) for content in contents]  # the quickest way to bytes that equal data share
        nodes, n_known = [], len(self._contents.nodes)
        numbers = self._contents.numbers(keys, items, make)
        self.fresh = [index for index, number in enumerate(numbers, first) if number >= n_known]
        for index, number in enumerate(numbers, first):
            copies = self._copies[number]
            if index not in copies:
                copies[index] = self._contents.nodes[number].with_id(str(index))
            nodes.append(copies[index])
        return nodes


def _without_ids(states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for state in states:
        del state["str_id"]
    return states


def _weighted_from(state: dict[str, Any], _: int) -> WeightedNode:
    return node_from_state({**state, "str_id": ""}, True)


def _regular_from(state: dict[str, Any], _: int) -> RegularNode:
    return node_from_state({**state, "str_id": ""}, False)


def _itself(node: AnyNode, _: int) -> AnyNode:
    return node


def _content(node: RegularNode) -> tuple[object, ...]:
    """All of a node but its id."""
    kernel = node.shape if isinstance(node, WeightedNode) else None
    return node.label, node.op_type_idx, node.resolution, node.strides, node.metadata, kernel
