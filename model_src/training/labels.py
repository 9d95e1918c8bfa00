"""Accuracies of networks by training them: our own labels."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from model_src.comp_graph.inheritance import Inheritance
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.labels.measured import Budget, MeasuredTable
from model_src.labels.table import DECIMALS, TRAIN, LabelRow, mean_accuracies
from model_src.places import sweep
from model_src.processes import LOCAL, Backend
from model_src.search_space.sampling import Drawn, config_hash
from model_src.training.cifar10_download import fetch_cifar10
from model_src.training.cost import patience, say_cost
from model_src.training.image_data import ImageSource
from model_src.training.loop import check_execution
from model_src.training.pool import Job, train_jobs
from model_src.training.recipe import AUTOMATIC, Execution, Recipe, RunResult

logger = logging.getLogger(__name__)


class Subject(NamedTuple):
    """A network to measure.

    Attributes:
        graph: Its graph.
        config_hash: The hash of what it was built from.
        graph_hash: The canonical hash of the graph.
        inherited: Weights that it begins with; None for fresh ones.
    """

    graph: ComputeGraph
    config_hash: str
    graph_hash: str
    inherited: Inheritance | None = None


@dataclass(frozen=True)
class Measurement:
    """How networks are measured.

    Attributes:
        recipe: Of every training.
        n_runs: Trainings of each network, with seeds 0, 1, ...
        n_jobs: Trainings at a time; on a CPU each uses one thread, so that results do not depend on this.
        images: Reads the images.
        how: Where and how to compute.
        backend: Where the processes are.
    """

    recipe: Recipe
    n_runs: int = 1
    n_jobs: int = 1
    images: ImageSource = fetch_cifar10
    how: Execution = AUTOMATIC
    backend: Backend = LOCAL


def measure(subjects: Sequence[Subject], measurement: Measurement, path: str | Path) -> dict[str, float]:
    """Train networks, see `trained_rows`.

    Returns:
        Canonical hash -> mean accuracy (fraction) of the networks that could be trained, now or in an earlier call.

    Raises:
        InputError: See `trained_rows`.
    """
    return mean_accuracies((row.graph_hash, row.accuracy) for row in trained_rows(subjects, measurement, path))


def trained_rows(subjects: Sequence[Subject], measurement: Measurement, path: str | Path) -> Iterator[LabelRow]:
    """Train networks; a row per training is in the table when it ends, and what is there already is not repeated.

    A training that is interrupted goes on after its last whole epoch.

    Yields:
        The rows of the table, those of earlier calls first, then each when its training ends.

    Raises:
        InputError: There are no images, no such device, or `path` is a table of something else.
    """
    recipe, how = measurement.recipe, measurement.how
    check_execution(recipe, how)
    data = measurement.images()
    n_images = len(data.split(recipe.train_images, recipe.held_out).train_images)
    budget = Budget(recipe.epochs, n_images, recipe.batch_size, recipe.name)
    table, states = MeasuredTable(path, budget), Path(path).with_suffix(".states")
    sweep(states)
    left = {
        Job(subject.graph, seed, states / f"{subject.graph_hash}_{seed}.safetensors", subject.inherited): subject
        for seed, subject in product(range(measurement.n_runs), subjects)
        if not table.has(subject.graph_hash, seed)
    }
    yield from list(table.rows)
    say_cost([job.graph for job in left], recipe, data, how, measurement.n_jobs)
    limit = patience([job.graph for job in left], recipe, data)
    outcomes = train_jobs(list(left), recipe, measurement.images, how, measurement.n_jobs, limit, measurement.backend)
    for job, outcome in outcomes:
        table.append(_row(left[job], job.seed, budget, outcome))
        if job.state:
            job.state.unlink(missing_ok=True)
        yield table.rows[-1]


def measured(drawn: Iterable[Drawn], measurement: Measurement, path: str | Path) -> Iterator[Drawn]:
    """Networks with their mean accuracies after training, see `measure`; those that cannot be trained are left out.

    Raises:
        InputError: None of them could be trained.
    """
    networks = list(drawn)
    subjects = [Subject(network.graph, config_hash(network.config), network.graph_hash) for network in networks]
    accuracies = measure(subjects, measurement, path)
    trained = [network for network in networks if network.graph_hash in accuracies]
    if not trained:
        raise InputError(f"{path}: none of the networks could be trained; it says why")
    for network in trained:
        yield network._replace(accuracy=accuracies[network.graph_hash])


def _row(subject: Subject, seed: int, budget: Budget, outcome: RunResult | str) -> LabelRow:
    """What a table says of a training; `outcome` is a text where it failed."""
    known = LabelRow(subject.config_hash, subject.graph_hash, source=TRAIN, seed=seed, **budget._asdict())
    if isinstance(outcome, str):
        logger.warning("%s, seed %d: %s", subject.graph.name, seed, outcome)
        return known._replace(failure=outcome)
    return known._replace(
        accuracy=round(outcome.last_accuracy, DECIMALS),
        loss=round(outcome.last_loss, DECIMALS),
        held_out=None if outcome.held_out_accuracy is None else round(outcome.held_out_accuracy, DECIMALS),
        seconds=round(outcome.seconds, 1),
        device=outcome.device,
    )
