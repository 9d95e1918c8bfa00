"""Run mutations in this process or in several; the results are the same."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.processes import LOCAL, Backend, Parcel, Task, TaskPool
from model_src.runtime import random_stream
from model_src.search.children import Mutation, Rating, Swap
from model_src.search.mutator import MAX_UNPACKED, Mutator
from model_src.search.objectives import Goal
from model_src.search.reach import Reach, reach

RATED_AT_ONCE = 20  # networks per task: few enough to share the work, many enough to share rows


@dataclass(frozen=True)
class Scorer:
    """What the predictors of a search are called, and mean and deviation that turn scores into accuracies, if known."""

    names: list[str]
    accuracy_scale: tuple[float, float] | None


NOBODY = Scorer([], None)


class MutatorFactory(Protocol):
    """Makes a mutator in whichever process it is called; picklable (a frozen dataclass)."""

    def __call__(self) -> Mutator:
        """Load everything that a mutator needs."""


def _prepare(mutator: Mutator) -> None:
    """Nothing: the mutator is there."""


def _baseline(mutator: Mutator, cg: ComputeGraph, seed: tuple[int, ...]) -> float:
    return mutator.baseline(cg, random_stream(*seed))


def _reach(mutator: Mutator, cg: ComputeGraph, goal: Goal, seed: tuple[int, ...]) -> list[Reach | None]:
    return reach(mutator, cg, goal, random_stream(*seed))


def _mutate(mutator: Mutator, cg: Parcel[ComputeGraph], goal: Goal, seed: tuple[int, ...]) -> Mutation:
    return mutator.mutate(mutator.unpacked(cg), goal, random_stream(*seed))


def _screen(mutator: Mutator, cg: Parcel[ComputeGraph], goal: Goal, most: int, seed: tuple[int, ...]) -> Mutation:
    return mutator.screen(mutator.unpacked(cg), goal, most, random_stream(*seed))


def _rate(mutator: Mutator, graphs: list[ComputeGraph], embed: bool) -> list[Rating]:
    return mutator.rate(graphs, embed)


def _rate_children(
    mutator: Mutator, parents: list[Parcel[ComputeGraph]], swaps: list[tuple[int, Parcel[Swap]]], embed: bool
) -> list[Rating]:
    return mutator.rate([swap.value.apply(mutator.unpacked(parents[number]), "new") for number, swap in swaps], embed)


def _scorer(mutator: Mutator) -> Scorer:
    ensemble = mutator.ensemble
    return Scorer(ensemble.member_names, ensemble.accuracy_scale(mutator.config.model_family)) if ensemble else NOBODY


class Workers:
    """Mutates networks in `n_jobs` processes, each of which loads the predictor and the database once.

    Every task has its own seed, so a result depends neither on the process that makes it nor on their number.

    Args:
        factory: Makes the mutator in each process.
        n_jobs: Networks at a time.
        timeout: Seconds after which a process hangs and is replaced, None for never.
        backend: Where the processes are.
        device: What predictors compute on; None: a GPU where there is one.
    """

    def __init__(
        self,
        factory: MutatorFactory,
        n_jobs: int,
        timeout: float | None = None,
        backend: Backend = LOCAL,
        device: str | None = "cpu",
    ):
        self._pool, self._timeout = TaskPool(factory, n_jobs, True, backend, device), timeout
        self._parcel = lru_cache(MAX_UNPACKED)(Parcel[ComputeGraph])

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def prepare(self) -> None:
        """Load what the mutator needs, so that errors in its files show before anything is done."""
        self._pool.start()
        next(self._run([Task("files of the search", _prepare)]))

    def baseline(self, cg: ComputeGraph, seed: tuple[int, ...]) -> float:
        """The input's own score (see `Mutator.baseline`)."""
        score: float = next(self._run([Task(f"score of {cg.name}", _baseline, (cg, seed))]))
        return score

    def reach(self, cg: ComputeGraph, goal: Goal, seed: tuple[int, ...]) -> list[Reach | None]:
        """What single swaps reach (see `reach.reach`)."""
        return next(self._run([Task(f"swaps of {cg.name}", _reach, (cg, goal, seed))]))

    def mutate(self, graphs: Iterable[ComputeGraph], goal: Goal, seed: tuple[int, ...]) -> Iterator[Mutation]:
        """Mutate every network, yielding the results in the order of the networks."""
        return self._run(
            Task(f"mutations of {cg.name}", _mutate, (self._parcel(cg), goal, (*seed, position)))
            for position, cg in enumerate(graphs)
        )

    def screen(
        self, graphs: Iterable[ComputeGraph], goal: Goal, most: int, seed: tuple[int, ...]
    ) -> Iterator[Mutation]:
        """Screen the children of every network (see `Mutator.screen`), in the order of the networks."""
        return self._run(
            Task(f"mutations of {cg.name}", _screen, (self._parcel(cg), goal, most, (*seed, position)))
            for position, cg in enumerate(graphs)
        )

    def rate(self, graphs: Sequence[ComputeGraph], embed: bool = False) -> list[Rating]:
        """Score whole networks (see `Mutator.rate`), in order."""
        tasks = (
            Task("scores of networks", _rate, (list(graphs[start : start + RATED_AT_ONCE]), embed))
            for start in range(0, len(graphs), RATED_AT_ONCE)
        )
        return [rating for ratings in self._run(tasks) for rating in ratings]

    def rate_children(self, children: Sequence[tuple[ComputeGraph, Parcel[Swap]]], embed: bool = False) -> list[Rating]:
        """Score children, which are built where they are scored, as `rate` does; siblings together.

        Args:
            children: Parents and what was swapped in them.
            embed: See `Mutator.rate`.
        """
        parents = list(dict.fromkeys(parent for parent, _ in children))
        numbers = [parents.index(parent) for parent, _ in children]
        order = np.argsort(numbers, kind="stable").tolist()
        chunks = [order[start : start + RATED_AT_ONCE] for start in range(0, len(order), RATED_AT_ONCE)]
        tasks = []
        for chunk in chunks:
            first, last = numbers[chunk[0]], numbers[chunk[-1]] + 1
            own = [self._parcel(parent) for parent in parents[first:last]]
            swaps = [(numbers[position] - first, children[position][1]) for position in chunk]
            tasks.append(Task("scores of networks", _rate_children, (own, swaps, embed)))
        ratings = [rating for found in self._run(tasks) for rating in found]
        return [rating for _, rating in sorted(zip(order, ratings, strict=True), key=itemgetter(0))]

    def scorer(self) -> Scorer:
        """What the predictors are."""
        return next(self._run([Task("predictors", _scorer)]))

    def _run(self, tasks: Iterable[Task]) -> Iterator[Any]:
        return self._pool.in_order(tasks, self._timeout)
