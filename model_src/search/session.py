"""A search from Python: a network and a configuration in, better and cheaper networks out. No files, no prints."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import corrected_with_ids, derived_normalisers
from model_src.files import InputError
from model_src.processes import TaskError
from model_src.propagation.milp import Statistics
from model_src.runtime import random_stream
from model_src.search.children import Mutation, Screened
from model_src.search.config import MutatorFiles, SearchConfig, parse_drop
from model_src.search.objectives import Goal, Window
from model_src.search.pareto import Individual, Origin
from model_src.search.rescoring import Rescoring, merit_of
from model_src.search.strategy import ParetoStrategy, Strategy
from model_src.search.workers import NOBODY, Scorer, Workers

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
        node_ids: Per node of `graph`, the id of the node of `found.graph` that it was made of.
    """

    rank: int
    found: Individual
    graph: ComputeGraph
    node_ids: list[str]

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
        visited: (merit, cost, iteration) of the input and of every accepted network, repeats included.
        n_distinct: Distinct networks among them.
        n_scored: Networks scored.
        propagation: Counts and times of the resolution propagation.
        scorer: Who predicted.
        history: Every network that was scored as a whole, accepted or not, in order.
        seconds: Wall time.
        interrupted: It ended early.
    """

    source: Individual
    goal: Goal
    front: list[Individual] = field(default_factory=list)
    visited: list[tuple[float, float, int]] = field(default_factory=list)
    n_distinct: int = 1
    n_scored: int = 0
    scorer: Scorer = NOBODY
    history: list[Individual] = field(default_factory=list)
    propagation: Statistics = field(default_factory=Statistics)
    seconds: float = 0.0
    interrupted: bool = False

    @cached_property
    def networks(self) -> list[FoundNetwork]:
        """The results, best score first; one whose sizes cannot be inferred anew stays as it was found."""
        ranked = []
        for rank, found in enumerate(self.front):
            try:
                graph, node_ids = corrected_with_ids(found.graph, *found.graph.input_shape[1:])
                graph = graph.with_normalisers(found.graph.normalisers)  # so that it is scored as it was found
            except ValueError as error:
                logger.warning("rank %d: kept uncorrected: %s", rank, error)
                graph, node_ids = found.graph, [node.str_id for node in found.graph.nodes]
            ranked.append(FoundNetwork(rank, found, graph, node_ids))
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
    strategy = strategy or ParetoStrategy(config.top_k, config.max_swaps, config.rescore_per_iter)
    run = _Run(with_run_normalisers(graph), config, strategy, workers, on_progress)
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
        self._rescoring = Rescoring(config.rescore_per_iter, config.caution) if config.rescore_per_iter else None
        limits = config.limits()
        values = [objective.measure(cg) for objective, _, _ in limits]
        for (objective, _, _), value in zip(limits, values, strict=True):
            if not value:
                raise InputError(f"{cg.name}: the network has no {objective.title}, nothing can be made smaller")
        windows = tuple(
            Window(objective, value, *rest) for (objective, *rest), value in zip(limits, values, strict=True)
        )
        prescreen = workers.baseline(cg, (config.seed, 0))
        self._scorer = workers.scorer()
        if self._rescoring is None and config.predictor_type == "GNN":
            self._scorer = replace(self._scorer, accuracy_scale=(0.0, 1.0))  # a GNN's own predictions are accuracies
        self.result = SearchResult(*self._input(cg, windows, values, prescreen), scorer=self._scorer)
        source = self.result.source
        self.result.visited.append((source.merit, source.cost, 0))
        for window in windows:
            logger.info("%s", window)
        self._known = {source.identity}
        strategy.start(source)

    def _input(
        self, cg: ComputeGraph, windows: tuple[Window, ...], costs: Sequence[float], prescreen: float
    ) -> tuple[Individual, Goal]:
        """The input as an individual, and the goal that it sets."""
        rating = self._workers.rate([cg])[0] if self._rescoring else None
        score, merit = (rating.score, merit_of(rating, self._config.caution)) if rating else (prescreen, prescreen)
        goal = Goal(score, windows, threshold=merit - self._drop())
        identity, flops = canonical_hash(cg), costs[goal.flops]
        front_costs = tuple(costs[: goal.n_objectives])
        return Individual(lambda: cg, identity, score, merit, front_costs, flops, 0, prescreen, rating=rating), goal

    def _drop(self) -> float:
        """How far below the input networks may be, in the unit of the score."""
        drop, in_points = parse_drop(self._config.max_score_drop)
        if not drop or not in_points:
            return drop
        scale = self._scorer.accuracy_scale
        if scale is None:
            raise InputError("-max_score_drop: accuracies of this family are not known; give it without `pt`")
        return drop / 100 / scale[1]

    def iterate(self, iteration: int) -> bool:
        """Mutate the parents and take in their children; False ends the search (the budget is spent)."""
        config, strategy, result = self._config, self._strategy, self.result
        parents = strategy.choose_parents(iteration, random_stream(config.seed, iteration))
        mutations = strategy.propose(self._workers, parents, result.goal, (config.seed, iteration))
        screened: list[tuple[Individual, Screened]] = []
        for number, (parent, mutation) in enumerate(zip(parents, mutations, strict=True), start=1):
            result.n_scored += mutation.n_scored
            result.propagation += mutation.propagation
            screened += [(parent, one) for one in mutation.screened]
            strategy.take_in(self._new(parent, mutation, iteration))
            self._on_progress(Progress(iteration, number, len(parents), result.n_scored, len(strategy.front)))
            if config.max_visited_architecture is not None and result.n_scored >= config.max_visited_architecture:
                break
        if self._rescoring:
            strategy.take_in(self._rescored(self._rescoring, screened, iteration))
        return config.max_visited_architecture is None or result.n_scored < config.max_visited_architecture

    def _rescored(
        self, rescoring: Rescoring, screened: Sequence[tuple[Individual, Screened]], iteration: int
    ) -> list[Individual]:
        """The accepted ones of the most promising children."""
        goal = self.result.goal
        rescored = rescoring.run(screened, goal, iteration, self._known, self._workers)
        self.result.history += rescored
        accepted = [one for one in rescored if one.merit > goal.least]
        self.result.visited += [(one.merit, one.cost, iteration) for one in accepted]
        self.result.n_distinct += len(accepted)
        return accepted

    def finish(self, seconds: float) -> SearchResult:
        """The result."""
        self.result.front = [one for one in self._strategy.front if one is not self.result.source]
        self.result.seconds = seconds
        return self.result

    def _new(self, parent: Individual, mutation: Mutation, iteration: int) -> list[Individual]:
        """The accepted children that were not met before."""
        goal, found = self.result.goal, []
        for child in mutation.accepted:
            score, costs = child.score, child.costs[: goal.n_objectives]
            self.result.visited.append((score, costs[0], iteration))
            if child.identity in self._known:
                continue
            self._known.add(child.identity)
            self.result.n_distinct += 1
            origin = Origin(parent, child.swap, f"{iteration}.{len(self._known)}.")
            build = partial(child.swap.apply, parent.graph, origin.prefix)
            flops = child.costs[goal.flops]
            found.append(Individual(build, child.identity, score, score, costs, flops, iteration, score, origin))
        return found
