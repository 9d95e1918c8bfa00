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

from model_src.search.children import Rating, Screened
from model_src.search.objectives import Goal
from model_src.search.offspring import Offspring
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
class Chosen:
    """A screened child that is to be scored as a whole; costs as for `Child`."""

    parent: Individual
    screened: Screened
    prefix: str
    identity: str
    costs: tuple[float, ...]


class Rescoring:
    """Scores the most promising children of an iteration; none is scored twice in a search.

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
        ratings = workers.rate_children([(one.parent.graph, one.screened.swap) for one in chosen], self.embed)
        return [self._individual(*pair, goal, iteration) for pair in zip(chosen, ratings, strict=True)]

    def _choose(
        self, found: Sequence[tuple[Individual, Screened]], goal: Goal, iteration: int, known: set[str]
    ) -> list[Chosen]:
        """Whole Pareto layers of the screening, the last one by crowding distance, ties by hash."""
        values = points([one.score for _, one in found], [goal.front_costs(one.costs) for _, one in found])
        chosen: list[Chosen] = []
        offspring: dict[Individual, Offspring] = {}
        for layer in pareto_layers(values):
            best_first = layer[np.argsort(values[layer, 0], kind="stable")]
            fresh: dict[str, tuple[int, Chosen]] = {}
            for position in best_first.tolist():
                parent, screened = found[position]
                if parent not in offspring:
                    offspring[parent] = Offspring(parent.graph, goal)
                identity, costs = offspring[parent].traits(screened.swap.value, screened.costs)
                if identity not in known and identity not in fresh and goal.contains(costs):
                    prefix = f"{iteration}.{len(known) + len(fresh)}."
                    fresh[identity] = position, Chosen(parent, screened, prefix, identity, costs)
            room = self._most - len(chosen)
            kept = [one for _, one in fresh.values()]
            if len(kept) > room:
                distances = crowding_distances(values[[position for position, _ in fresh.values()]])
                order = sorted(range(len(kept)), key=lambda i: (-distances[i], kept[i].identity))
                kept = [kept[i] for i in order[:room]]
            chosen += kept
            known.update(one.identity for one in kept)
            if len(chosen) == self._most:
                break
        return chosen

    def _individual(self, one: Chosen, rating: Rating, goal: Goal, iteration: int) -> Individual:
        mflops = one.costs[goal.flops]
        origin = Origin(one.parent, one.screened.swap.value, one.prefix)
        return Individual(
            lambda: origin.swap.apply(origin.parent.graph, origin.prefix),
            one.identity,
            rating.score,
            self.ranking(rating, mflops, one.parent.n_swaps + 1),
            one.costs[: goal.n_objectives],
            mflops,
            iteration,
            one.screened.score,
            origin,
            rating,
            goal.estimates,
        )
