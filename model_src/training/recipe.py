"""The recipe of a CIFAR-10 training, whatever framework follows it (AutoGO, appendix A.6).

200 epochs at batch size 256 without crop, mean or standard deviation: zoom and flip, centred RMSprop, cosine decay.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainConfig:
    """The recipe; the defaults are the published ones, except for the framework.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        train_images: The first so many training images; None takes all.
        framework: `PyTorch` or `TensorFlow`.
        learning_rate: Of the first step.
        final_learning_rate: Where the cosine ends, after the last step.
        momentum: Share of the last step that is repeated.
        zoom: Each axis is scaled by a factor from 1 - zoom to 1 + zoom.
        kernel_l2: Times the sum of squares of every convolution kernel is added to the loss.
        epochs_per_test: The network is tested after so many epochs, and after the last one.
    """

    epochs: int = 200
    batch_size: int = 256
    train_images: int | None = None
    framework: str = "PyTorch"
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    momentum: float = 0.9
    zoom: float = 0.2
    kernel_l2: float = 1e-5
    epochs_per_test: int = 1


@dataclass(frozen=True)
class Execution:
    """Where and how a training is computed; this changes rounding and speed, not the recipe.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1`, ...; None takes the GPU if there is one.
        bfloat16: Compute in bfloat16 where that is safe; None does so on a GPU that has it. PyTorch only.
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
        best_accuracy: The highest such share in any test; chosen on the test images, so a little optimistic.
        last_loss: Mean cross-entropy of the test images after the last epoch.
        seconds: Wall time.
        device: What it ran on.
    """

    seed: int
    last_accuracy: float
    best_accuracy: float
    last_loss: float
    seconds: float
    device: str


class TrainingError(RuntimeError):
    """A training went wrong; the text is one line."""


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def learning_rate(config: TrainConfig, step: int, n_steps: int) -> float:
    """Learning rate of a step, counted from 0, along the cosine."""
    height = (1 + math.cos(math.pi * step / n_steps)) / 2
    return config.final_learning_rate + height * (config.learning_rate - config.final_learning_rate)


def epoch_plan(count: int, zoom: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an epoch: the order of the images, and how each of them is scaled when its turn comes.

    Returns:
        int64 (count,), and float32 (count, 2): the horizontal factor, negative for a flip, and the vertical one. A
        factor multiplies the distance of sampled points to the centre, so above 1 the content shrinks.
    """
    order = rng.permutation(count)
    scales = rng.uniform(1 - zoom, 1 + zoom, (count, 2)).astype(np.float32)
    scales[:, 0] *= rng.choice(np.array([-1, 1], dtype=np.float32), count)
    return order, scales
