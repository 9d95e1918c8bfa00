"""What PyTorch does by a recipe: how images are changed, what is minimised and by which optimiser."""

from copy import deepcopy
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.training.recipe import FastConfig, Recipe, TrainConfig
from model_src.training.rmsprop import CentredRMSprop

_SAMPLE = 5000  # images whose mean and deviation stand for those of all


class Method(Protocol):
    """A recipe in PyTorch. Images are (n, C, H, W).

    Attributes:
        on_cpu: Whether a CPU that computes in bfloat16 may do so.
        most_gradient: Gradients of a larger norm are scaled down to it.
        mirrors: Whether a test adds up the logits of an image and its mirror image.
    """

    on_cpu: bool
    most_gradient: float
    mirrors: bool

    def optimiser(self, network: nn.Module, fresh: bool) -> torch.optim.Optimizer:
        """The optimiser of a network, which is made ready for it.

        Groups whose entry `share` is below 1 go by that share of the learning rate.

        Args:
            network: The network, on its device.
            fresh: Whether its weights are drawn, not learnt.
        """

    def plain(self, images: Tensor) -> Tensor:
        """What the network sees of images (bytes) in a test."""

    def changed(self, images: Tensor, changes: Tensor) -> Tensor:
        """What the network sees of images (bytes) in training, changed as the plan says."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What is minimised, the mean over images."""


def method_of(recipe: Recipe, train_images: Tensor) -> Method:
    """The method of a recipe, for a data set with these training images (bytes)."""
    if isinstance(recipe, FastConfig):
        return FastMethod(recipe, train_images)
    assert isinstance(recipe, TrainConfig)
    return PublishedMethod(recipe)


class PublishedMethod:
    """Zoom and flip, centred RMSprop with an L2 penalty on convolution kernels; images from 0 to 1."""

    on_cpu, most_gradient, mirrors = False, float("inf"), False

    def __init__(self, config: TrainConfig):
        self._config = config

    def optimiser(self, network: nn.Module, fresh: bool = True) -> CentredRMSprop:
        """The optimiser, with the L2 penalty on convolution kernels only."""
        config = self._config
        kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        chosen = {id(kernel) for kernel in kernels}
        others = [weight for weight in network.parameters() if id(weight) not in chosen]
        groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": 2 * config.kernel_l2}, {"params": others}]
        return CentredRMSprop(groups, lr=config.learning_rate, momentum=config.momentum)

    def plain(self, images: Tensor) -> Tensor:
        """Images from 0 to 1."""
        return images.float() / 255

    def changed(self, images: Tensor, changes: Tensor) -> Tensor:
        """Images from 0 to 1, zoomed and flipped."""
        return zoom(self.plain(images), changes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(logits, labels)


class FastMethod:
    """Crop and flip, SGD with Nesterov momentum, smoothed labels; every channel with mean 0 and deviation 1."""

    on_cpu, mirrors = True, True

    def __init__(self, config: FastConfig, train_images: Tensor):
        self._config, self.most_gradient = config, config.most_gradient
        self._sample = train_images[: config.batch_size]
        self._deviation, self._mean = torch.std_mean(train_images[:_SAMPLE].float(), (0, 2, 3), keepdim=True)

    def optimiser(self, network: nn.Module, fresh: bool = True) -> torch.optim.SGD:
        """SGD without decay of biases and norms; running statistics of norms follow quickly.

        Where nothing normalises what enters the last layer, its maps can be so large that any usual step overshoots: it
        then learns as if they were divided by a constant.
        """
        config = self._config
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = config.norm_momentum
        last, size = features(network, self.plain(self._sample))
        excess = max(1.0, size / config.most_features)
        weights = list(network.parameters())
        decayed = [weight for weight in weights if weight.ndim > 1 and (weight is not last or excess == 1)]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        if last is not None and excess > 1:
            if fresh:
                last.data.div_(excess)
            last.register_hook(lambda gradient: gradient / excess)
            groups.append({"params": [last], "weight_decay": config.weight_decay * excess, "share": 1 / excess})
        return torch.optim.SGD(groups, lr=config.peak_rate, momentum=config.momentum, nesterov=True)

    def plain(self, images: Tensor) -> Tensor:
        """Images with mean 0 and deviation 1 in every channel, over the first training images."""
        return (images - self._mean) / self._deviation.clamp_min(1e-3)

    def changed(self, images: Tensor, changes: Tensor) -> Tensor:
        """Images moved and flipped."""
        return self.plain(moved(images, changes))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with smoothed labels."""
        return functional.cross_entropy(logits, labels, label_smoothing=self._config.label_smoothing)


@torch.no_grad()
def features(network: nn.Module, images: Tensor) -> tuple[nn.Parameter | None, float]:
    """The weight of the last layer and the root mean square of what enters it in training; the network stays as it is.

    Args:
        network: A network; None and 0 are returned where it does not end in a layer with a weight.
        images: (n, C, H, W), as the network sees them.
    """
    copy, seen = deepcopy(network).train(), []
    for name, layer in copy.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(lambda _, inputs, output, name=name: seen.append((name, inputs[0], output)))
    logits = copy(images)
    if not seen or not isinstance(logits, Tensor) or not torch.equal(seen[-1][2].flatten(), logits.flatten()):
        return None, 0.0
    name, entering, _ = seen[-1]
    return network.get_submodule(name).weight, entering.square().mean().sqrt().item()  # type: ignore[return-value]


def moved(images: Tensor, moves: Tensor) -> Tensor:
    """Move every image, and mirror some; what enters is a reflection.

    Args:
        images: (n, C, H, W), of any type.
        moves: (n, 3), pixels down and to the right, less than the images have, and 1 for a flip.
    """
    n, _, h, w = images.shape
    down, right, flip = moves.T
    rows = _reflected(torch.arange(h, device=images.device) - down[:, None], h)
    columns = torch.arange(w, device=images.device).expand(n, w)
    columns = torch.where(flip[:, None] == 1, columns.flip(1), columns)
    columns = _reflected(columns - right[:, None], w)
    taken = images.gather(2, rows[:, None, :, None].expand(images.shape))
    return taken.gather(3, columns[:, None, None, :].expand(images.shape))


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places from 1 - size to 2 * size - 2, reflected at the ends of 0 to size - 1 (which are not repeated)."""
    return (size - 1) - ((size - 1) - places.abs()).abs()


def zoom(images: Tensor, scales: Tensor) -> Tensor:
    """Scale the distance of every sampled point to the image's centre; outside, the border repeats.

    Args:
        images: (n, C, H, W).
        scales: (n, 2), horizontal and vertical; above 1 shrinks the content, below 0 mirrors it.
    """
    maps = functional.pad(torch.diag_embed(scales), (0, 1))
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
