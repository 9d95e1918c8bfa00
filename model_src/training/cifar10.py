"""The network of a graph in training with PyTorch.

The images lie on the device as bytes and are zoomed and flipped there; maps are channels-last, and on a GPU the network
computes in bfloat16 with float32 weights.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork, build_torch_network
from model_src.runtime import choose_device
from model_src.training.cifar10_data import N_CLASSES, Cifar10
from model_src.training.recipe import CPU_TEST_BATCH, GPU_TEST_BATCH, Execution, TrainConfig
from model_src.training.rmsprop import CentredRMSprop

# How PyTorch's libraries say that the memory is used up, where it is no torch.OutOfMemoryError.
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")


class TorchLearner:
    """A network, its optimiser and its images; see `model_src.training.loop.Learner`."""

    _order: Tensor  # the plan of the epoch
    _scales: Tensor

    def __init__(self, cg: ComputeGraph, config: TrainConfig, seed: int, data: Cifar10, how: Execution):
        self._device = choose_device(how.device)
        self._network = initial_network(cg, seed)
        self._network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its types
        self._whole: Callable[[Tensor], Tensor] = self._network
        self._batch_size = config.batch_size
        if how.compile:
            mode = "reduce-overhead" if self._device.type == "cuda" else "default"  # the former: CUDA graphs
            self._whole = torch.compile(self._network, dynamic=False, mode=mode)
        self._bfloat16 = has_bfloat16(self._device) if how.bfloat16 is None else how.bfloat16
        self._optimiser = make_optimiser(self._network, config)
        parts = (torch.from_numpy(part).to(self._device) for part in data)
        self._train_images, self._train_labels, self._test_images, self._test_labels = parts
        self.n_train, self.n_test = len(data.train_images), len(data.test_images)
        on_gpu = self._device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self._device) if on_gpu else "cpu"
        self.test_batch_size = GPU_TEST_BATCH if on_gpu else CPU_TEST_BATCH

    def start_epoch(self, order: np.ndarray, scales: np.ndarray) -> None:
        """Take the plan of an epoch."""
        self._order, self._scales = (torch.from_numpy(part).to(self._device) for part in (order, scales))

    def add_gradients(self, start: int, stop: int, share: float) -> tuple[Tensor, Tensor]:
        """Add the gradients of these positions of the plan; returns sums of loss and of right answers."""
        with _memory_errors():
            chosen = self._order[start:stop]
            images = zoom(self._train_images[chosen].float() / 255, self._scales[start:stop])
            self._network.train()
            # Other sizes, those of a last batch or of parts, would be compiled anew.
            network = self._whole if stop - start == self._batch_size else self._network
            logits, labels = self._logits(network, images), self._train_labels[chosen]
            loss = functional.cross_entropy(logits, labels)
            (loss * share).backward()
            return loss.detach() * (stop - start), (logits.argmax(1) == labels).sum()

    def apply_gradients(self, rate: float) -> None:
        """Do a step at this learning rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad()

    def drop_gradients(self) -> None:
        """Forget the gradients."""
        self._optimiser.zero_grad()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def test(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Sums of loss and of right answers of these test images."""
        with _memory_errors():
            self._network.eval()
            images, labels = self._test_images[start:stop].float() / 255, self._test_labels[start:stop]
            logits = self._logits(self._network, images)
            return functional.cross_entropy(logits, labels, reduction="sum"), (logits.argmax(1) == labels).sum()

    def _logits(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = network(images)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < N_CLASSES:
            shapes = [tuple(output.shape[1:]) for output in (logits if isinstance(logits, list) else [logits])]
            raise ValueError(f"the network ends in {shapes} per image, not in one vector of {N_CLASSES} classes")
        return logits.float()


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device is a GPU that computes in bfloat16 itself."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn whatever says that the memory is used up into MemoryError, which holds on to no tensor."""
    try:
        yield
        return
    except RuntimeError as error:
        message = str(error)
        if not isinstance(error, torch.OutOfMemoryError) and not any(words in message for words in _OUT_OF_MEMORY):
            raise
    raise MemoryError(message)


def initial_network(cg: ComputeGraph, seed: int) -> TorchNetwork:
    """The network of a graph with weights as the published TensorFlow network draws them.

    He for convolutions, Glorot for dense layers, zero biases; drawn on the CPU, so that every device has the same.

    Raises:
        ValueError: The network cannot be built.
    """
    network, generator = build_torch_network(cg, seed=seed), torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network


def make_optimiser(network: nn.Module, config: TrainConfig) -> CentredRMSprop:
    """The optimiser, with the L2 penalty on convolution kernels only."""
    kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    chosen = {id(kernel) for kernel in kernels}
    others = [weight for weight in network.parameters() if id(weight) not in chosen]
    groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": 2 * config.kernel_l2}, {"params": others}]
    return CentredRMSprop(groups, lr=config.learning_rate, momentum=config.momentum)


def zoom(images: Tensor, scales: Tensor) -> Tensor:
    """Scale the distance of every sampled point to the image's centre; outside, the border repeats.

    Args:
        images: (n, C, H, W).
        scales: (n, 2), horizontal and vertical; above 1 shrinks the content, below 0 mirrors it.
    """
    maps = functional.pad(torch.diag_embed(scales), (0, 1))
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
