"""What becomes of a network when a segment is swapped: identity and costs, mostly without building it."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.replaced import ReplacementHashes
from model_src.comp_graph.segment import Cut
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.children import Screened, Swap
from model_src.search.objectives import Goal
from model_src.search.pareto import crowding_distances, pareto_layers, points


class Traits(NamedTuple):
    """What a search wants to know of a network.

    Attributes:
        identity: Its canonical hash.
        costs: One per window of the goal, in the units of the objectives.
    """

    identity: str
    costs: tuple[float, ...]


class Offspring:
    """The children of one network; of those that come up again it remembers the traits.

    Args:
        parent: The network.
        goal: Of the search.
    """

    def __init__(self, parent: ComputeGraph, goal: Goal):
        self._parent, self._goal = parent, goal
        self._hashes = ReplacementHashes(parent)
        self._places: dict[tuple[int, ...], Cut] = {}
        self._known: dict[Hashable, Traits] = {}

    def traits(self, swap: Swap, known: Sequence[float | None], place: Cut | None = None) -> Traits:
        """Identity and costs of a child.

        Args:
            swap: What makes it of the parent.
            known: Its costs, None where only the built network tells; see `SwapCosts`.
            place: What the swap takes out of the parent, if that is at hand.
        """
        key = _content(swap)
        if key not in self._known:
            if swap.indices not in self._places:
                self._places[swap.indices] = place or swap.place_in(self._parent)
            self._known[key] = self._found(swap, known, self._places[swap.indices])
        return self._known[key]

    def _found(self, swap: Swap, known: Sequence[float | None], place: Cut) -> Traits:
        costs = tuple([cost for cost in known if cost is not None])
        if len(costs) == len(known):
            identity = self._hashes.of(place, swap.segment, swap.input_map, swap.output_map)
            if identity is not None:
                return Traits(identity, costs)
        child = swap.apply(self._parent, "new", place)
        return Traits(
            canonical_hash(child), self._goal.costs_of(child, known, swap.bypasses_merges(self._parent, child))
        )


def most_promising(found: Sequence[Screened], goal: Goal, most: int) -> list[Screened]:
    """Whole Pareto layers over score and costs, the last one by crowding distance; at most `most` swaps."""
    values = points([one.score for one in found], [goal.front_costs(one.costs) for one in found])
    kept: list[int] = []
    for layer in pareto_layers(values):
        if len(kept) + len(layer) > most:
            layer = layer[np.argsort(-crowding_distances(values[layer]), kind="stable")]
        kept += layer[: most - len(kept)].tolist()
    return [found[position] for position in kept]


def _content(swap: Swap) -> Hashable:
    """What two swaps share that make the same network of a parent, ids and labels aside."""
    segment = swap.segment
    nodes = tuple([node.digest for node in segment.graph.nodes])
    edges = segment.graph.edge_pairs
    return swap.indices, nodes, edges, segment.inputs, segment.outputs, swap.input_map, swap.output_map
