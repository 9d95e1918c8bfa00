"""A search from Python: a network and a configuration in, better and cheaper networks out. No files, no prints."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import derived_normalisers
from model_src.comp_graph.weights import NodeWeights
from model_src.files import InputError
from model_src.processes import TaskError
from model_src.runtime import random_stream
from model_src.search.children import Mutation, Rating, Screened
from model_src.search.config import MutatorFiles, SearchConfig, parse_drop
from model_src.search.feedback import ByCorrection, Feedback, Measure, MeasuredNetwork, ToMeasure, ranked_anew
from model_src.search.objectives import Goal, Window
from model_src.search.pareto import Individual, Origin
from model_src.search.rescoring import ByScore, Rescoring, merit_of
from model_src.search.result import SearchResult
from model_src.search.strategy import ParetoStrategy, Strategy
from model_src.search.workers import Workers

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a search stands: one network was mutated."""

    iteration: int
    parent: int
    n_parents: int
    n_scored: int
    n_front: int


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
    measure: Measure | None = None,
    known: Sequence[MeasuredNetwork] = (),
    weights: NodeWeights | None = None,
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
        measure: Measures results after every round, see `SearchConfig.measure`; None for no measuring.
        known: Networks whose accuracies are known before, the input among them.
        weights: Of the input, by node id (see `WeightedGraph`); results inherit them.

    Raises:
        InputError: A file cannot be used, a name is unknown, or no segment of the input may be replaced.
    """
    if workers is None:
        with Workers(MutatorFiles(config), config.n_jobs, config.patience) as own:
            return search(graph, config, strategy, on_progress, own, measure, known, weights)
    started = time.perf_counter()
    strategy = strategy or ParetoStrategy(config.top_k, config.max_swaps, config.rescore_per_iter)
    run = _Run(with_run_normalisers(graph), config, strategy, workers, on_progress)
    run.result.weights = weights
    try:
        run.learn_from(measure, known)
        for first in range(1, config.rounds * config.epoch + 1, config.epoch):
            goes_on = all(run.iterate(iteration) for iteration in range(first, first + config.epoch))
            run.measure()
            if not goes_on:
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
        self._rescoring: Rescoring | None = None
        if config.rescore_per_iter:
            self._rescoring = Rescoring(config.rescore_per_iter, ByScore(config.caution))
        self._feedback: Feedback | None = None
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
        """How far below the input networks may be, in the unit that they are ranked in."""
        drop, in_points = parse_drop(self._config.max_score_drop)
        ranks_in_points = self._rescoring is not None and isinstance(self._rescoring.ranking, ByCorrection)
        if not drop or in_points == ranks_in_points:
            return drop
        scale = self._scorer.accuracy_scale
        if scale is None:
            raise InputError("-max_score_drop: accuracies of this family are not known; give it without `pt`")
        return 100 * scale[1] * drop if ranks_in_points else drop / 100 / scale[1]

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

    def learn_from(self, measure: Measure | None, known: Sequence[MeasuredNetwork]) -> None:
        """Prepare for measuring, and learn from what is known.

        Raises:
            InputError: Networks are not scored as a whole, or the accuracy of the input is not among those known.
        """
        if not ((measure and self._config.measure) or known):
            return
        if self._rescoring is None:
            raise InputError(
                "-rescore_per_iter 0: measured networks cannot be learnt from without scores of whole ones"
            )
        self._rescoring.embed = True

        def rate(graphs: Sequence[ComputeGraph]) -> list[Rating]:
            return self._workers.rate([with_run_normalisers(cg) for cg in graphs], embed=True)

        (rating,) = rate([self.result.source.graph])
        self.result.source = replace(self.result.source, rating=rating)
        self._strategy.start(self.result.source)
        self._feedback = Feedback(measure, self._config.measure, known, rate)
        self.result.measured = self._feedback.accuracies
        if known:
            source = self.result.source.identity
            if source not in self._feedback.accuracies:
                raise InputError(f"the input (hash {source}) is not among the measured networks: gains are not known")
            self._learn(self._feedback)

    def measure(self) -> None:
        """Measure some results, and rank all networks anew by what that teaches."""
        if self._feedback:
            source = self.result.source
            front = [one for one in self._strategy.front if one is not source]
            self._feedback.measure(source, front, self._to_measure)
            self._learn(self._feedback)

    def _to_measure(self, one: Individual) -> ToMeasure:
        built = self.result.built(one, 0, one.identity)
        return ToMeasure(built.graph, built.inherited)

    def _learn(self, feedback: Feedback) -> None:
        result, config = self.result, self._config
        assert self._rescoring is not None
        result.lesson = lesson = feedback.learn(result.source, result.history)
        correction = lesson.correction
        ranking = ByCorrection(correction, config.caution) if correction else ByScore(config.caution)
        self._rescoring.ranking = ranking
        result.source, *result.history = ranked_anew([result.source, *result.history], ranking)
        result.goal = replace(result.goal, threshold=result.source.merit - self._drop())
        accepted = [one for one in result.history if one.merit > result.goal.least]
        result.visited = [(one.merit, one.cost, one.iteration) for one in (result.source, *accepted)]
        result.n_distinct = 1 + len(accepted)
        self._strategy.start(result.source)
        self._strategy.take_in(accepted)

    def finish(self, seconds: float) -> SearchResult:
        """The result."""
        measured = self.result.measured
        known = [one for one in self.result.history if one.identity in measured]
        known.sort(key=lambda one: -measured[one.identity])
        rest = [one for one in self._strategy.front if one is not self.result.source and one.identity not in measured]
        self.result.front = known + rest
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
