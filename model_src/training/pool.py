"""Many trainings, several at a time on one device."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.processes import Task, TaskError, TaskPool
from model_src.training.cifar10_data import Cifar10, load_cifar10
from model_src.training.recipe import Execution, RunResult, TrainConfig


class Job(NamedTuple):
    """A training to do: a network and the seed of weights, order and augmentation."""

    graph: ComputeGraph
    seed: int


def train_jobs(
    jobs: Sequence[Job], config: TrainConfig, data_dir: str | Path, how: Execution, n_jobs: int = 1
) -> Iterator[tuple[Job, RunResult | str]]:
    """Do trainings, with a progress bar; yields each as soon as it ends, with its result or why it failed.

    Args:
        jobs: The trainings.
        config: The recipe of all.
        data_dir: Folder of the images.
        how: Where and how to compute.
        n_jobs: Trainings at a time, each in a process of its own unless it is one.

    Raises:
        InputError: The images are damaged.
    """
    tasks = [Task(_title(job), _train, (job, config, how, n_jobs == 1)) for job in jobs]
    with (
        tqdm(total=len(jobs), unit="training", desc="trainings", disable=not jobs) as bar,
        TaskPool(_Images(data_dir, n_jobs), n_jobs, reuse=False) as pool,
    ):
        for outcome in pool.as_finished(tasks):
            bar.update()
            error = outcome.error
            yield jobs[outcome.position], error.reason if isinstance(error, TaskError) else outcome.result()


@dataclass(frozen=True)
class _Images:
    """Reads the images, in whichever process it is called, and lets that use its share of the processor."""

    data_dir: str | Path
    n_jobs: int

    def __call__(self) -> Cifar10:
        if self.n_jobs > 1:
            import torch

            torch.set_num_threads(max(1, (os.cpu_count() or 1) // self.n_jobs))
        return load_cifar10(self.data_dir)


def _train(images: Cifar10, job: Job, config: TrainConfig, how: Execution, progress: bool) -> RunResult | str:
    from model_src.training.loop import try_to_train

    return try_to_train(job.graph, config, job.seed, images, how, progress, _title(job))


def _title(job: Job) -> str:
    return f"{job.graph.name}, seed {job.seed}"
