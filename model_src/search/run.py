"""A search under way: what is known, the counts, the strategy's turns."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import derived_normalisers
from model_src.files import InputError
from model_src.predictor.settings import warn_of_large_kernels
from model_src.profiling.meter import Meter
from model_src.runtime import random_stream
from model_src.search.children import Mutation, Rating, Screened
from model_src.search.config import SearchConfig, parse_drop
from model_src.search.costing import Costing
from model_src.search.feedback import ByCorrection, Feedback, Measure, MeasuredNetwork, ToMeasure, ranked_anew
from model_src.search.journal import Brought, Journal, Turn
from model_src.search.objectives import Goal, Window
from model_src.search.pareto import Individual, Origin
from model_src.search.rescoring import ByScore, Rescoring, merit_of
from model_src.search.result import SearchResult
from model_src.search.strategy import Strategy
from model_src.search.workers import Workers

logger = logging.getLogger(__name__)


class OutOfTimeError(Exception):
    """The time that a search may take is over."""


@dataclass(frozen=True)
class Progress:
    """Where a search stands: a network was mutated, or an iteration is over.

    Attributes:
        iteration: From 1.
        parent: Networks that were mutated in it.
        n_parents: Those to be mutated.
        n_scored: Networks scored so far.
        n_rescored: Those of them that were scored as a whole.
        front: The Pareto set so far; the input is among it while nothing is better.
        is_over: Whether the iteration is over.
        so_far: Gives what was found so far, as if the search had ended.
    """

    iteration: int
    parent: int
    n_parents: int
    n_scored: int
    n_rescored: int
    front: Sequence[Individual]
    is_over: bool
    so_far: Callable[[], SearchResult]


def with_run_normalisers(cg: ComputeGraph) -> ComputeGraph:
    """Put a network under the feature normalisers that the predictors are trained with, where it fits in them.

    A larger network keeps its own, or gets those of its own sizes where it has none.
    """
    derived = derived_normalisers(cg)
    if all(derived[key] <= DOMAIN_NORMALISERS[key] for key in derived):
        return cg.with_normalisers(DOMAIN_NORMALISERS)
    return cg.with_normalisers({key: value or derived[key] for key, value in cg.normalisers.items()})


class SearchRun:
    """A search under way: what is known, the counts, the strategy's turns."""

    def __init__(
        self,
        cg: ComputeGraph,
        config: SearchConfig,
        strategy: Strategy,
        workers: Workers,
        on_progress: Callable[[Progress], None],
        meters: Mapping[str, Meter],
    ):
        self._started = time.perf_counter()
        self._config, self._strategy, self._workers, self._on_progress = config, strategy, workers, on_progress
        self._rescoring: Rescoring | None = None
        if config.rescore_per_iter:
            self._rescoring = Rescoring(config.rescore_per_iter, ByScore(config.caution))
        self._feedback: Feedback | None = None
        self._costing = Costing(config, meters)
        windows = self._costing.windows(cg)
        warn_of_large_kernels(cg.name, cg.weighted_nodes)
        prescreen = workers.baseline(cg, (config.seed, 0))
        self._scorer = workers.scorer()
        if self._rescoring is None and config.predictor_type == "GNN":
            self._scorer = replace(self._scorer, accuracy_scale=(0.0, 1.0))  # a GNN's own predictions are accuracies
        self.result = SearchResult(*self._input(cg, windows, prescreen), scorer=self._scorer)
        source = self.result.source
        self.result.visited.append((source.merit, *source.costs, 0))
        reached = workers.reach(cg, self.result.goal, (config.seed, 0, 1))
        for window, one in zip(windows, reached, strict=True):
            logger.info("%s%s", window, f"; {one.told(window)}" if one else "")
        self._known = {source.identity}
        strategy.start(source)

    def _input(self, cg: ComputeGraph, windows: tuple[Window, ...], prescreen: float) -> tuple[Individual, Goal]:
        """The input as an individual, and the goal that it sets."""
        rating = self._workers.rate([cg])[0] if self._rescoring else None
        score, merit = (rating.score, merit_of(rating, self._config.caution)) if rating else (prescreen, prescreen)
        goal = Goal(score, windows, len(self._config.objectives), merit - self._drop())
        identity, flops = canonical_hash(cg), windows[goal.flops].source
        front_costs = tuple(window.source for window in windows[: goal.n_objectives])
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

    def iterate(self, iteration: int, known: Turn | None, journal: Journal | None) -> bool:
        """Do an iteration, or take it as it is known; False ends the search (the budget is spent)."""
        parents = self._strategy.choose_parents(iteration, random_stream(self._config.seed, iteration))
        if known and not self._is_cut_short(known, len(parents)):
            for brought in known.mutations:
                self._take(brought, iteration)
            self._take_rescored(known.rescored, iteration)
            self.result.seconds = known.seconds
        else:
            turn = self._mutated(parents, iteration)
            if journal:
                journal.append(turn)
            self._tell(iteration, len(turn.mutations), len(parents), is_over=True)
        return self._may_score(self.result.n_scored)

    def _may_score(self, n_scored: int) -> bool:
        """Whether after so many scored networks more may be scored."""
        most = self._config.max_visited_architecture
        return most is None or n_scored < most

    def _is_cut_short(self, known: Turn, n_parents: int) -> bool:
        """Whether a smaller budget than the present one ended an iteration before its last parent."""
        n_scored = self.result.n_scored + sum(brought.n_scored for brought in known.mutations)
        return len(known.mutations) < n_parents and self._may_score(n_scored)

    def _mutated(self, parents: Sequence[Individual], iteration: int) -> Turn:
        """Mutate the parents and take in their children.

        Raises:
            OutOfTimeError: It takes too long.
        """
        config, strategy, result = self._config, self._strategy, self.result
        turn = Turn(iteration)
        mutations = strategy.propose(self._workers, parents, result.goal, (config.seed, iteration))
        screened: list[tuple[Individual, Screened]] = []
        for number, (parent, mutation) in enumerate(zip(parents, mutations, strict=True), start=1):
            screened += [(parent, one) for one in mutation.screened]
            turn.mutations.append(self._brought(parent, mutation, iteration))
            self._take(turn.mutations[-1], iteration)
            self._tell(iteration, number, len(parents))
            if not self._may_score(result.n_scored):
                break
            if config.max_minutes is not None and self._seconds() >= 60 * config.max_minutes:
                raise OutOfTimeError
        if self._rescoring:
            started = time.perf_counter()
            rescored = self._rescoring.run(screened, result.goal, iteration, self._known, self._workers)
            turn.rescored = self._costing.measured(rescored, result.goal)
            turn.rescoring_seconds = time.perf_counter() - started
            self._take_rescored(turn.rescored, iteration)
        turn.seconds = self._seconds()
        return turn

    def _tell(self, iteration: int, parent: int, n_parents: int, is_over: bool = False) -> None:
        result, front = self.result, tuple(self._strategy.front)
        counts = result.n_scored, len(result.history)
        self._on_progress(Progress(iteration, parent, n_parents, *counts, front, is_over, self.so_far))

    def _take(self, brought: Brought, iteration: int) -> None:
        """Take in what mutating one network brought."""
        result = self.result
        result.n_scored += brought.n_scored
        result.n_outside += brought.n_outside
        result.propagation += brought.propagation
        result.visited += [(*found, iteration) for found in brought.visited]
        result.n_distinct += len(brought.children)
        self._known.update(child.identity for child in brought.children)
        self._strategy.take_in(brought.children)

    def _take_rescored(self, rescored: Sequence[Individual], iteration: int) -> None:
        """Take in the accepted ones of the networks that were scored as a whole."""
        result = self.result
        self._known.update(one.identity for one in rescored)
        result.history += rescored
        accepted = [one for one in rescored if result.goal.keeps(one.merit, one.costs)]
        result.visited += [(one.merit, *one.costs, iteration) for one in accepted]
        result.n_distinct += len(accepted)
        if self._rescoring:
            self._strategy.take_in(accepted)

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
        result.source, *ranked = ranked_anew([result.source, *result.history], ranking)
        result.goal = replace(result.goal, threshold=result.source.merit - self._drop())
        result.history = self._costing.measured(ranked, result.goal)
        accepted = [one for one in result.history if result.goal.keeps(one.merit, one.costs)]
        result.visited = [(one.merit, *one.costs, one.iteration) for one in (result.source, *accepted)]
        result.n_distinct = 1 + len(accepted)
        self._strategy.start(result.source)
        self._strategy.take_in(accepted)

    def measure_front(self) -> None:
        """Measure the costs of the front where they are estimates, and leave there what they leave."""
        if self._rescoring is None and self.result.goal.estimates:
            found = [one for one in self._strategy.front if one is not self.result.source]
            kept = self._costing.kept(found, self.result.goal)
            self._strategy.start(self.result.source)
            self._strategy.take_in(kept)

    def _seconds(self) -> float:
        """Wall time so far, that of earlier runs included."""
        return self.result.seconds + time.perf_counter() - self._started

    def so_far(self) -> SearchResult:
        """The result, if the search ended now."""
        measured = self.result.measured
        known = [one for one in self.result.history if one.identity in measured]
        known.sort(key=lambda one: -measured[one.identity])
        rest = [one for one in self._strategy.front if one is not self.result.source and one.identity not in measured]
        return replace(self.result, front=known + rest, seconds=self._seconds())

    def _brought(self, parent: Individual, mutation: Mutation, iteration: int) -> Brought:
        """What mutating one network brought: of its accepted children those that were not met before."""
        goal = self.result.goal
        found: dict[str, Individual] = {}
        for child in mutation.accepted:
            if child.identity in self._known or child.identity in found:
                continue
            score, costs = child.score, child.costs[: goal.n_objectives]
            origin = Origin(parent, child.swap, f"{iteration}.{len(self._known) + len(found) + 1}.")
            build = partial(child.swap.apply, parent.graph, origin.prefix)
            flops = child.costs[goal.flops]
            found[child.identity] = Individual(
                build, child.identity, score, score, costs, flops, iteration, score, origin, None, goal.estimates
            )
        visited = [(child.score, *child.costs[: goal.n_objectives]) for child in mutation.accepted]
        return Brought(mutation.n_scored, mutation.n_outside, mutation.propagation, visited, list(found.values()))
