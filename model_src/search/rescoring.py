"""The second stage: the most promising children of an iteration are scored as whole networks.

A child's own split gives one noisy prediction; the best of thousands of them says more about the noise than about the
network. So the first stage only decides which networks are worth a closer look, and what several predictors say of a
whole network, at all its splits, decides on everything else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.children import Rating, Screened
from model_src.search.objectives import Goal
from model_src.search.pareto import Individual, Origin, crowding_distances, pareto_layers, points
from model_src.search.workers import Workers


def merit_of(rating: Rating, caution: float) -> float:
    """Mean - caution x deviation; the mean where there is no deviation."""
    return rating.score if math.isnan(rating.sd) else rating.score - caution * rating.sd


class Ranking(Protocol):
    """What networks are ranked by; higher is better."""

    def __call__(self, rating: Rating, mflops: float, n_swaps: int) -> float:
        """The merit of a network."""


@dataclass(frozen=True)
class ByScore:
    """Ranks by what the predictors say: mean - caution x deviation."""

    caution: float

    def __call__(self, rating: Rating, mflops: float, n_swaps: int) -> float:
        """The merit of a network, in the unit of the score."""
        return merit_of(rating, self.caution)


@dataclass(frozen=True, eq=False)
class Built:
    """A screened child whose network is built; costs as for `Child`."""

    parent: Individual
    screened: Screened
    prefix: str
    graph: ComputeGraph
    identity: str
    costs: tuple[float, ...]


class Rescoring:
    """Builds and scores the most promising children of an iteration; none is scored twice in a search.

    Args:
        most: Networks scored per iteration.
        ranking: What they are ranked by.
        embed: Also ask what the predictors see of them.
    """

    def __init__(self, most: int, ranking: Ranking, embed: bool = False):
        self._most, self.ranking, self.embed = most, ranking, embed

    def run(
        self,
        found: Sequence[tuple[Individual, Screened]],
        goal: Goal,
        iteration: int,
        known: set[str],
        workers: Workers,
    ) -> list[Individual]:
        """The rescored children, accepted or not.

        Args:
            found: Screened children with the networks that were mutated.
            goal: Of the search.
            iteration: The present one.
            known: Canonical hashes of networks not to be scored again; those of the children are added.
            workers: Where networks are scored.
        """
        chosen = self._choose(found, goal, iteration, known)
        ratings = workers.rate([one.graph for one in chosen], self.embed)
        return [self._individual(*pair, goal, iteration) for pair in zip(chosen, ratings, strict=True)]

    def _choose(
        self, found: Sequence[tuple[Individual, Screened]], goal: Goal, iteration: int, known: set[str]
    ) -> list[Built]:
        """Whole Pareto layers of the screening, the last one by crowding distance, ties by hash."""
        values = points([one.score for _, one in found], [goal.front_costs(one.costs) for _, one in found])
        chosen: list[Built] = []
        for layer in pareto_layers(values):
            best_first = layer[np.argsort(values[layer, 0], kind="stable")]
            built: dict[str, tuple[int, Built]] = {}
            for position in best_first.tolist():
                parent, screened = found[position]
                one = _build(parent, screened, goal, f"{iteration}.{len(known) + len(built)}.")
                if one.identity not in known and one.identity not in built and goal.contains(one.costs):
                    built[one.identity] = (position, one)
            room = self._most - len(chosen)
            kept = [one for _, one in built.values()]
            if len(kept) > room:
                distances = crowding_distances(values[[position for position, _ in built.values()]])
                order = sorted(range(len(kept)), key=lambda i: (-distances[i], kept[i].identity))
                kept = [kept[i] for i in order[:room]]
            chosen += kept
            known.update(one.identity for one in kept)
            if len(chosen) == self._most:
                break
        return chosen

    def _individual(self, one: Built, rating: Rating, goal: Goal, iteration: int) -> Individual:
        mflops = one.costs[goal.flops]
        return Individual(
            lambda: one.graph,
            one.identity,
            rating.score,
            self.ranking(rating, mflops, one.parent.n_swaps + 1),
            one.costs[: goal.n_objectives],
            mflops,
            iteration,
            one.screened.score,
            Origin(one.parent, one.screened.swap, one.prefix),
            rating,
            goal.estimates,
        )


def _build(parent: Individual, screened: Screened, goal: Goal, prefix: str) -> Built:
    swap = screened.swap
    graph = swap.apply(parent.graph, prefix)
    costs = goal.costs_of(graph, screened.costs, swap.bypasses_merges(parent.graph, graph))
    return Built(parent, screened, prefix, graph, canonical_hash(graph), costs)
