"""How every operation is written in a Python file that needs nothing but PyTorch."""

from collections.abc import Callable
from typing import NamedTuple

from model_src.comp_graph.exporters.trace import TracedStep
from model_src.comp_graph.networks.torch_region import source_of
from model_src.comp_graph.ops import Backend
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.sizes import UNPADDED, Pads, window_of


class Code(NamedTuple):
    """How a step is written.

    Attributes:
        call: The expression of its result.
        layer: What makes its layer, where it has one.
        helper: A class that is written for it.
    """

    call: str
    layer: str | None = None
    helper: str = ""


Writer = Callable[[TracedStep, str, str], Code]  # a step, the expression of what it reads, the name of its layer
FORMS: Registry[Writer] = Registry(Backend.TORCH_EXPORT)


def form_of(traced: TracedStep) -> Writer:
    """How an operation is written: as registered, otherwise a layer of PyTorch's own as PyTorch prints it.

    Raises:
        ValueError: Neither is possible.
    """
    is_own = type(traced.layer).__module__.startswith("torch.nn.") and not list(traced.layer.children())
    if traced.step.op not in FORMS and is_own:
        return lambda traced, x, name: Code(f"self.{name}({x})", f"nn.{traced.layer!r}")
    return traced.step.function_in(FORMS)


def _size(pair: tuple[int, int]) -> str:
    return str(int(pair[0])) if pair[0] == pair[1] else f"({int(pair[0])}, {int(pair[1])})"


def _pads(traced: TracedStep) -> Pads:
    """What a window pads its map with, which has the size that it has in this network."""
    return window_of(traced.step.node).padding(*traced.before[1:])


def _is_even(pads: Pads) -> bool:
    """Whether a window's own padding, the same on both sides, does."""
    return all(before == after for before, after in pads)


def _padded(x: str, pads: Pads, value: str = "") -> str:
    """An expression with pixels around it."""
    (top, bottom), (left, right) = pads
    return f"F.pad({x}, ({left}, {right}, {top}, {bottom}){value})"


def _operand(x: str) -> str:
    """An expression in brackets, where it is a sum or product."""
    return f"({x})" if " + " in x or " * " in x else x


@FORMS.register("input", "output", "identity", "port")
def passed_on(traced: TracedStep, x: str, name: str) -> Code:
    """What the step reads, without a line of its own."""
    return Code(x)


@FORMS.register("add", "mul", "concat")
def _joined(traced: TracedStep, x: str, name: str) -> Code:
    return Code(x)


def _function(template: str) -> Writer:
    return lambda traced, x, name: Code(template.format(x))


FORMS.register("relu")(_function("F.relu({})"))
FORMS.register("relu6")(_function("F.relu6({})"))
FORMS.register("swish")(_function("F.silu({})"))
FORMS.register("gelu")(_function("F.gelu({})"))
FORMS.register("sigmoid")(_function("torch.sigmoid({})"))
FORMS.register("tanh")(_function("torch.tanh({})"))
FORMS.register("reciprocal")(_function("torch.reciprocal({})"))
FORMS.register("mean", "global")(_function("torch.mean({}, (2, 3), keepdim=True)"))


@FORMS.register("zero")
def _zero(traced: TracedStep, x: str, name: str) -> Code:
    return Code(f"0 * {_operand(x)}")


@FORMS.register("scale")
def _scale(traced: TracedStep, x: str, name: str) -> Code:
    factor, offset = traced.layer.factor, traced.layer.offset
    product = f"{factor} * {_operand(x)}"
    return Code(f"{product} + {offset}" if offset else product)


