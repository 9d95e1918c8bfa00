"""The PyTorch layer (NCHW) of every operation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model_src.comp_graph.moves import added_channels_of, block_of, choice_of, index_of, parts_of, repeats_of
from model_src.comp_graph.networks.plan import LRN_DEFAULTS, Step, check_convolution
from model_src.comp_graph.networks.torch_modules import Broadcast, Gather, PixelLayerNorm, Slice
from model_src.comp_graph.networks.torch_region import RegionLayer
from model_src.comp_graph.networks.torch_windows import (
    Blocks,
    Resize,
    TransposedConv2d,
    WindowAvgPool2d,
    WindowConv2d,
    WindowMaxPool2d,
)
from model_src.comp_graph.ops import Backend, Channels
from model_src.comp_graph.region import region_of
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.sizes import crops_of, factors_of, pairs_of, window_of

LayerBuilder = Callable[[Step], nn.Module]

LAYERS: Registry[LayerBuilder] = Registry(Backend.TORCH)


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
    rows, columns = pairs_of(step.node, "pad_h", "pad_w")
    pads, value = (*columns, *rows), step.number("value", 0.0)
    kinds = {"reflect": nn.ReflectionPad2d, "edge": nn.ReplicationPad2d, "wrap": nn.CircularPad2d}
    mode = choice_of(step.node, "mode")
    if mode == "constant":
        return nn.ConstantPad2d(pads, value) if value else nn.ZeroPad2d(pads)
    return kinds[mode](pads)


@LAYERS.register("pad_channels")
def _pad_channels(step: Step) -> nn.Module:
    return nn.ZeroPad3d((0, 0, 0, 0, *added_channels_of(step.node)))


@LAYERS.register("conv2d_transpose")
def _transposed(step: Step) -> nn.Module:
    c_in, c_out = step.node.resolution[4:]
    crops = crops_of(step.node)
    return TransposedConv2d(c_in, c_out, window_of(step.node), crops, step.use_bias, step.node.groups)


@LAYERS.register("resize")
def _resize(step: Step) -> nn.Module:
    mode = choice_of(step.node, "mode")
    corners = mode in ("bilinear", "bicubic") and choice_of(step.node, "corners")
    return Resize(factors_of(step.node), mode, corners if mode in ("bilinear", "bicubic") else None)


@LAYERS.register("depthtospacend", "spacetodepthnd")
def _blocks(step: Step) -> nn.Module:
    return Blocks(block_of(step.node), step.op == "depthtospacend", choice_of(step.node, "order") == "channels")


@LAYERS.register("globalmax")
def _globalmax(step: Step) -> nn.Module:
    return nn.AdaptiveMaxPool2d(1)


@LAYERS.register("lrn")
def _lrn(step: Step) -> nn.Module:
    alpha, beta, k = (step.number(name, default) for name, default in LRN_DEFAULTS.items())
    return nn.LocalResponseNorm(int(step.number("size", 5)), alpha, beta, k)


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
