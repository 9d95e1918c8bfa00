"""Training of one network on CIFAR-10 (search, section 12; paper, appendix A.6).

200 epochs at batch size 256 without crop, mean or standard deviation: zoom and flip, centred RMSprop, cosine decay.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
from model_src.training.cifar10_data import N_CLASSES, Cifar10
from model_src.training.rmsprop import CentredRMSprop

TEST_BATCH_SIZE = 1000
STEPS_BETWEEN_REPORTS = 20


@dataclass(frozen=True)
class TrainConfig:
    """The recipe; the defaults are the published ones."""

    epochs: int = 200
    batch_size: int = 256
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6  # the cosine ends here, after the last step
    momentum: float = 0.9
    zoom: float = 0.2  # each axis is scaled by a factor from 1 - zoom to 1 + zoom
    kernel_l2: float = 1e-5  # times the sum of squares of every convolution kernel


@dataclass(frozen=True)
class RunResult:
    """One training.

    Attributes:
        seed: Seed of weights, order and augmentation.
        last_accuracy: Share of the test images that are right after the last epoch: the result.
        best_accuracy: The highest such share after any epoch; chosen on the test images, so a little optimistic.
        seconds: Wall time.
    """

    seed: int
    last_accuracy: float
    best_accuracy: float
    seconds: float


class TrainingError(RuntimeError):
    """A training went wrong; the text is one line."""


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train_network(
    cg: ComputeGraph,
    config: TrainConfig,
    seed: int,
    data: Cifar10,
    device: torch.device | str | None = None,
    progress: bool = False,
    title: str = "",
) -> RunResult:
    """Train the network of a graph from scratch.

    Args:
        cg: A graph with input (32, 32, 3) and at least ten output channels.
        config: The recipe.
        seed: Seed of weights, order and augmentation.
        data: The images.
        device: Where to train; None takes the GPU if there is one.
        progress: Show loss, training accuracy and images per second.
        title: Name of the progress bar.

    Raises:
        ValueError: The network cannot be built or does not fit the data.
        TrainingError: The loss is no longer a number.
        RuntimeError: Raised by PyTorch, as when the memory is used up.
    """
    started = time.perf_counter()
    if tuple(cg.input_shape[1:]) != (32, 32, 3):
        raise ValueError(f"{cg.name}: input {tuple(cg.input_shape[1:])}, but CIFAR-10 images are 32x32x3")
    device = torch.device(device) if device is not None else default_device()
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that every device draws the same
    network = build_torch_network(cg, seed=seed)
    initialise(network, generator)
    network.to(device)
    train_images, train_labels, test_images, test_labels = (torch.from_numpy(part).to(device) for part in data)
    optimiser = make_optimiser(network, config)
    n_steps = config.epochs * math.ceil(len(train_images) / config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps, config.final_learning_rate)
    accuracies = []
    with tqdm(
        total=config.epochs * len(train_images), unit=" images", unit_scale=True, desc=title, disable=not progress
    ) as bar:
        for epoch in range(1, config.epochs + 1):
            batches = augmented_batches(train_images, train_labels, config, generator)
            if not _train_epoch(network, batches, optimiser, schedule, bar):
                raise TrainingError(f"the loss is not a finite number in epoch {epoch}")
            accuracies.append(accuracy_on(network, test_images, test_labels))
            bar.set_description_str(f"{title} epoch {epoch}, test {accuracies[-1]:.4f}".strip())
    return RunResult(seed, accuracies[-1], max(accuracies), time.perf_counter() - started)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw weights as the published TensorFlow network does: He for convolutions, Glorot for dense, zero biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def make_optimiser(network: nn.Module, config: TrainConfig) -> CentredRMSprop:
    """The optimiser, with the L2 penalty on convolution kernels only."""
    kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    chosen = {id(kernel) for kernel in kernels}
    others = [weight for weight in network.parameters() if id(weight) not in chosen]
    groups = [{"params": kernels, "weight_decay": 2 * config.kernel_l2}, {"params": others}]
    return CentredRMSprop(groups, lr=config.learning_rate, momentum=config.momentum)


def augmented_batches(
    images: Tensor, labels: Tensor, config: TrainConfig, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, zoomed and flipped batches: float (n, 3, 32, 32) in [0, 1], int64 (n,).

    Args:
        images: uint8 (N, 3, 32, 32).
        labels: int64 (N,), on the same device.
        config: The batch size and the zoom.
        generator: A CPU generator; all random numbers of the epoch are drawn at once.
    """
    count = len(images)
    order = torch.randperm(count, generator=generator)
    scales = 1 + config.zoom * (2 * torch.rand(count, 2, generator=generator) - 1)
    scales[:, 0] *= 1 - 2 * torch.randint(0, 2, (count,), generator=generator)  # a negative width is a flip
    order, scales = order.to(images.device), scales.to(images.device)
    for chosen, scale in zip(order.split(config.batch_size), scales.split(config.batch_size), strict=True):
        yield zoom(images[chosen].float() / 255, scale), labels[chosen]


def zoom(images: Tensor, scales: Tensor) -> Tensor:
    """Scale the distance of every sampled point to the image's centre; outside, the border repeats.

    Args:
        images: (n, C, H, W).
        scales: (n, 2), horizontal and vertical; above 1 shrinks the content, below 0 mirrors it.
    """
    maps = functional.pad(torch.diag_embed(scales), (0, 1))
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _train_epoch(
    network: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    bar: tqdm,
) -> bool:
    """Run one epoch; False where the loss stopped being finite."""
    network.train()
    losses = []
    for step, (images, labels) in enumerate(batches):
        logits = _logits(network, images)
        loss = functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
        bar.update(len(images))
        # Reading a number waits for the GPU, so it is done now and then.
        if step % STEPS_BETWEEN_REPORTS == 0:
            if not math.isfinite(loss.item()):
                return False
            accuracy = (logits.argmax(1) == labels).float().mean().item()
            bar.set_postfix_str(f"loss {loss.item():.4f}, accuracy {accuracy:.4f}", refresh=False)
    return bool(torch.stack(losses).isfinite().all())


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    logits = network(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < N_CLASSES:
        shapes = [tuple(output.shape[1:]) for output in (logits if isinstance(logits, list) else [logits])]
        raise ValueError(f"the network ends in {shapes} per image, not in one vector of {N_CLASSES} classes")
    return logits


@torch.inference_mode()
def accuracy_on(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the uint8 images (n, 3, 32, 32) that the network classifies as labelled."""
    network.eval()
    right = sum(
        (_logits(network, part.float() / 255).argmax(1) == truth).sum()
        for part, truth in zip(images.split(TEST_BATCH_SIZE), labels.split(TEST_BATCH_SIZE), strict=True)
    )
    return right.item() / len(images)