@FORMS.register("conv", "depthwise", "grouped_conv")
def _conv(traced: TracedStep, x: str, name: str) -> Code:
    window, pads = window_of(traced.step.node), _pads(traced)
    rows, columns = pads
    own = (rows[0], columns[0]) if _is_even(pads) else (0, 0)
    options = {
        "stride": window.stride != (1, 1) and _size(window.stride),
        "padding": own != (0, 0) and _size(own),
        "dilation": window.dilation != (1, 1) and _size(window.dilation),
        "groups": traced.layer.groups > 1 and str(traced.layer.groups),
        "bias": traced.layer.bias is None and "False",
    }
    given = "".join(f", {key}={value}" for key, value in options.items() if value)
    channels = f"{traced.layer.in_channels}, {traced.layer.out_channels}"
    x = x if _is_even(pads) else _padded(x, pads)
    return Code(f"self.{name}({x})", f"nn.Conv2d({channels}, {_size(window.kernel)}{given})")


@FORMS.register("batchnorm")
def _batchnorm(traced: TracedStep, x: str, name: str) -> Code:
    layer = traced.layer
    constructor = f"nn.BatchNorm2d({layer.num_features}, eps={layer.eps}, momentum={layer.momentum})"
    return Code(f"self.{name}({x})", constructor)


@FORMS.register("matmul")
def _matmul(traced: TracedStep, x: str, name: str) -> Code:
    call = f"self.{name}({_operand(x)}.movedim(1, -1)).movedim(-1, 1)"
    if traced.before[1:] == (1, 1):
        call = f"self.{name}({_operand(x)}.flatten(1))[:, :, None, None]"
    return Code(call, f"nn.Linear({traced.layer.in_features}, {traced.layer.out_features})")


def _sizes(traced: TracedStep, pads: Pads) -> str:
    """Kernel, stride and, where there is any, padding and dilation of a pool."""
    window, (rows, columns) = window_of(traced.step.node), pads
    own = (rows[0], columns[0])
    sizes = f"{_size(window.kernel)}, {_size(window.stride)}"
    sizes = sizes if own == (0, 0) else f"{sizes}, {_size(own)}"
    return sizes if window.dilation == (1, 1) else f"{sizes}, dilation={_size(window.dilation)}"


@FORMS.register("maxpool")
def _maxpool(traced: TracedStep, x: str, name: str) -> Code:
    pads = _pads(traced)
    if not _is_even(pads):
        x, pads = _padded(x, pads, ', value=float("-inf")'), UNPADDED
    return Code(f"F.max_pool2d({x}, {_sizes(traced, pads)})")


@FORMS.register("avgpool")
def _avgpool(traced: TracedStep, x: str, name: str) -> Code:
    """The mean over real pixels: PyTorch does not count those that padding or `ceil_mode` adds."""
    pads = _pads(traced)
    uncounted = "" if pads == UNPADDED else ", count_include_pad=False"
    if _is_even(pads):
        return Code(f"F.avg_pool2d({x}, {_sizes(traced, pads)}{uncounted})")
    if _is_ceiled(traced, pads):
        return Code(f"F.avg_pool2d({x}, {_sizes(traced, pads)}, ceil_mode=True{uncounted})")
    real = _padded(f"torch.ones_like({x})", pads)
    sizes = _sizes(traced, UNPADDED)
    return Code(f"F.avg_pool2d({_padded(x, pads)}, {sizes}) / F.avg_pool2d({real}, {sizes})")


