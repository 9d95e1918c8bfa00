"""A search from Python: a network and a configuration in, better and cheaper networks out. No files, no prints."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream, derived_normalisers
from model_src.files import InputError
from model_src.processes import TaskError
from model_src.propagation.milp import Statistics
from model_src.runtime import random_stream
from model_src.search.children import Mutation
from model_src.search.config import MutatorFiles, SearchConfig
from model_src.search.objectives import Goal, Window
from model_src.search.pareto import Individual
from model_src.search.strategy import ParetoStrategy, Strategy
from model_src.search.workers import Workers

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a search stands: one network was mutated."""

    iteration: int
    parent: int
    n_parents: int
    n_scored: int
    n_front: int


@dataclass(frozen=True, eq=False)
class FoundNetwork:
    """A result of a search.

    Attributes:
        rank: 0 has the best score.
        found: The network as the search met it, with score and costs.
        graph: The network with all sizes inferred anew from the input's, ready to be built.
    """

    rank: int
    found: Individual
    graph: ComputeGraph

    def module(self, seed: int = 0) -> "TorchNetwork":
        """The PyTorch network (NCHW) with seeded fresh weights."""
        from model_src.comp_graph.exporters.files import network_of

        return network_of(self.graph, seed)


@dataclass
class SearchResult:
    """What a search found.

    Attributes:
        source: The input, as iteration 0.
        goal: The limits that children were held against.
        front: The Pareto set without the input, best score first.
        visited: (score, cost, iteration) of the input and of every accepted network, repeats included.
        n_distinct: Distinct networks among them.
        n_scored: Networks scored.
        propagation: Counts and times of the resolution propagation.
        seconds: Wall time.
        interrupted: It ended early.
    """

    source: Individual
    goal: Goal
    front: list[Individual] = field(default_factory=list)
    visited: list[tuple[float, float, int]] = field(default_factory=list)
    n_distinct: int = 1
    n_scored: int = 0
    propagation: Statistics = field(default_factory=Statistics)
    seconds: float = 0.0
    interrupted: bool = False

    @cached_property
    def networks(self) -> list[FoundNetwork]:
        """The results, best score first; one whose sizes cannot be inferred anew stays as it was found."""
        ranked = []
        for rank, found in enumerate(self.front):
            try:
                graph = correct_cg_for_downstream(found.graph, *found.graph.input_shape[1:])
            except ValueError as error:
                logger.warning("rank %d: kept uncorrected: %s", rank, error)
                graph = found.graph
            ranked.append(FoundNetwork(rank, found, graph))
        return ranked


def with_run_normalisers(cg: ComputeGraph) -> ComputeGraph:
    """Put a network under the feature normalisers that the predictors are trained with, where it fits in them.

    A larger network keeps its own, or gets those of its own sizes where it has none.
    """
    derived = derived_normalisers(cg)
    if all(derived[key] <= DOMAIN_NORMALISERS[key] for key in derived):
        return cg.with_normalisers(DOMAIN_NORMALISERS)
    return cg.with_normalisers({key: value or derived[key] for key, value in cg.normalisers.items()})


def search(
    graph: ComputeGraph,
    config: SearchConfig,
    strategy: Strategy | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    workers: Workers | None = None,
) -> SearchResult:
    """Search for networks that are better and cheaper than `graph`.

    A keyboard interrupt, or a network whose mutation kills every process, ends the search and returns what was found
    so far.

    Args:
        graph: The input network.
        config: How long, how widely and with what to search.
        strategy: Whom to mutate and what to keep; None is the published one.
        on_progress: Called after every mutated network.
        workers: Where mutations run; None makes those of the configuration.

    Raises:
        InputError: A file cannot be used, a name is unknown, or no segment of the input may be replaced.
    """
    if workers is None:
        with Workers(MutatorFiles(config), config.n_jobs, config.patience) as own:
            return search(graph, config, strategy, on_progress, own)
    started = time.perf_counter()
    run = _Run(with_run_normalisers(graph), config, strategy or ParetoStrategy(config.top_k), workers, on_progress)
    try:
        for iteration in range(1, config.epoch + 1):
            if not run.iterate(iteration):
                break
    except KeyboardInterrupt:
        run.result.interrupted = True
    except TaskError as error:
        logger.error("%s", error)
        run.result.interrupted = True
    return run.finish(time.perf_counter() - started)


class _Run:
    """A search under way: what is known, the counts, the strategy's turns."""

    def __init__(
        self,
        cg: ComputeGraph,
        config: SearchConfig,
        strategy: Strategy,
        workers: Workers,
        on_progress: Callable[[Progress], None],
    ):
        self._config, self._strategy, self._workers, self._on_progress = config, strategy, workers, on_progress
        limits = config.limits()
        values = [objective.measure(cg) for objective, _, _ in limits]
        for (objective, _, _), value in zip(limits, values, strict=True):
            if not value:
                raise InputError(f"{cg.name}: the network has no {objective.title}, nothing can be made smaller")
        windows = [Window(objective, value, *rest) for (objective, *rest), value in zip(limits, values, strict=True)]
        goal = Goal(workers.baseline(cg, (config.seed, 0)), tuple(windows))
        source = Individual(lambda: cg, canonical_hash(cg), goal.score, *self._costs(goal, values), 0)
        for window in goal.windows:
            logger.info("%s", window)
        self.result = SearchResult(source, goal, visited=[(source.score, source.cost, 0)])
        self._known = {source.identity}
        strategy.start(source)

    def iterate(self, iteration: int) -> bool:
        """Mutate the parents and take in their children; False ends the search (the budget is spent)."""
        config, strategy, result = self._config, self._strategy, self.result
        parents = strategy.choose_parents(iteration, random_stream(config.seed, iteration))
        mutations = strategy.propose(self._workers, parents, result.goal, (config.seed, iteration))
        for number, (parent, mutation) in enumerate(zip(parents, mutations, strict=True), start=1):
            result.n_scored += mutation.n_scored
            result.propagation += mutation.propagation
            strategy.take_in(self._new(parent, mutation, iteration))
            self._on_progress(Progress(iteration, number, len(parents), result.n_scored, len(strategy.front)))
            if config.max_visited_architecture is not None and result.n_scored >= config.max_visited_architecture:
                return False
        return True

    def finish(self, seconds: float) -> SearchResult:
        """The result."""
        self.result.front = [one for one in self._strategy.front if one is not self.result.source]
        self.result.n_distinct = len(self._known)
        self.result.seconds = seconds
        return self.result

    def _new(self, parent: Individual, mutation: Mutation, iteration: int) -> list[Individual]:
        """The accepted children that were not met before."""
        found = []
        for child in mutation.accepted:
            costs, mflops = self._costs(self.result.goal, child.costs)
            self.result.visited.append((child.score, costs[0], iteration))
            if child.identity in self._known:
                continue
            self._known.add(child.identity)
            build = partial(child.swap.apply, parent.graph, f"{iteration}.{len(self._known)}.")
            found.append(Individual(build, child.identity, child.score, costs, mflops, iteration))
        return found

    @staticmethod
    def _costs(goal: Goal, measured: Sequence[float]) -> tuple[tuple[float, ...], float]:
        """The costs that form the front, and MFLOPs."""
        return tuple(measured[: goal.n_objectives]), measured[goal.flops]
