"""Computation graph -> a PyTorch module in a Python file of its own, which needs nothing but PyTorch."""

import re
from collections.abc import Callable
from pathlib import Path

import torch

from model_src.comp_graph.exporters.trace import IMAGE, TracedStep, trace
from model_src.comp_graph.networks.plan import window_of
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
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
_FUNCTIONS = {
    "relu": "F.relu({})",
    "relu6": "F.relu6({})",
    "swish": "F.silu({})",
    "gelu": "F.gelu({})",
    "sigmoid": "torch.sigmoid({})",
    "tanh": "torch.tanh({})",
    "mean": "torch.mean({}, (2, 3), keepdim=True)",
    "global": "torch.mean({}, (2, 3), keepdim=True)",
    "zero": "0 * {}",
}
_PASSED_ON = ("input", "output", "identity")
_JOINED = ("add", "mul", "concat", *_PASSED_ON)


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
    layers = [
        f"        self.{names[traced.step.name]} = {_LAYERS[traced.step.op](traced)}"
        for traced in steps
        if traced.step.op in _LAYERS
    ]
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
    names = {}
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
    mflops = compute_cg_flops(cg, OP2I().build_from_file(), allow_zero=True)
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
        passes = traced.step.op in _PASSED_ON and traced.slices == (None,)
        roots[position] = roots[traced.sources[0]] if passes else position
    last_use = {roots[source]: p for p, traced in enumerate(steps) for source in traced.sources if roots[p] == p}
    last_use |= {roots[position]: len(steps) for position in network.plan.outputs}
    variables, free, lines = {IMAGE: "x"}, [], []
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
    op = traced.step.op
    inputs = [x if width is None else f"{x}[:, :{width}]" for x, width in zip(inputs, traced.slices, strict=True)]
    if op == "concat":
        return f"torch.cat([{', '.join(inputs)}], 1)"
    x = (" * " if op == "mul" else " + ").join(inputs)
    if op in _JOINED:
        return x
    if op in _FUNCTIONS:
        return _FUNCTIONS[op].format(f"({x})" if op == "zero" and len(inputs) > 1 else x)
    if op in _CALLS:
        return _CALLS[op](traced, f"({x})" if len(inputs) > 1 else x, name)
    if op in _LAYERS:
        return f"self.{name}({x})"
    raise traced.step.error("it cannot be written as PyTorch code")


def _size(pair: tuple[int, int]) -> str:
    return str(int(pair[0])) if pair[0] == pair[1] else f"({int(pair[0])}, {int(pair[1])})"


def _fixed_padding(traced: TracedStep) -> tuple[int, int] | None:
    """Padding (vertical, horizontal) that is right for a map of any size; None where there is no such."""
    window = window_of(traced.step)
    if not window.same:
        return (0, 0)
    spans = [(kernel - 1) * dilation for kernel, dilation in zip(window.kernel, window.dilation, strict=True)]
    if all(span == 0 for span in spans):
        return (0, 0)
    return None if window.stride != (1, 1) or any(span % 2 for span in spans) else (spans[0] // 2, spans[1] // 2)


def _conv(traced: TracedStep) -> str:
    window, padding = window_of(traced.step), _fixed_padding(traced)
    options = {
        "stride": window.stride != (1, 1) and _size(window.stride),
        "padding": padding not in (None, (0, 0)) and _size(padding),
        "dilation": window.dilation != (1, 1) and _size(window.dilation),
        "groups": traced.layer.groups > 1 and str(traced.layer.groups),
        "bias": traced.layer.bias is None and "False",
    }
    given = "".join(f", {key}={value}" for key, value in options.items() if value)
    channels = f"{traced.layer.in_channels}, {traced.layer.out_channels}"
    return f"{'SameConv2d' if padding is None else 'nn.Conv2d'}({channels}, {_size(window.kernel)}{given})"


def _batchnorm(traced: TracedStep) -> str:
    layer = traced.layer
    return f"nn.BatchNorm2d({layer.num_features}, eps={layer.eps}, momentum={layer.momentum})"


def _matmul(traced: TracedStep) -> str:
    return f"nn.Linear({traced.layer.in_features}, {traced.layer.out_features})"


def _call_matmul(traced: TracedStep, x: str, name: str) -> str:
    if traced.before[1:] == (1, 1):
        return f"self.{name}({x}.flatten(1))[:, :, None, None]"
    return f"self.{name}({x}.movedim(1, -1)).movedim(-1, 1)"


def _call_pool(traced: TracedStep, x: str, name: str) -> str:
    kind = "max_pool" if traced.step.op == "maxpool" else "avg_pool"
    window, padding = window_of(traced.step), _fixed_padding(traced)
    sizes = f"{x}, {_size(window.kernel)}, {_size(window.stride)}"
    if padding is None:
        return f"{kind}_same({sizes})"
    if padding == (0, 0):
        return f"F.{kind}2d({sizes})"
    return f"F.{kind}2d({sizes}, {_size(padding)}{', count_include_pad=False' if kind == 'avg_pool' else ''})"


def _call_paddings(traced: TracedStep, x: str, name: str) -> str:
    return f"F.pad({x}, {tuple(map(int, traced.layer.padding))})"


_LAYERS: dict[str, Callable[[TracedStep], str]] = {
    "conv": _conv,
    "depthwise": _conv,
    "batchnorm": _batchnorm,
    "matmul": _matmul,
}
_CALLS: dict[str, Callable[[TracedStep, str, str], str]] = {
    "matmul": _call_matmul,
    "maxpool": _call_pool,
    "avgpool": _call_pool,
    "paddings": _call_paddings,
}
