"""What a result has that the input has not, and the other way round: by the swaps that led from one to the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from model_src.comp_graph.drawing import describe
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node
from model_src.comp_graph.tf_comp_graph_utils import corrected_with_ids
from model_src.search.genealogy import Step, stages


@dataclass(frozen=True, eq=False)
class Changes:
    """A result against the input.

    Attributes:
        source: The input.
        graph: The result.
        steps: The swaps in between, see `genealogy`.
        kept: Node of the result -> node of the input that it is.
        brought: Node of the result -> position of the step that brought it.
        removed: Node of the input -> position of the step that took it out.
        resized: Kept node of the result -> how it was in the input, where its sizes or its kernel's differ.
    """

    source: ComputeGraph
    graph: ComputeGraph
    steps: Sequence[Step]
    kept: dict[int, int]
    brought: dict[int, int]
    removed: dict[int, int]
    resized: dict[int, str]

    @cached_property
    def touched(self) -> set[int]:
        """Nodes of the result that are new or resized, or read or gave something else than in the input."""
        beside = {index for index in self.removed for index in self._neighbours(index)}
        return {*self.brought, *self.resized, *(index for index, old in self.kept.items() if old in beside)}

    def _neighbours(self, index: int) -> tuple[int, ...]:
        return self.source.predecessors[index] + self.source.successors[index]


def changes_of(source: ComputeGraph, graph: ComputeGraph, steps: Sequence[Step]) -> Changes:
    """Compare a result with the input.

    Args:
        source: The input.
        graph: The result as its file has it.
        steps: The swaps that led to it.

    Raises:
        ValueError: The steps lead from this input to another network.
    """
    grown = [source, *stages(source, steps)]
    before, (after, ids) = _as_built(source), _as_built(grown[-1])
    if [node.digest for node in after.nodes] != [node.digest for node in graph.nodes]:
        raise ValueError(f"the swaps of {graph.name} lead to another network than its file holds")
    own = {node.str_id: index for index, node in enumerate(source.nodes)}
    was = dict(zip(before[1], before[0].nodes, strict=True))
    kept = {index: own[node_id] for index, node_id in enumerate(ids) if node_id in own}
    prefixes = [step["prefix"] for step in steps]
    brought = {
        index: number
        for number, prefix in enumerate(prefixes)
        for index, node_id in enumerate(ids)
        if index not in kept and node_id.startswith(prefix)
    }
    resized = {
        index: _difference(was[ids[index]], graph.nodes[index])
        for index in kept
        if ids[index] in was and was[ids[index]].digest != graph.nodes[index].digest
    }
    left = [{node.str_id for node in stage.nodes} for stage in grown]
    removed = {
        own[node_id]: number
        for number, (earlier, later) in enumerate(pairwise(left))
        for node_id in earlier - later
        if node_id in own
    }
    return Changes(source, graph, steps, kept, brought, removed, resized)


def _as_built(graph: ComputeGraph) -> tuple[ComputeGraph, list[str]]:
    """A network with all sizes inferred, and the ids its nodes had before; where they cannot be, as it is."""
    try:
        return corrected_with_ids(graph, *graph.input_shape[1:])
    except ValueError:
        return graph, [node.str_id for node in graph.nodes]


def _difference(before: Node, after: Node) -> str:
    """How a node was, as far as that differs."""
    if describe(before) != describe(after):
        return f"was {describe(before)}"
    sizes = ["×".join(map(str, node.out_shape)) for node in (before, after)]
    return f"{sizes[1]}, was {sizes[0]}" if sizes[0] != sizes[1] else "its details differ"
