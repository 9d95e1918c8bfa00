"""How every operation is written in a Python file that needs nothing but PyTorch."""

from collections.abc import Callable
from typing import NamedTuple

from model_src.comp_graph.exporters.trace import TracedStep
from model_src.comp_graph.ops import Backend
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.sizes import window_of

PAD_SAME = '''
def pad_same(x, kernel, stride, dilation=1, value=0.0):
    """Pad so that the window gives ceil(size / stride) results, the odd pixel at the bottom and the right."""
    pads = []
    for axis in (3, 2):
        k, s, d = (size if isinstance(size, int) else size[axis - 2] for size in (kernel, stride, dilation))
        total = max((-(-x.shape[axis] // s) - 1) * s + (k - 1) * d + 1 - x.shape[axis], 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)
'''
# Windows whose padding depends on the size of the map; all use `pad_same`. Only those that a network needs are written.
SAME = {
    "SameConv2d": '''
class SameConv2d(nn.Conv2d):
    """A convolution that pads its input with `pad_same`."""

    def forward(self, x):
        return super().forward(pad_same(x, self.kernel_size, self.stride, self.dilation))
''',
    "max_pool_same": '''
def max_pool_same(x, kernel, stride):
    """Maximum over the real pixels of a window."""
    return F.max_pool2d(pad_same(x, kernel, stride, value=float("-inf")), kernel, stride)
''',
    "avg_pool_same": '''
def avg_pool_same(x, kernel, stride):
    """Mean over the real pixels of a window."""
    real = pad_same(torch.ones_like(x[:1, :1]), kernel, stride)
    return F.avg_pool2d(pad_same(x, kernel, stride), kernel, stride) / F.avg_pool2d(real, kernel, stride)
''',
}


class Code(NamedTuple):
    """How a step is written.

    Attributes:
        call: The expression of its result.
        layer: What makes its layer, where it has one.
    """

    call: str
    layer: str | None = None


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


def _fixed_padding(traced: TracedStep) -> tuple[int, int] | None:
    """Padding (vertical, horizontal) that is right for a map of any size; None where there is no such."""
    window = window_of(traced.step.node)
    if not window.same:
        return (0, 0)
    spans = [(kernel - 1) * dilation for kernel, dilation in zip(window.kernel, window.dilation, strict=True)]
    if all(span == 0 for span in spans):
        return (0, 0)
    return None if window.stride != (1, 1) or any(span % 2 for span in spans) else (spans[0] // 2, spans[1] // 2)


def _operand(x: str) -> str:
    """An expression in brackets, where it is a sum or product."""
    return f"({x})" if " + " in x or " * " in x else x


@FORMS.register("input", "output", "identity")
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
    window, padding = window_of(traced.step.node), _fixed_padding(traced)
    options = {
        "stride": window.stride != (1, 1) and _size(window.stride),
        "padding": padding not in (None, (0, 0)) and _size(padding),
        "dilation": window.dilation != (1, 1) and _size(window.dilation),
        "groups": traced.layer.groups > 1 and str(traced.layer.groups),
        "bias": traced.layer.bias is None and "False",
    }
    given = "".join(f", {key}={value}" for key, value in options.items() if value)
    kind = "SameConv2d" if padding is None else "nn.Conv2d"
    channels = f"{traced.layer.in_channels}, {traced.layer.out_channels}"
    return Code(f"self.{name}({x})", f"{kind}({channels}, {_size(window.kernel)}{given})")


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


def _pool(kind: str, options: str) -> Writer:
    def form(traced: TracedStep, x: str, name: str) -> Code:
        window, padding = window_of(traced.step.node), _fixed_padding(traced)
        sizes = f"{_operand(x)}, {_size(window.kernel)}, {_size(window.stride)}"
        if padding is None:
            return Code(f"{kind}_same({sizes})")
        if padding == (0, 0):
            return Code(f"F.{kind}2d({sizes})")
        return Code(f"F.{kind}2d({sizes}, {_size(padding)}{options})")

    return form


FORMS.register("maxpool")(_pool("max_pool", ""))
FORMS.register("avgpool")(_pool("avg_pool", ", count_include_pad=False"))


@FORMS.register("paddings")
def _paddings(traced: TracedStep, x: str, name: str) -> Code:
    return Code(f"F.pad({_operand(x)}, {tuple(map(int, traced.layer.padding))})")
