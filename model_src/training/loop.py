"""The training loop that the frameworks share: order, learning rate, memory, progress, tests."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.runtime import NO_TENSORFLOW, choose_device
from model_src.training.cifar10_data import Cifar10
from model_src.training.recipe import (
    AUTOMATIC,
    Execution,
    RunResult,
    TrainConfig,
    TrainingError,
    epoch_plan,
    learning_rate,
    reason_of,
)

logger = logging.getLogger(__name__)

STEPS_BETWEEN_REPORTS = 20
IMAGES_TIMED = 32


class Learner(Protocol):
    """A network in training, with its images, on its device.

    The numbers that it returns may be tensors of the framework: adding them does not wait for a GPU, `float` does.
    Where the device's memory is used up, `add_gradients` and `test` raise MemoryError and leave nothing behind.

    Attributes:
        n_train: Number of training images.
        n_test: Number of test images.
        test_batch_size: Test images at once, as is fast on its device.
        device_name: What it runs on.
    """

    n_train: int
    n_test: int
    test_batch_size: int
    device_name: str

    def start_epoch(self, order: np.ndarray, scales: np.ndarray) -> None:
        """Take the plan of an epoch (see `epoch_plan`)."""

    def add_gradients(self, start: int, stop: int, share: float) -> tuple[Any, Any]:
        """Add the gradients of these positions of the plan, as `share` of a batch.

        Returns:
            The sum of their cross-entropies and the number of right answers, both before the step.
        """

    def apply_gradients(self, rate: float) -> None:
        """Do the step of the gradients that were added, at a learning rate, and drop them."""

    def drop_gradients(self) -> None:
        """Forget the gradients that were added."""

    def test(self, start: int, stop: int) -> tuple[Any, Any]:
        """The sum of cross-entropies and the number of right answers of these test images."""


def make_learner(
    cg: ComputeGraph, config: TrainConfig, seed: int, data: Cifar10, how: Execution = AUTOMATIC
) -> Learner:
    """Build a graph's network with fresh weights, ready to be trained in the recipe's framework.

    Args:
        cg: A graph with input (32, 32, 3) and at least ten output channels.
        config: The recipe.
        seed: Seed of the weights, which are the same in every framework.
        data: The images.
        how: Where and how to compute.

    Raises:
        ValueError: The network cannot be built or does not fit the data.
    """
    if tuple(cg.input_shape[1:]) != (32, 32, 3):
        raise ValueError(f"{cg.name}: input {tuple(cg.input_shape[1:])}, but CIFAR-10 images are 32x32x3")
    if config.framework == "TensorFlow":
        from model_src.training.cifar10_tf import KerasLearner

        return KerasLearner(cg, config, seed, data.first(config.train_images), how)
    from model_src.training.cifar10 import TorchLearner

    return TorchLearner(cg, config, seed, data.first(config.train_images), how)


def check_execution(config: TrainConfig, how: Execution) -> None:
    """Check framework and device, before hours of work that need them afterwards.

    Raises:
        InputError: There is no such device, or TensorFlow is not installed.
    """
    choose_device(how.device)
    if config.framework == "TensorFlow" and find_spec("tensorflow") is None:
        raise InputError(f"-train_type TensorFlow: {NO_TENSORFLOW}")


def train_network(
    cg: ComputeGraph,
    config: TrainConfig,
    seed: int,
    data: Cifar10,
    how: Execution = AUTOMATIC,
    progress: bool = False,
    title: str = "",
) -> RunResult:
    """Train the network of a graph from scratch.

    Args:
        cg: A graph with input (32, 32, 3) and at least ten output channels.
        config: The recipe.
        seed: Seed of weights, order and augmentation.
        data: The images.
        how: Where and how to compute.
        progress: Show loss, training accuracy, images per second and time left.
        title: Name of the training, in messages.

    Raises:
        ValueError: The network cannot be built or does not fit the data.
        TrainingError: The loss is no longer a number.
        MemoryError: The memory does not hold the network and a single image.
        RuntimeError: Raised by the framework.
    """
    started = time.perf_counter()
    loop = TrainingLoop(make_learner(cg, config, seed, data, how), config, seed, title or cg.name)
    tests = loop.run(progress)
    if not math.isfinite(tests[-1][0]):
        raise TrainingError("the loss on the test images is not a finite number")
    accuracies = [accuracy for _, accuracy in tests]
    return RunResult(
        seed, accuracies[-1], max(accuracies), tests[-1][0], time.perf_counter() - started, loop.learner.device_name
    )


def try_to_train(cg: ComputeGraph, *rest: Any) -> RunResult | str:
    """`train_network`, but a network that cannot be trained gives the reason, in one line.

    Raises:
        InputError: There is no such device or framework, which other networks would meet, too.
    """
    try:
        return train_network(cg, *rest)
    except InputError:
        raise
    except (ValueError, RuntimeError, MemoryError) as error:
        return reason_of(error)


class TrainingLoop:
    """Trains a learner; where the memory does not hold a batch, gradients of its parts are added up."""

    def __init__(self, learner: Learner, config: TrainConfig, seed: int, title: str):
        self.learner = learner
        self._config, self._title = config, title
        self._rng = np.random.default_rng(seed)
        self._step, self._n_steps = 0, config.epochs * math.ceil(learner.n_train / config.batch_size)
        self._trained, self._tested = Portions(config.batch_size, title), Portions(learner.test_batch_size, title)

    def run(self, progress: bool) -> list[tuple[float, float]]:
        """Train; returns (loss, accuracy) of every test, the last one after the last epoch.

        Raises:
            TrainingError: The loss is no longer a number.
            MemoryError: The memory does not hold the network and a single image.
        """
        config, tests = self._config, []
        total = config.epochs * self.learner.n_train
        with tqdm(total=total, unit=" images", unit_scale=True, desc=self._title, disable=not progress) as bar:
            for epoch in range(1, config.epochs + 1):
                self._train_epoch(epoch, bar)
                if epoch % config.epochs_per_test == 0 or epoch == config.epochs:
                    tests.append(self.test())
                    bar.set_description_str(f"{self._title} epoch {epoch}, test {tests[-1][1]:.4f}")
        return tests

    def test(self) -> tuple[float, float]:
        """Mean cross-entropy and share of right answers of the test images."""
        count = self.learner.n_test
        loss, right = self._tested.sums(self.learner.test, 0, count)
        return float(loss) / count, float(right) / count

    def step(self, start: int, stop: int) -> tuple[Any, Any]:
        """Train on one batch of the epoch's plan; returns sums of loss and of right answers."""

        def add(first: int, last: int) -> tuple[Any, Any]:
            return self.learner.add_gradients(first, last, (last - first) / (stop - start))

        sums = self._trained.sums(add, start, stop, self.learner.drop_gradients)
        self.learner.apply_gradients(learning_rate(self._config, self._step, self._n_steps))
        self._step += 1
        return sums

    def _train_epoch(self, epoch: int, bar: "tqdm[Any]") -> None:
        n_train, size = self.learner.n_train, self._config.batch_size
        self.learner.start_epoch(*epoch_plan(n_train, self._config.zoom, self._rng))
        loss = right = 0
        for number, start in enumerate(range(0, n_train, size)):
            stop = min(start + size, n_train)
            step_loss, step_right = self.step(start, stop)
            loss, right = loss + step_loss, right + step_right
            bar.update(stop - start)
            # Reading a number waits for the GPU, so it is done now and then. A sum keeps what is not finite.
            if stop == n_train or number % STEPS_BETWEEN_REPORTS == 0:
                if not math.isfinite(float(loss)):
                    raise TrainingError(f"the loss is not a finite number in epoch {epoch}")
                words = f"loss {float(loss) / stop:.4f}, accuracy {float(right) / stop:.4f}"
                bar.set_postfix_str(words, refresh=False)


