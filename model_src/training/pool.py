"""Trainings, each in a process of its own; several at a time on one device, or on Ray."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from platform import node
from threading import RLock
from typing import Any, NamedTuple

from tqdm import tqdm

from model_src.comp_graph.inheritance import Inheritance
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.processes import LOCAL, Backend, Outcome, Task, TaskError, TaskPool
from model_src.runtime import device_names
from model_src.training.cost import patience
from model_src.training.image_data import ImageData, ImageSource
from model_src.training.recipe import Execution, Recipe, RunResult


class Job(NamedTuple):
    """A training to do.

    Attributes:
        graph: The network.
        seed: Of weights, order and augmentation.
        state: Where it is kept after every epoch and found again; None for nowhere.
        inherited: Weights that it begins with; None for fresh ones.
    """

    graph: ComputeGraph
    seed: int
    state: Path | None = None
    inherited: Inheritance | None = None


def train_jobs(
    jobs: Sequence[Job],
    config: Recipe,
    images: ImageSource,
    how: Execution,
    n_jobs: int = 1,
    limit: float | None = None,
    backend: Backend = LOCAL,
) -> Iterator[tuple[Job, RunResult | str]]:
    """Do trainings, with a progress bar; yields each as soon as it ends, with its result or why it failed.

    On a CPU each uses one thread: with another number sums are rounded otherwise, and a result must not depend on
    `n_jobs`.

    Args:
        jobs: The trainings.
        config: The recipe of all.
        images: Reads the images.
        how: Where and how to compute; without a device, on all GPUs in turn.
        n_jobs: Trainings at a time, at least one on each device.
        limit: Seconds after which one hangs and is done again; None for never.
        backend: Where they are done. On Ray each gets its share of a GPU, if there are any.

    Raises:
        InputError: The images are damaged, or a node of Ray does not see the folder of the states.
    """
    devices = [how.device and how.device.partition(":")[0]] if backend.is_ray else device_names(how.device)
    n_jobs = max(n_jobs, len(devices))
    shows = n_jobs == 1 and not backend.is_ray
    tasks = [
        _task(
            _train_on_one_thread, f"{job.graph.name}, seed {job.seed}", job, config, replace(how, device=device), shows
        )
        for job, device in zip(map(_with_folder, jobs), cycle(devices), strict=False)
    ]
    with (
        tqdm(total=len(jobs), unit="training", desc="trainings", disable=not jobs) as bar,
        TaskPool(images, n_jobs, False, backend, how.device) as pool,
    ):
        for outcome in pool.as_finished(tasks, limit):
            bar.update()
            yield jobs[outcome.position], _result(outcome)


def train_apart(
    title: str, job: Job, config: Recipe, images: ImageData, how: Execution, progress: bool
) -> RunResult | str:
    """Do one training; its result or why it failed.

    Args:
        title: Its name in messages.
        job: The training.
        config: The recipe.
        images: The images.
        how: Where and how to compute.
        progress: Show a bar.

    Raises:
        InputError: There is no such device or framework, which other trainings would meet, too.
    """
    with TaskPool(partial(given, images), 1, reuse=False) as pool:
        task = _task(_train, title, job, config, how, progress)
        (outcome,) = pool.as_finished([task], patience([job.graph], config, images))
    return _result(outcome)


def _result(outcome: Outcome) -> RunResult | str:
    error = outcome.error
    return error.reason if isinstance(error, TaskError) else outcome.result()


def _with_folder(job: Job) -> Job:
    """A training whose state has a folder, which a process with another working folder finds."""
    if job.state:
        job.state.parent.mkdir(parents=True, exist_ok=True)
    return job._replace(state=job.state and job.state.resolve())


def given(images: ImageData) -> ImageData:
    """Images that are there already; with `partial` it makes an `ImageSource` of them."""
    return images


def _task(function: Callable[..., RunResult | str], title: str, job: Job, *how: Any) -> Task:
    """A training, for processes that have the images."""
    return Task(title, function, (job, title, *how))


def _train_on_one_thread(images: ImageData, job: Job, *how: Any) -> RunResult | str:
    """A training in a process of its own."""
    import torch

    if job.state and not job.state.parent.is_dir():
        raise InputError(f"{job.state.parent}: not on {node()}; trainings need a folder that all nodes of Ray share")
    torch.set_num_threads(1)
    return _train(images, job, *how)


def _train(images: ImageData, job: Job, title: str, config: Recipe, how: Execution, progress: bool) -> RunResult | str:
    from model_src.training.loop import try_to_train

    tqdm.set_lock(RLock())  # its own one has semaphores, which are left over where a process is killed
    return try_to_train(job.graph, config, job.seed, images, how, progress, title, job.state, job.inherited)
