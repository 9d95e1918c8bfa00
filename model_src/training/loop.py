"""The training loop that the frameworks share: order, learning rate, memory, progress, tests."""

import logging
import math
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.inheritance import Inheritance, for_changed
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.runtime import NO_TENSORFLOW, choose_device
from model_src.training.head import fitted
from model_src.training.image_data import ImageData
from model_src.training.portions import Portions
from model_src.training.recipe import (
    AUTOMATIC,
    Execution,
    Recipe,
    RunResult,
    TrainConfig,
    TrainingError,
    reason_of,
)
from model_src.training.state import NETWORK, NOWHERE, StateFile, TrainingState

logger = logging.getLogger(__name__)

STEPS_BETWEEN_REPORTS = 20


class Learner(Protocol):
    """A network in training, with its images, on its device.

    The numbers that it returns may be tensors of the framework: adding them does not wait for a GPU, `float` does.
    Where the device's memory is used up, `add_gradients` and `test` raise MemoryError and leave nothing behind.

    Attributes:
        n_train: Number of training images.
        n_test: Number of test images, those that are held out first.
        test_batch_size: Test images at once, as is fast on its device.
        device_name: What it runs on.
    """

    n_train: int
    n_test: int
    test_batch_size: int
    device_name: str

    def start_epoch(self, order: np.ndarray, changes: np.ndarray) -> None:
        """Take the plan of an epoch (see `Recipe.plan`)."""

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

    def state(self) -> dict[str, np.ndarray]:
        """All that training has changed, by name; names of the network's weights begin with `NETWORK`."""

    def load_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of the same network and recipe."""


def make_learner(
    cg: ComputeGraph,
    config: Recipe,
    seed: int,
    data: ImageData,
    how: Execution = AUTOMATIC,
    inherited: Inheritance | None = None,
) -> Learner:
    """Build a graph's network with fresh weights, ready to be trained in the recipe's framework.

    Args:
        cg: A graph whose input has the size of the images; for CIFAR-10 with at least ten output channels, for other
            data it is given one per class (see `fitted`).
        config: The recipe.
        seed: Seed of the weights, which are the same in every framework.
        data: The images.
        how: Where and how to compute.
        inherited: Weights that the network begins with; None for fresh ones.

    Raises:
        ValueError: The network cannot be built or does not fit the data.
    """
    if tuple(cg.input_shape[1:]) != data.input_shape:
        size = "x".join(map(str, data.input_shape))
        raise ValueError(f"{cg.name}: input {tuple(cg.input_shape[1:])}, but {data.dataset} images are {size}")
    from model_src.comp_graph.networks.initial import initial_network

    whole, cg, data = cg, fitted(cg, data), data.split(config.train_images, config.held_out)
    network = initial_network(cg, seed, inherited and for_changed(inherited, whole, cg))
    if config.framework == "TensorFlow":
        from model_src.training.cifar10_tf import KerasLearner

        return KerasLearner(cg, network, config, data, how)
    from model_src.training.cifar10 import TorchLearner

    return TorchLearner(network, config, data, how, fresh=inherited is None)


def check_execution(config: Recipe, how: Execution) -> None:
    """Check framework and device, before hours of work that need them afterwards.

    Raises:
        InputError: There is no such device, or TensorFlow is not installed or cannot follow the recipe.
    """
    choose_device(how.device)
    if config.framework == "TensorFlow" and config.name != TrainConfig.name:
        raise InputError(f"-train_type TensorFlow: the {config.name} recipe is for PyTorch")
    if config.framework == "TensorFlow" and find_spec("tensorflow") is None:
        raise InputError(f"-train_type TensorFlow: {NO_TENSORFLOW}")


def train_network(
    cg: ComputeGraph,
    config: Recipe,
    seed: int,
    data: ImageData,
    how: Execution = AUTOMATIC,
    progress: bool = False,
    title: str = "",
    state_path: Path | None = None,
    inherited: Inheritance | None = None,
) -> RunResult:
    """Train the network of a graph from scratch, or go on with a training that was interrupted.

    Args:
        cg: A graph whose input has the size of the images; for CIFAR-10 with at least ten output channels, for other
            data it is given one per class (see `fitted`).
        config: The recipe.
        seed: Seed of weights, order and augmentation.
        data: The images.
        how: Where and how to compute.
        progress: Show loss, training accuracy, images per second and time left.
        title: Name of the training, in messages.
        state_path: Where the training is kept after every epoch and found again, its weights in the end; None for
            nowhere. The result is the same, interrupted or not.
        inherited: Weights that it begins with; None for fresh ones.

    Raises:
        ValueError: The network cannot be built or does not fit the data.
        TrainingError: The loss is no longer a number.
        MemoryError: The memory does not hold the network and a single image.
        RuntimeError: Raised by the framework.
    """
    identity = {
        "network": canonical_hash(cg),
        "recipe": config.content_on(data.dataset, inherited is not None),
        "seed": seed,
    }
    file = StateFile(state_path, identity)
    loop = TrainingLoop(make_learner(cg, config, seed, data, how, inherited), config, seed, title or cg.name, file)
    state = loop.run(progress)
    if not math.isfinite(state.tests[-1][0]):
        raise TrainingError("the loss on the test images is not a finite number")
    (loss, last), accuracies = state.tests[-1], [accuracy for _, accuracy in state.tests]
    best, held_out = (last, accuracies[-2]) if config.held_out else (max(accuracies), None)
    return RunResult(seed, last, best, loss, state.seconds, loop.learner.device_name, held_out)


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
    """Trains a learner; where the memory does not hold a batch, gradients of its parts are added up.

    Args:
        learner: The network.
        config: The recipe.
        seed: Of order and augmentation.
        title: Name of the training, in messages.
        file: Where it is kept after every epoch.
    """

    def __init__(self, learner: Learner, config: Recipe, seed: int, title: str, file: StateFile = NOWHERE):
        self.learner = learner
        self._config, self._title, self._file = config, title, file
        self._rng = np.random.default_rng(seed)
        self._steps_per_epoch = math.ceil(learner.n_train / config.batch_size)
        self._step, self._n_steps = 0, config.epochs * self._steps_per_epoch
        self._trained, self._tested = Portions(config.batch_size, title), Portions(learner.test_batch_size, title)

    def run(self, progress: bool) -> TrainingState:
        """Train; returns how it ended. The last test is on the test images, all others on those that are held out.

        Where no images are held out, all tests are on the test images.

        Raises:
            TrainingError: The loss is no longer a number.
            MemoryError: The memory does not hold the network and a single image.
        """
        config, state, started = self._config, self._begin(), time.perf_counter()
        total, done = config.epochs * self.learner.n_train, state.epoch * self.learner.n_train
        with tqdm(
            total=total, initial=done, unit=" images", unit_scale=True, desc=self._title, disable=not progress
        ) as bar:
            for epoch in range(state.epoch + 1, config.epochs + 1):
                self._train_epoch(epoch, bar)
                tests = [*state.tests, *self._tests(epoch)]
                shown = f", test {tests[-1][1]:.4f}" if tests else ""
                bar.set_description_str(f"{self._title} epoch {epoch}{shown}")
                seconds, started = state.seconds + time.perf_counter() - started, time.perf_counter()
                state = TrainingState(epoch, tests, seconds, self._random(), self._tensors(epoch))
                self._file.save(state)
        return state

    def _begin(self) -> TrainingState:
        """Where an earlier call stopped, or the beginning."""
        fresh = {name: tensor.shape for name, tensor in self.learner.state().items() if name.startswith(NETWORK)}
        state = self._file.load(fresh)
        if state is None:
            return TrainingState(0, [], 0.0, self._random(), {})
        if state.epoch < self._config.epochs:
            self.learner.load_state(state.tensors)
            self._rng.bit_generator.state = state.random
            self._step = state.epoch * self._steps_per_epoch
        return state

    def _random(self) -> dict[str, Any]:
        return dict(self._rng.bit_generator.state)

    def _tensors(self, epoch: int) -> dict[str, np.ndarray]:
        """What the state after an epoch holds: in the end there is no optimiser to go on with."""
        over = epoch == self._config.epochs
        return {name: one for name, one in self.learner.state().items() if not over or name.startswith(NETWORK)}

    def _tests(self, epoch: int) -> list[tuple[float, float]]:
        """The tests after an epoch."""
        held_out, over = self._config.held_out, epoch == self._config.epochs
        tests = []
        if held_out and (over or epoch % self._config.epochs_per_test == 0):
            tests.append(self.test(0, held_out))
        if over or (not held_out and epoch % self._config.epochs_per_test == 0):
            tests.append(self.test(held_out, self.learner.n_test))
        return tests

    def test(self, start: int, stop: int) -> tuple[float, float]:
        """Mean cross-entropy and share of right answers of these test images."""
        loss, right = self._tested.sums(self.learner.test, start, stop)
        return float(loss) / (stop - start), float(right) / (stop - start)

    def step(self, start: int, stop: int) -> tuple[Any, Any]:
        """Train on one batch of the epoch's plan; returns sums of loss and of right answers."""

        def add(first: int, last: int) -> tuple[Any, Any]:
            return self.learner.add_gradients(first, last, (last - first) / (stop - start))

        sums = self._trained.sums(add, start, stop, self.learner.drop_gradients)
        self.learner.apply_gradients(self._config.rate(self._step, self._n_steps))
        self._step += 1
        return sums

    def _train_epoch(self, epoch: int, bar: "tqdm[Any]") -> None:
        n_train, size = self.learner.n_train, self._config.batch_size
        self.learner.start_epoch(*self._config.plan(n_train, self._rng))
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
