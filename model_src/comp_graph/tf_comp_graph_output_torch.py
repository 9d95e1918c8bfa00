"""Computation graph -> PyTorch network (NCHW), computing what the TensorFlow network computes."""

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.comp_graph.networks.plan import (
    LayerRegistry,
    Step,
    Window,
    check_convolution,
    plan_network,
    same_padding,
    window_of,
)
from model_src.comp_graph.tf_comp_graph import ComputeGraph

LAYERS: LayerRegistry[nn.Module] = LayerRegistry()


class TorchNetwork(nn.Module):
    """The network of a graph, one layer per node, stored in `layers` under `op_{id}/{operation}`.

    Several inputs of a node are concatenated (concat), multiplied (mul) or summed (every other operation) after all
    were cut to the narrowest; a single input is cut to the node's input channels.

    Shapes:
        Input (N, C, H, W). Output (N, C) if squeezed, else (N, C, H, W); with several output nodes a list of maps.

    Args:
        cg: The graph.
        squeeze_output: Drop the two axes of a single 1x1 output map.
        op_overrides: Vocabulary label -> label of the operation to build instead, as {"batchnorm": "identity"}.
        enable_bias: Give every convolution a bias, whatever its node says.
        layers: The builders of the layers.

    Raises:
        ValueError: The graph has a cycle, an unknown operation or a node whose sizes contradict each other.
    """

    def __init__(
        self,
        cg: ComputeGraph,
        squeeze_output: bool = True,
        op_overrides: Mapping[str, str] | None = None,
        enable_bias: bool = False,
        layers: LayerRegistry[nn.Module] = LAYERS,
    ):
        super().__init__()
        self.plan = plan_network(cg, op_overrides, enable_bias)
        self.squeeze_output = squeeze_output
        self.layers = nn.ModuleDict({step.name: layers.build(step) for step in self.plan.steps})

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Run the nodes in order; see the class for shapes.

        Raises:
            ValueError: A node gets fewer channels than it needs, or the map to squeeze is larger than 1x1.
        """
        results: dict[int, Tensor] = {}
        for position, (step, layer) in enumerate(zip(self.plan.steps, self.layers.values(), strict=True)):
            inputs = [results[source] for source in step.sources] or [x]
            for source in step.last_readers:
                del results[source]
            results[position] = layer(_join(inputs, step))
        outputs = [results[position] for position in self.plan.outputs]
        if len(outputs) > 1:
            return outputs
        return _squeeze(outputs[0]) if self.squeeze_output else outputs[0]


def build_torch_network(cg: ComputeGraph, seed: int | None = None, **options) -> TorchNetwork:
    """Build the network of a graph; with a seed its initial weights are always the same.

    Args:
        cg: The graph.
        seed: Seed of the initial weights; None takes PyTorch's global generator.
        **options: As for `TorchNetwork`.

    Raises:
        ValueError: See `TorchNetwork`.
    """
    if seed is None:
        return TorchNetwork(cg, **options)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return TorchNetwork(cg, **options)


def _squeeze(x: Tensor) -> Tensor:
    if x.shape[2:] != (1, 1):
        raise ValueError(f"the output map {tuple(x.shape)} is larger than 1x1; build with squeeze_output=False")
    return x.flatten(1)


def _join(inputs: list[Tensor], step: Step) -> Tensor:
    """One tensor out of a node's inputs: concatenated, multiplied or summed."""
    if step.op == "concat":
        return torch.cat(inputs, 1)
    width = step.input_width([x.shape[1] for x in inputs])
    inputs = [x if x.shape[1] == width else x[:, :width] for x in inputs]
    return reduce(torch.mul if step.op == "mul" else torch.add, inputs)


def _pad(x: Tensor, window: Window, value: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """The padded map and the symmetric (vertical, horizontal) padding that is left for the operation to do itself."""
    if not window.same:
        return x, (0, 0)
    sizes = zip(x.shape[2:], window.kernel, window.stride, window.dilation, strict=True)
    (top, bottom), (left, right) = (same_padding(*axis) for axis in sizes)
    if top == bottom and left == right:
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom), value=value), (0, 0)


class WindowConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does, whatever the size of the map."""

    def __init__(self, c_in: int, c_out: int, window: Window, bias: bool, groups: int = 1):
        super().__init__(c_in, c_out, window.kernel, window.stride, dilation=window.dilation, groups=groups, bias=bias)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        x, padding = _pad(x, self.window)
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class WindowMaxPool2d(nn.Module):
    """The maximum over the real pixels of a window."""

    def __init__(self, window: Window):
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W)."""
        x, padding = _pad(x, self.window, value=float("-inf"))
        return functional.max_pool2d(x, self.window.kernel, self.window.stride, padding)


class WindowAvgPool2d(WindowMaxPool2d):
    """The average over the real pixels of a window."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W)."""
        padded, padding = _pad(x, self.window)
        result = functional.avg_pool2d(padded, self.window.kernel, self.window.stride, padding, count_include_pad=False)
        if padded is x:
            return result
        real, _ = _pad(x.new_ones(1, 1, *x.shape[2:]), self.window)
        return result / functional.avg_pool2d(real, self.window.kernel, self.window.stride)


class PixelLinear(nn.Linear):
    """A dense layer on the channels of every pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C_out, H, W)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class GlobalMean(nn.Module):
    """The mean over all pixels, as a 1x1 map."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 1, 1)."""
        return x.mean((2, 3), keepdim=True)


class Zero(nn.Module):
    """Zeros of the input's shape that still pass gradients (of zero)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to zeros of the same shape."""
        return x * 0


@LAYERS.register("conv", "depthwise")
def _conv(step: Step) -> nn.Module:
    check_convolution(step)
    c_in, c_out = step.node.resolution[4:]
    return WindowConv2d(c_in, c_out, window_of(step), step.use_bias, groups=c_in if step.op == "depthwise" else 1)


@LAYERS.register("batchnorm")
def _batchnorm(step: Step) -> nn.Module:
    # Torch's momentum is the weight of the new value: 0.01 is TensorFlow's 0.99.
    return nn.BatchNorm2d(step.node.resolution[4], eps=1e-3, momentum=0.01)


@LAYERS.register("matmul")
def _matmul(step: Step) -> nn.Module:
    return PixelLinear(*step.node.resolution[4:])


@LAYERS.register("maxpool")
def _maxpool(step: Step) -> nn.Module:
    return WindowMaxPool2d(window_of(step))


@LAYERS.register("avgpool")
def _avgpool(step: Step) -> nn.Module:
    return WindowAvgPool2d(window_of(step))


@LAYERS.register("mean", "global")
def _mean(step: Step) -> nn.Module:
    return GlobalMean()


@LAYERS.register("paddings")
def _paddings(step: Step) -> nn.Module:
    metadata = step.node.metadata or {}
    return nn.ZeroPad2d((*metadata.get("pad_w", (0, 0)), *metadata.get("pad_h", (0, 0))))


@LAYERS.register("zero")
def _zero(step: Step) -> nn.Module:
    return Zero()


@LAYERS.register("input", "output", "identity", "add", "mul", "concat")
def _identity(step: Step) -> nn.Module:
    return nn.Identity()


@LAYERS.register("relu", "relu6", "sigmoid", "tanh", "swish", "gelu")
def _activation(step: Step) -> nn.Module:
    kinds = {
        "relu": nn.ReLU, "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "swish": nn.SiLU, "gelu": nn.GELU,
    }  # fmt: skip
    return kinds[step.op]()
