"""Computation graph -> a PyTorch module in a Python file of its own, which needs nothing but PyTorch."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from model_src.comp_graph.exporters.trace import IMAGE, TracedStep, trace
from model_src.comp_graph.ops import Backend, Channels
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.sizes import window_of
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.files import atomic_write, save_text

_PAD_SAME = '''
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
_SAME = {
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


def _form(traced: TracedStep) -> Writer:
    """How an operation is written: as registered, otherwise a layer of PyTorch's own as PyTorch prints it.

    Raises:
        ValueError: Neither is possible.
    """
    is_own = type(traced.layer).__module__.startswith("torch.nn.") and not list(traced.layer.children())
    if traced.step.op not in FORMS and is_own:
        return lambda traced, x, name: Code(f"self.{name}({x})", f"nn.{traced.layer!r}")
    return traced.step.function_in(FORMS)


def save_module(cg: ComputeGraph, path: str | Path, network: TorchNetwork) -> Path:
    """Write the Python file of a network; see `module_source`.

    Returns:
        The path.
    """
    path = Path(path)
    save_text(module_source(cg, network, path.stem), path)
    return path


def save_weights(network: TorchNetwork, path: str | Path) -> Path:
    """Write the weights of a network for its Python file; `torch.load(path, weights_only=True)` reads them.

    Returns:
        The path.
    """
    path = Path(path)
    with atomic_write(path) as file:
        torch.save(module_state(network), file)
    return path


def module_state(network: TorchNetwork) -> dict[str, torch.Tensor]:
    """The weights of a network under the names that they have in its Python file."""
    names = _attributes(network)
    return {
        f"{names[step.name]}.{key}": value
        for step in network.plan.steps
        for key, value in network.layers[step.name].state_dict().items()
    }


def module_source(cg: ComputeGraph, network: TorchNetwork, file_name: str = "network") -> str:
    """The source of a class `Network`: one line per operation, with the size (C x H x W) of its result behind it.

    It computes what `network` computes. Nothing that a graph says gets into the code, except numbers and its letters,
    digits and underscores.

    Args:
        cg: The graph.
        network: Its network; weights are not written.
        file_name: Name of the file without suffix, for the example in its docstring.

    Raises:
        ValueError: An operation cannot be written, or a node gets fewer channels than it needs.
    """
    steps, names = trace(cg, network), _attributes(network)
    layers = []
    for traced in steps:
        name = names[traced.step.name]
        if constructor := _form(traced)(traced, "x", name).layer:
            layers.append(f"        self.{name} = {constructor}")
    code = "\n".join([*layers, "", "    def forward(self, x):", *_forward(steps, names, network)])
    helpers = [text for name, text in _SAME.items() if f"{name}(" in code]
    helpers = [_PAD_SAME, *helpers] if helpers else []
    return f'''"""{_docstring(cg, network, re.sub(r"[^A-Za-z0-9_]", "_", file_name))}"""

import torch
from torch import nn
from torch.nn import functional as F
{"".join(chr(10) + text for text in helpers)}

class Network(nn.Module):
    def __init__(self):
        super().__init__()
{code}
'''


def _attributes(network: TorchNetwork) -> dict[str, str]:
    """Per step name, `op_7/conv`, the name of its layer in the Python file, `conv_7`."""
    names: dict[str, str] = {}
    for position, step in enumerate(network.plan.steps):
        ident = step.name.removeprefix("op_").rpartition("/")[0]
        name = f"{step.op}_{ident}"
        if not re.fullmatch("[A-Za-z0-9_]+", name) or name in names.values():
            name = f"{step.op}_at_{position}"
        names[step.name] = name
    return names


def _docstring(cg: ComputeGraph, network: TorchNetwork, file_name: str) -> str:
    _, h, w, c = cg.input_shape
    parameters = sum(parameter.numel() for parameter in network.parameters())
    mflops = 2 * graph_macs(cg) / 1e6
    return f"""{re.sub(r"[^A-Za-z0-9_. -]", "_", cg.name) or "Network"}, for images of {c} x {h} x {w}.

{parameters:,} parameters; {mflops:,.3f} million FLOPs an image, twice the multiply-accumulates. Written by AutoGO.

    from {file_name} import Network

    network = Network()
    network.load_state_dict(torch.load("{file_name}.pt", weights_only=True))
"""


def _forward(steps: list[TracedStep], names: dict[str, str], network: TorchNetwork) -> list[str]:
    """The lines of `forward`. A variable is used again as soon as nobody needs what is in it."""
    roots = {IMAGE: IMAGE}  # what a step's result is, where it hands on its only input
    for position, traced in enumerate(steps):
        passes = _form(traced) is _passed_on and traced.slices == (None,)
        roots[position] = roots[traced.sources[0]] if passes else position
    last_use = {roots[source]: p for p, traced in enumerate(steps) for source in traced.sources if roots[p] == p}
    last_use |= {roots[position]: len(steps) for position in network.plan.outputs}
    variables, lines = {IMAGE: "x"}, []
    free: list[str] = []
    for position, traced in enumerate(steps):
        if roots[position] != position:
            continue
        sources = [roots[source] for source in traced.sources]
        call = _call(traced, [variables[source] for source in sources], names[traced.step.name])
        done = dict.fromkeys(source for source in sources if last_use[source] == position)
        free = sorted([variables.pop(source) for source in done] + free, key=lambda name: (len(name), name))
        variables[position] = free.pop(0) if free else f"x{len(variables)}"
        size = " x ".join(map(str, traced.after))
        lines.append(f"        {variables[position]} = {call}  # {size}")
    results = [variables[roots[position]] for position in network.plan.outputs]
    squeezed = len(results) == 1 and network.squeeze_output
    result = f"{results[0]}.flatten(1)" if squeezed else ", ".join(results)
    return [*lines, f"        return {result if len(results) == 1 else f'[{result}]'}"]


def _call(traced: TracedStep, inputs: list[str], name: str) -> str:
    """The expression of a step."""
    operation = traced.step.operation
    inputs = [x if width is None else f"{x}[:, :{width}]" for x, width in zip(inputs, traced.slices, strict=True)]
    if operation.channels is Channels.SUMMED:
        return f"torch.cat([{', '.join(inputs)}], 1)"
    x = (" * " if operation.is_product else " + ").join(inputs)
    return _form(traced)(traced, x, name).call


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
def _passed_on(traced: TracedStep, x: str, name: str) -> Code:
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
FORMS.register("mean", "global")(_function("torch.mean({}, (2, 3), keepdim=True)"))


@FORMS.register("zero")
def _zero(traced: TracedStep, x: str, name: str) -> Code:
    return Code(f"0 * {_operand(x)}")


@FORMS.register("conv", "depthwise")
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
