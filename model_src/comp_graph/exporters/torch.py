"""Computation graph -> a PyTorch module in a Python file of its own, which needs nothing but PyTorch."""

import re
from pathlib import Path

import torch

from model_src.comp_graph.exporters.names import attribute_names
from model_src.comp_graph.exporters.torch_forms import form_of, passed_on
from model_src.comp_graph.exporters.trace import IMAGE, TracedStep, trace
from model_src.comp_graph.ops import Channels
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.files import atomic_write, save_text

_FINETUNING = Path(__file__).with_name("finetune.py")


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


def save_finetuning(path: str | Path) -> Path:
    """Write a script that trains exported modules beside it on a folder of images.

    Returns:
        The path.
    """
    path = Path(path)
    save_text(_FINETUNING.read_text(encoding="utf-8"), path)
    return path


def module_state(network: TorchNetwork) -> dict[str, torch.Tensor]:
    """The weights of a network under the names that they have in its Python file."""
    names = attribute_names(network.plan)
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
    steps, names = trace(cg, network), attribute_names(network.plan)
    written = {name: form_of(traced)(traced, "x", name) for traced in steps for name in [names[traced.step.name]]}
    layers = [f"        self.{name} = {code.layer}" for name, code in written.items() if code.layer]
    regions = [f"\n{code.helper}" for code in written.values() if code.helper]
    _, h, w, c = cg.input_shape
    code = "\n".join([*layers, "", "    def forward(self, x):", *_forward(steps, names, network)])
    return f'''"""{_docstring(cg, network, re.sub(r"[^A-Za-z0-9_]", "_", file_name))}"""

import torch
from torch import nn
from torch.nn import functional as F
{"".join(regions)}

class Network(nn.Module):
    input_size = {(c, h, w)}  # channels, height, width; windows are padded for it

    def __init__(self):
        super().__init__()
{code}
'''


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
        passes = form_of(traced) is passed_on and traced.slices == (None,)
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
    x = (", " if operation.reads_apart else " * " if operation.is_product else " + ").join(inputs)
    return form_of(traced)(traced, x, name).call
