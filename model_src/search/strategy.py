"""How a search goes on: whom it mutates, what it keeps."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from model_src.search.children import Mutation
from model_src.search.objectives import Goal
from model_src.search.pareto import Individual, pareto_front, select_parents
from model_src.search.workers import Workers


class Strategy(Protocol):
    """What a search asks at every turn; an object serves one search.

    Attributes:
        front: The best so far, best score first; the input is among them while nothing is better.
    """

    front: list[Individual]

    def start(self, source: Individual) -> None:
        """Take the input."""

    def choose_parents(self, iteration: int, rng: np.random.Generator) -> list[Individual]:
        """The networks that an iteration (from 1) mutates."""

    def propose(
        self, workers: Workers, parents: Sequence[Individual], goal: Goal, seed: tuple[int, ...]
    ) -> Iterator[Mutation]:
        """Children of the parents, in their order; the same for the same seed."""

    def take_in(self, children: Sequence[Individual]) -> None:
        """Take the accepted children of a parent, none of which was met before."""


class ParetoStrategy:
    """The published strategy: a Pareto set over score and costs, parents spread over it.

    Args:
        top_k: Most parents of an iteration.
        max_swaps: Networks so many swaps away from the input are not mutated any more; None for no limit.
        rescore_per_iter: So many children of an iteration are scored as whole networks; 0 for the published search.
    """

    def __init__(self, top_k: int = 10, max_swaps: int | None = None, rescore_per_iter: int = 0):
        self.front: list[Individual] = []
        self.latest: list[Individual] = []  # children of the iteration under way, or of the last one
        self._top_k, self._max_swaps, self._rescore_per_iter = top_k, max_swaps, rescore_per_iter

    def start(self, source: Individual) -> None:
        """Begin the front with the input."""
        self.front = [source]

    def choose_parents(self, iteration: int, rng: np.random.Generator) -> list[Individual]:
        """The input in the first iteration, then members of the front and the best of the latest children."""
        front, latest = ([one for one in each if self._may_grow(one)] for each in (self.front, self.latest))
        self.latest = []
        return front if iteration == 1 else select_parents(front, latest, self._top_k, rng)

    def _may_grow(self, one: Individual) -> bool:
        return self._max_swaps is None or one.n_swaps < self._max_swaps

    def propose(
        self, workers: Workers, parents: Sequence[Individual], goal: Goal, seed: tuple[int, ...]
    ) -> Iterator[Mutation]:
        """Mutate every parent."""
        graphs = [parent.graph for parent in parents]
        if self._rescore_per_iter:
            most = 2 * self._rescore_per_iter  # some of them are the same network
            return workers.screen(graphs, goal, most, seed)
        return workers.mutate(graphs, goal, seed)

    def take_in(self, children: Sequence[Individual]) -> None:
        """Put children into the front, from which those leave that they dominate."""
        self.latest += children
        self.front = pareto_front([*self.front, *children])
