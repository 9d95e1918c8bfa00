"""The network of a graph in training with PyTorch.

The images lie on the device as bytes and are changed there; maps are channels-last, and where the device has bfloat16
the network computes in it with float32 weights: on a GPU, and by the fast recipe on a CPU too.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.runtime import choose_device
from model_src.training.image_data import ImageData
from model_src.training.methods import method_of
from model_src.training.recipe import CPU_TEST_BATCH, GPU_TEST_BATCH, Execution, Recipe
from model_src.training.state import NETWORK

_OPTIMISER = "optimiser."  # begins the names of what the optimiser keeps
# How PyTorch's libraries say that the memory is used up, where it is no torch.OutOfMemoryError.
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")


class TorchLearner:
    """A network, its optimiser and its images; see `model_src.training.loop.Learner`."""

    _order: Tensor  # the plan of the epoch
    _changes: Tensor

    def __init__(self, network: TorchNetwork, config: Recipe, data: ImageData, how: Execution, fresh: bool = True):
        self._device = choose_device(how.device)
        self._network = network
        self._network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its types
        self._whole: Callable[[Tensor], Tensor] = self._network
        self._batch_size = config.batch_size
        if how.compile:
            mode = "reduce-overhead" if self._device.type == "cuda" else "default"  # the former: CUDA graphs
            self._whole = torch.compile(self._network, dynamic=False, mode=mode)
        parts = (torch.from_numpy(part).to(self._device) for part in data.arrays)
        self._train_images, self._train_labels, self._test_images, self._test_labels = parts
        self._method = method_of(config, self._train_images)
        able = has_bfloat16(self._device) and (self._method.on_cpu or self._device.type != "cpu")
        self._bfloat16 = able if how.bfloat16 is None else how.bfloat16
        self._optimiser = self._method.optimiser(self._network, fresh)
        self._n_classes = data.n_classes
        self.n_train, self.n_test = len(data.train_images), len(data.test_images)
        on_gpu = self._device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self._device) if on_gpu else "cpu"
        self.test_batch_size = GPU_TEST_BATCH if on_gpu else CPU_TEST_BATCH

    def start_epoch(self, order: np.ndarray, changes: np.ndarray) -> None:
        """Take the plan of an epoch."""
        self._order, self._changes = (torch.from_numpy(part).to(self._device) for part in (order, changes))

    def add_gradients(self, start: int, stop: int, share: float) -> tuple[Tensor, Tensor]:
        """Add the gradients of these positions of the plan; returns sums of loss and of right answers."""
        with _memory_errors():
            chosen = self._order[start:stop]
            images = self._method.changed(self._train_images[chosen], self._changes[start:stop])
            self._network.train()
            # Other sizes, those of a last batch or of parts, would be compiled anew.
            network = self._whole if stop - start == self._batch_size else self._network
            logits, labels = self._logits(network, images), self._train_labels[chosen]
            loss = self._method.loss(logits, labels)
            (loss * share).backward()
            return loss.detach() * (stop - start), (logits.argmax(1) == labels).sum()

    def apply_gradients(self, rate: float) -> None:
        """Do a step at this learning rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        if math.isfinite(self._method.most_gradient):
            nn.utils.clip_grad_norm_(self._network.parameters(), self._method.most_gradient)
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
            images, labels = self._method.plain(self._test_images[start:stop]), self._test_labels[start:stop]
            logits = self._logits(self._network, images)
            if self._method.mirrors:
                logits = (logits + self._logits(self._network, images.flip(3))) / 2
            return functional.cross_entropy(logits, labels, reduction="sum"), (logits.argmax(1) == labels).sum()

    def state(self) -> dict[str, np.ndarray]:
        """All that training has changed, by name: weights and running statistics, and what the optimiser keeps."""
        kept = self._optimiser.state_dict()["state"]
        tensors = {f"{NETWORK}{name}": tensor for name, tensor in self._network.state_dict().items()}
        tensors |= {f"{_OPTIMISER}{n}.{key}": kept[n][key] for n in kept for key in kept[n]}
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def load_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of the same network and recipe."""
        weights = [weight for group in self._optimiser.param_groups for weight in group["params"]]
        kept: dict[int, dict[str, Tensor]] = {}
        for name, values in tensors.items():
            if name.startswith(_OPTIMISER):
                number, _, key = name.removeprefix(_OPTIMISER).partition(".")
                like = torch.empty_like(weights[int(number)])  # in the same order in memory
                kept.setdefault(int(number), {})[key] = like.copy_(torch.from_numpy(values))
        own = {name.removeprefix(NETWORK): values for name, values in tensors.items() if name.startswith(NETWORK)}
        self._network.load_state_dict({name: torch.from_numpy(values) for name, values in own.items()})
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": kept})

    def _logits(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = network(images)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < self._n_classes:
            shapes = [tuple(output.shape[1:]) for output in (logits if isinstance(logits, list) else [logits])]
            raise ValueError(f"the network ends in {shapes} per image, not in one vector of {self._n_classes} classes")
        return logits.float()


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself."""
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        return any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
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
