"""Many trainings, several at a time on one device."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
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
        InputError: A process was killed, as happens where the memory does not hold so many; or the images are damaged.
    """
    with tqdm(total=len(jobs), unit="training", desc="trainings", disable=not jobs) as bar:
        if n_jobs == 1:
            outcomes = ((job, _train(job, config, data_dir, how, progress=True)) for job in jobs)
        else:
            outcomes = _at_once(jobs, config, data_dir, how, n_jobs)
        for outcome in outcomes:
            bar.update()
            yield outcome


def _at_once(
    jobs: Sequence[Job], config: TrainConfig, data_dir: str | Path, how: Execution, n_jobs: int
) -> Iterator[tuple[Job, RunResult | str]]:
    # Fresh processes, not forks: a fork of a process that has used a GPU or PyTorch's threads can hang.
    pool = ProcessPoolExecutor(n_jobs, get_context("spawn"), _prepare, (n_jobs,))
    try:
        futures = {pool.submit(_train, job, config, data_dir, how): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"-n_jobs {n_jobs}: a process was killed, perhaps for its memory; finished trainings are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(n_jobs: int) -> None:
    """Share the CPU, and end with the process that started this one, even if it is killed."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // n_jobs))
    parent = parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@lru_cache(maxsize=1)
def _images(data_dir: str | Path) -> Cifar10:
    """The images, read once per process."""
    return load_cifar10(data_dir)


def _train(
    job: Job, config: TrainConfig, data_dir: str | Path, how: Execution, progress: bool = False
) -> RunResult | str:
    from model_src.training.loop import try_to_train

    title = f"{job.graph.name}, seed {job.seed}"
    return try_to_train(job.graph, config, job.seed, _images(data_dir), how, progress, title)