def _is_ceiled(traced: TracedStep, pads: Pads) -> bool:
    """Whether PyTorch's windows are the same where the last one may stick out."""
    window = window_of(traced.step.node)
    axes = zip(traced.before[1:], traced.after[1:], window.kernel, window.stride, pads, strict=True)
    return all(
        -(-(size + 2 * before - kernel) // stride) + 1 == n_windows and (n_windows - 1) * stride < size + before
        for size, n_windows, kernel, stride, (before, _) in axes
    )


@FORMS.register("paddings")
def _paddings(traced: TracedStep, x: str, name: str) -> Code:
    step, pads = traced.step, tuple(map(int, traced.layer.padding))
    mode, value = (step.node.metadata or {}).get("mode", "constant"), step.number("value", 0.0)
    names = {"reflect": ', mode="reflect"', "edge": ', mode="replicate"', "wrap": ', mode="circular"'}
    option = names.get(mode, f", value={value}" if value else "")
    return Code(f"F.pad({_operand(x)}, {pads}{option})")


@FORMS.register("conv2d_transpose")
def _transposed(traced: TracedStep, x: str, name: str) -> Code:
    layer, (rows, columns) = traced.layer, traced.layer.left_out
    options = {
        "stride": layer.stride != (1, 1) and _size(layer.stride),
        "padding": layer.padding != (0, 0) and _size(layer.padding),
        "output_padding": layer.output_padding != (0, 0) and _size(layer.output_padding),
        "groups": layer.groups > 1 and str(layer.groups),
        "bias": layer.bias is None and "False",
        "dilation": layer.dilation != (1, 1) and _size(layer.dilation),
    }
    given = "".join(f", {key}={value}" for key, value in options.items() if value)
    call = f"self.{name}({x})"
    if (rows, columns) != UNPADDED:
        call = f"F.pad({call}, {tuple(-number for number in (*columns, *rows))})"
    channels = f"{layer.in_channels}, {layer.out_channels}"
    return Code(call, f"nn.ConvTranspose2d({channels}, {_size(layer.kernel_size)}{given})")


@FORMS.register("resize")
def _resize(traced: TracedStep, x: str, name: str) -> Code:
    layer = traced.layer
    size = f"scale_factor={layer.whole}" if layer.whole else f"size={traced.after[1:]}"
    corners = f", align_corners={layer.align_corners}" if layer.align_corners is not None else ""
    return Code(f'F.interpolate({_operand(x)}, {size}, mode="{layer.mode}"{corners})')


@FORMS.register("depthtospacend", "spacetodepthnd")
def _blocks(traced: TracedStep, x: str, name: str) -> Code:
    layer, (c, h, w), x = traced.layer, traced.after, _operand(x)
    if layer.channels_first and layer.size[0] == layer.size[1]:
        function = "pixel_shuffle" if layer.is_split else "pixel_unshuffle"
        return Code(f"F.{function}({x}, {layer.size[0]})")
    parts, order = layer.view(*traced.before)
    return Code(f"{x}.reshape(-1, {', '.join(map(str, parts))}).permute{order}.reshape(-1, {c}, {h}, {w})")


@FORMS.register("globalmax")
def _globalmax(traced: TracedStep, x: str, name: str) -> Code:
    return Code(f"torch.amax({x}, (2, 3), keepdim=True)")


def _range(part: slice, size: int) -> str:
    start, stop = ("" if one == end else str(one) for one, end in ((part.start, 0), (part.stop, size)))
    return f"{start}:{stop}" + (f":{part.step}" if part.step > 1 else "")


@FORMS.register("slice")
def _slice(traced: TracedStep, x: str, name: str) -> Code:
    parts = map(_range, traced.layer.parts, traced.before)
    kept = ", ".join([":", *parts])
    while kept.endswith(", :"):
        kept = kept.removesuffix(", :")
    return Code(f"{_operand(x)}[{kept}]")


@FORMS.register("gather")
def _gather(traced: TracedStep, x: str, name: str) -> Code:
    return Code(f"{_operand(x)}[:, {traced.layer.index.tolist()}]")


@FORMS.register("broadcast")
def _broadcast(traced: TracedStep, x: str, name: str) -> Code:
    return Code(f"{_operand(x)}.expand({', '.join(map(str, (-1, *traced.layer.sizes)))})")


@FORMS.register("layernorm")
def _layernorm(traced: TracedStep, x: str, name: str) -> Code:
    layer = traced.layer
    call = f"self.{name}({_operand(x)}.movedim(1, -1)).movedim(-1, 1)"
    return Code(call, f"nn.LayerNorm({layer.normalized_shape[0]}, eps={layer.eps})")


@FORMS.register("opaque")
def _opaque(traced: TracedStep, x: str, name: str) -> Code:
    kind = f"Region_{name}"
    return Code(f"self.{name}({x})", f"{kind}()", source_of(traced.layer, kind))
