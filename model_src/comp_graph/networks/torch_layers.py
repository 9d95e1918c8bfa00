"""The PyTorch layer (NCHW) of every operation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.comp_graph.moves import index_of, parts_of, repeats_of
from model_src.comp_graph.networks.plan import Step, check_convolution
from model_src.comp_graph.networks.torch_modules import Broadcast, Gather, PixelLayerNorm, Slice
from model_src.comp_graph.networks.torch_region import RegionLayer
from model_src.comp_graph.ops import Backend, Channels
from model_src.comp_graph.region import region_of
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.sizes import Window, same_padding, window_of

LayerBuilder = Callable[[Step], nn.Module]

LAYERS: Registry[LayerBuilder] = Registry(Backend.TORCH)


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
        if x.dtype is torch.bfloat16 and x.device.type == "cpu":
            return self._convolved(x, padded, padding)
        result = functional.avg_pool2d(padded, self.window.kernel, self.window.stride, padding, count_include_pad=False)
        if padded is x:
            return result
        real, _ = _pad(x.new_ones(1, 1, *x.shape[2:]), self.window)
        return result / functional.avg_pool2d(real, self.window.kernel, self.window.stride)

    def _convolved(self, x: Tensor, padded: Tensor, padding: tuple[int, int]) -> Tensor:
        """The same by convolutions, which in bfloat16 on a CPU take a fifth of the time."""
        ones = x.new_ones(x.shape[1], 1, *self.window.kernel)
        real = torch.ones_like(x[:1])  # of all channels: to repeat one of them is slow
        sums, counts = (
            functional.conv2d(maps, ones, None, self.window.stride, padding, groups=x.shape[1])
            for maps in (padded, real if padded is x else _pad(real, self.window)[0])
        )
        return sums / counts


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


class Scale(nn.Module):
    """A number times the input, plus a number."""

    def __init__(self, factor: float, offset: float):
        super().__init__()
        self.factor, self.offset = factor, offset

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x * self.factor + self.offset


class Reciprocal(nn.Module):
    """One divided by every number."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return torch.reciprocal(x)


@LAYERS.register("conv", "depthwise", "grouped_conv")
def _conv(step: Step) -> nn.Module:
    check_convolution(step)
    c_in, c_out = step.node.resolution[4:]
    return WindowConv2d(
        c_in,
        c_out,
        window_of(step.node),
        step.use_bias,
        groups=c_in if step.operation.channels is Channels.PASSED else step.node.groups,
    )


@LAYERS.register("batchnorm")
def _batchnorm(step: Step) -> nn.Module:
    # Torch's momentum is the weight of the new value: 0.01 is TensorFlow's 0.99.
    return nn.BatchNorm2d(step.node.resolution[4], eps=step.number("epsilon", 1e-3), momentum=0.01)


@LAYERS.register("matmul")
def _matmul(step: Step) -> nn.Module:
    return PixelLinear(*step.node.resolution[4:])


@LAYERS.register("maxpool")
def _maxpool(step: Step) -> nn.Module:
    return WindowMaxPool2d(window_of(step.node))


@LAYERS.register("avgpool")
def _avgpool(step: Step) -> nn.Module:
    return WindowAvgPool2d(window_of(step.node))


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


@LAYERS.register("input", "output", "identity", "port", "add", "mul", "concat")
def _identity(step: Step) -> nn.Module:
    return nn.Identity()


def register_plain(operation: str, layer: type[nn.Module]) -> None:
    """Let a layer that takes no arguments stand for an operation."""
    LAYERS.register(operation)(lambda step: layer())


register_plain("relu", nn.ReLU)
register_plain("relu6", nn.ReLU6)
register_plain("sigmoid", nn.Sigmoid)
register_plain("tanh", nn.Tanh)
register_plain("swish", nn.SiLU)
register_plain("gelu", nn.GELU)
register_plain("hardswish", nn.Hardswish)
register_plain("hardsigmoid", nn.Hardsigmoid)


@LAYERS.register("leakyrelu")
def _leakyrelu(step: Step) -> nn.Module:
    return nn.LeakyReLU(step.number("alpha", 0.01))


@LAYERS.register("elu")
def _elu(step: Step) -> nn.Module:
    return nn.ELU(step.number("alpha", 1.0))


@LAYERS.register("prelu")
def _prelu(step: Step) -> nn.Module:
    return nn.PReLU(step.node.resolution[4])


@LAYERS.register("gelu_tanh")
def _gelu_tanh(step: Step) -> nn.Module:
    return nn.GELU("tanh")


@LAYERS.register("scale")
def _scale(step: Step) -> nn.Module:
    return Scale(step.number("factor", 1.0), step.number("offset", 0.0))


register_plain("reciprocal", Reciprocal)


@LAYERS.register("clip")
def _clip(step: Step) -> nn.Module:
    return nn.Hardtanh(step.number("min", -1.0), step.number("max", 1.0))


@LAYERS.register("slice")
def _slice(step: Step) -> nn.Module:
    return Slice(*parts_of(step.node))


@LAYERS.register("gather")
def _gather(step: Step) -> nn.Module:
    return Gather(index_of(step.node))


@LAYERS.register("shuffle")
def _shuffle(step: Step) -> nn.Module:
    return nn.ChannelShuffle(step.node.groups)


@LAYERS.register("broadcast")
def _broadcast(step: Step) -> nn.Module:
    return Broadcast(*repeats_of(step.node))


@LAYERS.register("layernorm")
def _layernorm(step: Step) -> nn.Module:
    return PixelLayerNorm(step.node.resolution[4], step.number("epsilon", 1e-5))


@LAYERS.register("groupnorm")
def _groupnorm(step: Step) -> nn.Module:
    return nn.GroupNorm(step.node.groups, step.node.resolution[4], step.number("epsilon", 1e-5))


register_plain("softmax", nn.Softmax2d)


@LAYERS.register("opaque")
def _opaque(step: Step) -> nn.Module:
    try:
        return RegionLayer(region_of(step.node))
    except ValueError as error:
        raise step.error(str(error)) from error
