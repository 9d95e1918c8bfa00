"""What trainings will cost, said before they start."""

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np

from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.runtime import choose_device, one_thread
from model_src.training.image_data import ImageData
from model_src.training.loop import TrainingLoop, make_learner
from model_src.training.recipe import AUTOMATIC, Execution, Recipe

logger = logging.getLogger(__name__)

IMAGES_TIMED = 32
SLOWEST = 100.0  # MFLOPs per second; a core does some 10,000
PASSES = 3  # training on an image costs three times a test of it: forward, and backward to maps and to weights


def say_cost(
    trainings: Sequence[ComputeGraph], config: Recipe, data: ImageData, how: Execution, n_jobs: int | None = None
) -> None:
    """Log how long trainings on a CPU will take: their FLOPs, at the speed of the first network that can be built.

    Args:
        trainings: The network of each training; networks may repeat.
        config: The recipe.
        data: The images.
        how: Where and how to compute.
        n_jobs: Trainings at a time, of one thread each; None: one after the other, with all threads.
    """
    if choose_device(how.device).type != "cpu":
        return
    op2i = OP2I().build_from_file()
    mflops = [compute_cg_flops(cg, op2i, allow_zero=True) for cg in trainings]
    for cg, own in zip(trainings, mflops, strict=True):
        try:
            with one_thread() if n_jobs else nullcontext():
                speed = images_per_second(cg, config, data, how)
        except (ValueError, RuntimeError, MemoryError):
            continue  # its training will say why
        at_once = min(n_jobs or 1, len(trainings))
        seconds = sum(mflops) / max(own, 1e-6) * images_per_training(config, data) / speed / at_once
        logger.info(
            "%d trainings on the CPU will take about %s (measured: %.0f images/s with %s of %.1f MFLOPs)",
            len(trainings), duration(seconds), speed, cg.name, own,
        )  # fmt: skip
        return


def images_per_training(config: Recipe, data: ImageData) -> float:
    """Images that a training goes through, tested ones counted by their cost."""
    n_tests, n_learnt = (
        -(-config.epochs // config.epochs_per_test),
        len(data.split(config.train_images, config.held_out).train_images),
    )
    return config.epochs * n_learnt + n_tests * len(data.test_images) / PASSES


def patience(trainings: Sequence[ComputeGraph], config: Recipe, data: ImageData) -> float:
    """Seconds after which the longest of these trainings hangs: an hour, and its work at a very slow core's speed."""
    op2i = OP2I().build_from_file()
    mflops = max((compute_cg_flops(cg, op2i, allow_zero=True) for cg in trainings), default=0.0)
    n_images = config.epochs * (len(data.train_images) + len(data.test_images))  # at most
    return 3600.0 + PASSES * mflops * n_images / SLOWEST


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    hours = round(seconds / 3600)
    return f"{hours} h" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def images_per_second(cg: ComputeGraph, config: Recipe, data: ImageData, how: Execution = AUTOMATIC) -> float:
    """Measure how fast a network learns from small batches; the first, slow one is not counted.

    Raises:
        ValueError: The network cannot be built or does not fit the data.
    """
    learner = make_learner(cg, config, 0, data, how)
    count = min(IMAGES_TIMED, learner.n_train)
    learner.start_epoch(*config.plan(learner.n_train, np.random.default_rng(0)))
    loop = TrainingLoop(learner, config, 0, cg.name)
    float(loop.step(0, count)[0])
    started = time.perf_counter()
    float(loop.step(0, count)[0])
    return count / (time.perf_counter() - started)
