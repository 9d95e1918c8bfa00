"""Run mutations in this process or in several; the results are the same."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import Protocol

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.mutator import Mutation, Mutator
from model_src.search.objectives import Objectives


class MutatorFactory(Protocol):
    """Makes a mutator in whichever process it is called; hashable and picklable (a frozen dataclass)."""

    def __call__(self) -> Mutator:
        """Load everything that a mutator needs."""


@lru_cache(maxsize=1)
def _mutator(factory: MutatorFactory) -> Mutator:
    """The mutator of this process, loaded once: equal factories are one key."""
    return factory()


def _prepare(factory: MutatorFactory) -> None:
    _mutator(factory)


def _baseline(factory: MutatorFactory, cg: ComputeGraph, seed: tuple[int, ...]) -> float:
    return _mutator(factory).baseline(cg, np.random.default_rng(seed))


def _mutate(factory: MutatorFactory, cg: ComputeGraph, objectives: Objectives, seed: tuple[int, ...]) -> Mutation:
    return _mutator(factory).mutate(cg, objectives, np.random.default_rng(seed))


class Workers:
    """Mutates networks in `n_jobs` processes, each of which loads the predictor and the database once.

    Every task has its own seed, so a result depends neither on the process that makes it nor on their number.
    """

    def __init__(self, factory: MutatorFactory, n_jobs: int):
        self._factory = factory
        # Fresh processes, not forks: a fork of a process that has used PyTorch's threads can hang.
        self._pool = ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) if n_jobs > 1 else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def prepare(self) -> None:
        """Load what the mutator needs, so that errors in its files show before anything is done."""
        next(self._run(_prepare, [()]))

    def baseline(self, cg: ComputeGraph, seed: tuple[int, ...]) -> float:
        """The input's own score (see `Mutator.baseline`)."""
        return next(self._run(_baseline, [(cg, seed)]))

    def mutate(
        self, graphs: Iterable[ComputeGraph], objectives: Objectives, seed: tuple[int, ...]
    ) -> Iterator[Mutation]:
        """Mutate every network, yielding the results in the order of the networks."""
        return self._run(_mutate, [(cg, objectives, (*seed, position)) for position, cg in enumerate(graphs)])

    def _run(self, task: Callable, arguments: list[tuple]) -> Iterator:
        if self._pool is None:
            return (task(self._factory, *entry) for entry in arguments)
        futures = [self._pool.submit(task, self._factory, *entry) for entry in arguments]
        return (future.result() for future in futures)
