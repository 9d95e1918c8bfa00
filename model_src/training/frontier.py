"""Training of a search's results, best first, with everything kept after every run; on Ray, side by side."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.inheritance import Inheritance, for_changed
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.processes import LOCAL, Backend
from model_src.training.cost import patience, say_cost
from model_src.training.head import fitted
from model_src.training.image_data import ImageData
from model_src.training.loop import check_execution
from model_src.training.pool import Job, given, train_apart, train_jobs
from model_src.training.recipe import AUTOMATIC, Execution, Recipe, RunResult, TrainConfig
from model_src.training.results import FrontierResult, KeptRuns, TrainedNetwork, TrainingStore

logger = logging.getLogger(__name__)


class FrontierNetwork(NamedTuple):
    """A network to train.

    Attributes:
        rank: 0 is best, None the search's input.
        graph: Its graph.
        iteration: The iteration that found it.
        inherited: Weights that it begins with; None for fresh ones.
    """

    rank: int | None
    graph: ComputeGraph
    iteration: int
    inherited: Inheritance | None = None


@dataclass(frozen=True)
class FrontierConfig:
    """What of the results to train.

    Attributes:
        recipe: How to train.
        n_networks: Networks to train successfully, in rank order; None for all.
        n_runs: Trainings of each, with seeds 0, 1, ...
        train_input: Train the input as well.
        first_iteration: Results of earlier iterations are left out.
        backend: On Ray, all trainings that are sure to be wanted are done side by side, on a CPU in one thread each.
        n_jobs: So many at a time, on Ray.
    """

    recipe: Recipe = field(default_factory=TrainConfig)
    n_networks: int | None = None
    n_runs: int = 3
    train_input: bool = False
    first_iteration: int = 0
    backend: Backend = LOCAL
    n_jobs: int = 1


def train_frontier(
    networks: Sequence[FrontierNetwork],
    source: ComputeGraph,
    config: FrontierConfig,
    data: ImageData,
    store: TrainingStore,
    how: Execution = AUTOMATIC,
    progress: bool = True,
    source_weights: Inheritance | None = None,
) -> FrontierResult:
    """Train a search's results in rank order and keep everything in the store after every run.

    Runs of the same graph and recipe that an earlier call left in the store are not repeated. A network that fails is
    recorded with the reason, and the next one takes its place; so is one whose trainings end their process, which each
    has of its own: a script that calls this needs `if __name__ == "__main__":`.

    Args:
        networks: The results.
        source: The input of the search, corrected as the results are.
        config: What to train and how.
        data: The images.
        store: Where trainings are kept.
        how: Where and how to compute.
        progress: Show a bar per run.
        source_weights: Weights that the input begins with; None for fresh ones.

    Raises:
        InputError: There is no such device or framework, or the store holds something else.
    """
    check_execution(config.recipe, how)
    kept = KeptRuns(store, config.recipe, data.dataset, source_weights is not None)
    first, *networks = [_for_data(one, data) for one in (FrontierNetwork(None, source, 0, source_weights), *networks)]
    result = FrontierResult(_untrained(first))
    queue = _queue(networks, first, config)
    _say_cost(queue, kept, config, data, how)
    trainer = _Trainer(config, kept, data, how, progress)
    for place, network in enumerate(queue):
        if network.rank is not None and _n_successes(result) == config.n_networks:
            break
        trainer.look_ahead(queue[place:], result)
        record = _untrained(network) if network.rank is not None else result.source
        result.trained.append(record)
        for seed in range(config.n_runs):
            run = trainer.run_of(network, record, seed)
            if isinstance(run, str):
                record.failure = run
                logger.warning("%s is not trained: %s", record.title, run)
            else:
                record.runs.append(run)
            kept.save(result, config.n_runs)
            if record.failure:
                break
    kept.save(result, config.n_runs)
    for line in result.summaries:
        logger.info(line)
    return result


class _Trainer:
    """Does trainings when they are asked for, or on Ray before that, many at a time."""

    def __init__(self, config: FrontierConfig, kept: KeptRuns, data: ImageData, how: Execution, progress: bool):
        self._config, self._kept, self._data, self._how, self._progress = config, kept, data, how, progress
        self._failures: dict[tuple[str, int], str] = {}
        self._begun: set[str] = set()

    def run_of(self, network: FrontierNetwork, record: TrainedNetwork, seed: int) -> RunResult | str:
        """A run as it is kept, or as it ends now, or why there is none."""
        found = self._kept.run_of(record.graph_hash, seed) or self._failures.get((record.graph_hash, seed))
        if found:
            return found
        job, config = self._job(network, record.graph_hash, seed), self._config
        return train_apart(record.title, job, config.recipe, self._data, self._how, self._progress)

    def look_ahead(self, queue: Sequence[FrontierNetwork], result: FrontierResult) -> None:
        """On Ray, do all trainings of the first one and of those behind it that are needed if none fails."""
        config, recipe, kept = self._config, self._config.recipe, self._kept
        if not config.backend.is_ray or canonical_hash(queue[0].graph) in self._begun:
            return
        is_input = queue[0].rank is None
        most = None if config.n_networks is None else config.n_networks - _n_successes(result) + is_input
        hashes = {canonical_hash(network.graph): network for network in queue[:most]}
        self._begun |= set(hashes)
        jobs = {
            self._job(network, graph_hash, seed): graph_hash
            for seed in range(config.n_runs)
            for graph_hash, network in hashes.items()
            if not kept.run_of(graph_hash, seed)
        }
        if not jobs:
            return
        images, limit = partial(given, self._data), patience([job.graph for job in jobs], recipe, self._data)
        for job, run in train_jobs(list(jobs), recipe, images, self._how, config.n_jobs, limit, config.backend):
            if isinstance(run, str):
                self._failures[jobs[job], job.seed] = run
            else:
                kept.add(jobs[job], run)
                kept.save(result, config.n_runs)

    def _job(self, network: FrontierNetwork, graph_hash: str, seed: int) -> Job:
        return Job(network.graph, seed, self._kept.state_path(graph_hash, seed), network.inherited)


def _for_data(network: FrontierNetwork, data: ImageData) -> FrontierNetwork:
    """A network as it is trained; where it cannot be, unchanged: its training says why."""
    with suppress(ValueError):
        graph, inherited = fitted(network.graph, data), network.inherited
        return network._replace(graph=graph, inherited=inherited and for_changed(inherited, network.graph, graph))
    return network


def _queue(
    networks: Sequence[FrontierNetwork], source: FrontierNetwork, config: FrontierConfig
) -> list[FrontierNetwork]:
    """The networks that may be trained, the input first."""
    results = sorted(networks, key=lambda network: -1 if network.rank is None else network.rank)
    recent = [network for network in results if network.iteration >= config.first_iteration]
    return [source] * config.train_input + recent


def _say_cost(
    queue: Sequence[FrontierNetwork], kept: KeptRuns, config: FrontierConfig, data: ImageData, how: Execution
) -> None:
    """Say what the runs cost that are left, if no network fails."""
    most = None if config.n_networks is None else config.n_networks + config.train_input
    left = [
        network.graph
        for network in queue[:most]
        for seed in range(config.n_runs)
        if not kept.run_of(canonical_hash(network.graph), seed)
    ]
    if left:
        say_cost(left, config.recipe, data, how, config.n_jobs if config.backend.is_ray else None)


def _n_successes(result: FrontierResult) -> int:
    return sum(one.rank is not None and not one.failure for one in result.trained)


def _untrained(network: FrontierNetwork) -> TrainedNetwork:
    rank, graph, iteration, _ = network
    mflops = compute_cg_flops(graph, OP2I().build_from_file(), allow_zero=True)
    return TrainedNetwork(rank, graph.name, canonical_hash(graph), mflops, graph.n_nodes, iteration)
