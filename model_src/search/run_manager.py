"""The Pareto loop: mutate the parents, accept, keep the front, choose the next parents."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, derived_normalisers
from model_src.propagation.milp import Statistics
from model_src.search.mutator import Mutation
from model_src.search.objectives import Objectives
from model_src.search.pareto import Individual, pareto_front, select_parents
from model_src.search.workers import Workers


@dataclass(frozen=True)
class SearchConfig:
    """How long and how widely to search; the attributes are named after autogo.py's flags."""

    epoch: int = 5
    top_k: int = 10
    max_visited_architecture: int | None = None
    min_flops_decrease_percent: float = 0
    max_flops_decrease_percent: float = 20
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """Where a search stands: one network was mutated."""

    iteration: int
    parent: int
    n_parents: int
    n_scored: int
    n_front: int


@dataclass
class SearchResult:
    """What a search found.

    Attributes:
        source: The input, as iteration 0.
        objectives: The limits that children were held against.
        front: The Pareto set without the input, best score first.
        visited: (score, MFLOPs, iteration) of the input and of every accepted network, repeats included.
        n_distinct: Distinct networks among them.
        n_scored: Networks scored.
        propagation: Counts and times of the resolution propagation.
        seconds: Wall time.
        interrupted: The user stopped it early.
    """

    source: Individual
    objectives: Objectives
    front: list[Individual] = field(default_factory=list)
    visited: list[tuple[float, float, int]] = field(default_factory=list)
    n_distinct: int = 1
    n_scored: int = 0
    propagation: Statistics = field(default_factory=Statistics)
    seconds: float = 0.0
    interrupted: bool = False


def with_run_normalisers(cg: ComputeGraph) -> ComputeGraph:
    """Put a network under the feature normalisers that the predictors are trained with, where it fits in them.

    A larger network keeps its own, or gets those of its own sizes where it has none.
    """
    derived = derived_normalisers(cg)
    if all(derived[key] <= DOMAIN_NORMALISERS[key] for key in derived):
        return cg.with_normalisers(DOMAIN_NORMALISERS)
    return cg.with_normalisers({key: value or derived[key] for key, value in cg.normalisers.items()})


def run_search(
    cg: ComputeGraph, config: SearchConfig, workers: Workers, on_progress: Callable[[Progress], None] = lambda _: None
) -> SearchResult:
    """Search for networks that are better and cheaper than `cg`.

    A keyboard interrupt ends the search and returns what was found so far.

    Args:
        cg: The input network.
        config: How long and how widely to search.
        workers: Where mutations run.
        on_progress: Called after every mutated network.

    Raises:
        InputError: No segment of the input may be replaced.
    """
    started = time.perf_counter()
    cg = with_run_normalisers(cg)
    mflops = compute_cg_flops(cg, OP2I().build_from_file())
    score = workers.baseline(cg, (config.seed, 0))
    source = Individual(lambda: cg, canonical_hash(cg), score, mflops, 0)
    objectives = Objectives(score, mflops, config.min_flops_decrease_percent, config.max_flops_decrease_percent)
    state = _State(SearchResult(source, objectives, visited=[(score, mflops, 0)]), config, on_progress)
    try:
        for iteration in range(1, config.epoch + 1):
            if not state.run_iteration(iteration, workers):
                break
    except KeyboardInterrupt:
        state.result.interrupted = True
    result = state.result
    result.front = [one for one in state.front if one is not source]
    result.n_distinct = len(state.known)
    result.seconds = time.perf_counter() - started
    return result


class _State:
    """The running search: the front, what is known, the latest children."""

    def __init__(self, result: SearchResult, config: SearchConfig, on_progress: Callable[[Progress], None]):
        self.result = result
        self.config = config
        self.on_progress = on_progress
        self.front = [result.source]
        self.latest: list[Individual] = []
        self.known = {result.source.identity}

    def run_iteration(self, iteration: int, workers: Workers) -> bool:
        """Mutate the parents and take in their children; False ends the search (the budget is spent)."""
        parents = [self.result.source]
        if iteration > 1:
            rng = np.random.default_rng((self.config.seed, iteration))
            parents = select_parents(self.front, self.latest, self.config.top_k, rng)
        self.latest = []
        mutations = workers.mutate([p.graph for p in parents], self.result.objectives, (self.config.seed, iteration))
        for number, (parent, mutation) in enumerate(zip(parents, mutations, strict=True), start=1):
            self._take(parent, mutation, iteration)
            self.on_progress(Progress(iteration, number, len(parents), self.result.n_scored, len(self.front)))
            budget = self.config.max_visited_architecture
            if budget is not None and self.result.n_scored >= budget:
                return False
        return True

    def _take(self, parent: Individual, mutation: Mutation, iteration: int) -> None:
        self.result.n_scored += mutation.n_scored
        self.result.propagation += mutation.propagation
        for child in mutation.accepted:
            self.result.visited.append((child.score, child.mflops, iteration))
            if child.identity in self.known:
                continue
            self.known.add(child.identity)
            build = partial(child.swap.apply, parent.graph, f"{iteration}.{len(self.known)}.")
            self.latest.append(Individual(build, child.identity, child.score, child.mflops, iteration))
        self.front = pareto_front([*self.front, *self.latest])