class Portions:
    """How many images go through a network at once: fewer, once the memory was too small for them."""

    def __init__(self, size: int, title: str):
        self._size, self._title = size, title

    def sums(
        self,
        work: Callable[[int, int], tuple[Any, Any]],
        start: int,
        stop: int,
        undo: Callable[[], None] = lambda: None,
    ) -> tuple[Any, Any]:
        """Do work on a range, in one go or in parts, and add up the pairs that it returns.

        Args:
            work: Called with start and stop; raises MemoryError where that is too much.
            start: Of the range.
            stop: Of the range.
            undo: Takes back the work on parts before it is done again on smaller ones.

        Raises:
            MemoryError: A single image is too much.
        """
        while True:
            try:
                pairs = [work(*part) for part in parts(start, stop, self._size)]
                return sum(loss for loss, _ in pairs), sum(right for _, right in pairs)
            except MemoryError:
                if self._size == 1:
                    raise
            undo()
            size, self._size = self._size, math.ceil(min(self._size, stop - start) / 2)
            logger.warning(
                "%s: out of memory with %d images at once; going on with parts of %d, the steps stay the same",
                self._title, size, self._size,
            )  # fmt: skip


def parts(start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut a range into parts of at most `most` whose sizes differ by one at most, as pairs of start and stop."""
    n_parts = math.ceil((stop - start) / most)
    bounds = [start + (stop - start) * number // n_parts for number in range(n_parts + 1)]
    return pairwise(bounds)


def images_per_second(cg: ComputeGraph, config: TrainConfig, data: Cifar10, how: Execution = AUTOMATIC) -> float:
    """Measure how fast a network learns from small batches; the first, slow one is not counted.

    Raises:
        ValueError: The network cannot be built or does not fit the data.
    """
    learner = make_learner(cg, config, 0, data, how)
    count = min(IMAGES_TIMED, learner.n_train)
    learner.start_epoch(*epoch_plan(learner.n_train, config.zoom, np.random.default_rng(0)))
    loop = TrainingLoop(learner, config, 0, cg.name)
    float(loop.step(0, count)[0])
    started = time.perf_counter()
    float(loop.step(0, count)[0])
    return count / (time.perf_counter() - started)
