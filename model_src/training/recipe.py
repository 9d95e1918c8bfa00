"""The recipes of a training, whatever framework follows them: plans of numbers, without any framework.

`TrainConfig` is the published one (AutoGO, appendix A.6): 200 epochs at batch size 256 without crop, mean or standard
deviation: zoom and flip, centred RMSprop, cosine decay.

`FastConfig` is for few epochs: its accuracies are lower, and tell in minutes which of several networks learns better in
so short a time. The published Two-Path input (116 MFLOPs) reaches 83.1 % in 8 epochs of 45,000 CIFAR-10 images with
JPEG loss (one run); two cores of an EPYC processor with AVX-512 BF16 train two such networks side by side at 436 images
a second each, an H100 one at 30,600 a second.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from model_src.training.image_data import CIFAR10


@dataclass(frozen=True)
class Recipe:
    """What recipes have in common.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        train_images: The first so many training images; None takes all.
        framework: `PyTorch` or `TensorFlow`.
        epochs_per_test: The network is tested after so many epochs, and after the last one.
        held_out: The last so many training images are not learnt from: all tests but the last one are on these.
    """

    name: ClassVar[str]

    epochs: int = 200
    batch_size: int = 256
    train_images: int | None = None
    framework: str = "PyTorch"
    epochs_per_test: int = 1
    held_out: int = 0

    def content_on(self, dataset: str, inherits: bool = False) -> dict[str, Any]:
        """What tells a training from others, as JSON data.

        Args:
            dataset: The data set; CIFAR-10 is left out.
            inherits: Whether it begins with inherited weights; fresh ones are left out.
        """
        others = {"dataset": dataset} if dataset != CIFAR10 else {}
        return {"name": self.name, **asdict(self), **others, **({"weights": "inherited"} if inherits else {})}

    def rate(self, step: int, n_steps: int) -> float:
        """Learning rate of a step, counted from 0."""
        raise NotImplementedError

    def plan(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw an epoch: the order of the images, int64 (count,), and how each is changed when its turn comes."""
        raise NotImplementedError


@dataclass(frozen=True)
class TrainConfig(Recipe):
    """The published recipe; the defaults are the published ones, except for the framework.

    Attributes:
        learning_rate: Of the first step.
        final_learning_rate: Where the cosine ends, after the last step.
        momentum: Share of the last step that is repeated.
        zoom: Each axis is scaled by a factor from 1 - zoom to 1 + zoom.
        kernel_l2: Times the sum of squares of every convolution kernel is added to the loss.
    """

    name: ClassVar[str] = "published"

    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    momentum: float = 0.9
    zoom: float = 0.2
    kernel_l2: float = 1e-5

    def rate(self, step: int, n_steps: int) -> float:
        """Learning rate of a step, counted from 0, along the cosine."""
        height = (1 + math.cos(math.pi * step / n_steps)) / 2
        return self.final_learning_rate + height * (self.learning_rate - self.final_learning_rate)

    def plan(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw an epoch: the order of the images, and how each of them is scaled when its turn comes.

        Returns:
            int64 (count,), and float32 (count, 2): the horizontal factor, negative for a flip, and the vertical one. A
            factor multiplies the distance of sampled points to the centre, so above 1 the content shrinks.
        """
        order = rng.permutation(count)
        scales = rng.uniform(1 - self.zoom, 1 + self.zoom, (count, 2)).astype(np.float32)
        scales[:, 0] *= rng.choice(np.array([-1, 1], dtype=np.float32), count)
        return order, scales


@dataclass(frozen=True)
class FastConfig(Recipe):
    """A recipe for few epochs: SGD with Nesterov momentum and a one-cycle rate, crop and flip. PyTorch only.

    Attributes:
        peak_rate: The highest learning rate.
        warm_up: Share of the steps in which the rate rises to it, in a line; then it falls to 0, in a line.
        momentum: Of the gradients.
        weight_decay: This times a weight is added to its gradient; not of biases and norms.
        label_smoothing: Share of the target that is spread over all classes.
        most_gradient: Gradients of a larger norm are scaled down to it.
        most_features: Maps that enter the last layer with a larger root mean square at the start count as scaled to it.
        norm_momentum: Share of the present batch in the running statistics of batch norms.
        padding: Images are moved by up to so many pixels per axis; what enters is their reflection.
    """

    name: ClassVar[str] = "fast"

    epochs: int = 8
    peak_rate: float = 0.2
    warm_up: float = 0.25
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    most_gradient: float = 5.0
    most_features: float = 2.0
    norm_momentum: float = 0.1
    padding: int = 2

    def rate(self, step: int, n_steps: int) -> float:
        """Learning rate of a step, counted from 0: up to the peak, and down to 0 after the last one."""
        top = self.warm_up * n_steps
        return self.peak_rate * min((step + 1) / max(top, 1), (n_steps - step) / max(n_steps - top, 1), 1.0)

    def plan(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw an epoch: the order of the images, and how each of them is moved when its turn comes.

        Returns:
            int64 (count,), and int64 (count, 3): pixels down and to the right, each from -padding to padding, and 1 for
            a flip or 0.
        """
        order = rng.permutation(count)
        moves = rng.integers(-self.padding, self.padding, (count, 3), endpoint=True)
        moves[:, 2] = rng.integers(2, size=count)
        return order, moves


RECIPES = {recipe.name: recipe for recipe in (TrainConfig, FastConfig)}


@dataclass(frozen=True)
class Execution:
    """Where and how a training is computed; this changes rounding and speed, not the recipe.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1`, ...; None takes the GPU if there is one.
        bfloat16: Compute in bfloat16 where that is safe; None does so on a GPU that has it, and by the fast recipe on a
            CPU that has it. PyTorch only.
        compile: Compile the network, which takes minutes and saves launches on a GPU. PyTorch only.
    """

    device: str | None = None
    bfloat16: bool | None = None
    compile: bool = False


AUTOMATIC = Execution()
# Test images at once; on a CPU, maps of more images are allocated anew for every layer, at half the speed.
GPU_TEST_BATCH, CPU_TEST_BATCH = 1000, 200


@dataclass(frozen=True)
class RunResult:
    """One training.

    Attributes:
        seed: Seed of weights, order and augmentation.
        last_accuracy: Share of the test images that are right after the last epoch: the result.
        best_accuracy: The highest such share in any test; chosen on the test images, so a little optimistic. Where
            training images are held out, there is one test, hence nothing to choose from.
        last_loss: Mean cross-entropy of the test images after the last epoch.
        seconds: Wall time.
        device: What it ran on.
        held_out_accuracy: Share of the held-out training images that are right after the last epoch, for all that is
            chosen; None where none are held out.
    """

    seed: int
    last_accuracy: float
    best_accuracy: float
    last_loss: float
    seconds: float
    device: str
    held_out_accuracy: float | None = None


class TrainingError(RuntimeError):
    """A training went wrong; the text is one line."""


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
