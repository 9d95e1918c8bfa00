"""Computation graph -> a PyTorch module in a Python file of its own, which needs nothing but PyTorch."""

import keyword
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from model_src.comp_graph.network_plan import window_of
from model_src.comp_graph.network_trace import IMAGE, Shape, TracedStep, trace
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.files import atomic_write, save_text

_CLASS = "Network"


def save_module(cg: ComputeGraph, path: str | Path, network: TorchNetwork) -> Path:
    """Write the Python file of a network; see `module_source`.

    Returns:
        The path.
    """
    path = Path(path)
    save_text(module_source(cg, network, path.stem), path)
    return path


def save_weights(network: TorchNetwork, path: str | Path) -> Path:
    """Write the weights of a network as a state dictionary for its Python file; `torch.load(weights_only=True)` reads it.

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
    """The source of a module with one line per node and the size of every result behind it.

    It computes what `network` computes, for an image of any size that fits the graph. No text of the graph gets into
    the code, except letters, digits and underscores.

    Args:
        cg: The graph.
        network: Its network; only its structure is written.
        file_name: Name of the file without suffix, for the example in its docstring.

    Raises:
        ValueError: An operation cannot be written, or a node gets fewer channels than it needs.
    """
    steps, names = trace(cg, network), _attributes(network)
    lines = [_line(traced, names[traced.step.name]) for traced in steps]
    helpers = [source for name, source in _HELPERS.items() if any(f"{name}(" in line.layer for line in lines)]
    layers = [_commented(f"self.{line.attribute} = {line.layer}", line.before_after) for line in lines if line.layer]
    calls, result = _calls(steps, lines, network)
    body = [*(f"        {line}" for line in layers), "", "    def forward(self, x):", *(f"        {c}" for c in calls)]
    return "\n".join(
        [
            _docstring(cg, file_name, steps, network),
            "import torch",
            "from torch import nn",
            "from torch.nn import functional as F",
            *helpers,
            f"\n\nclass {_CLASS}(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *body,
            f"        return {result}\n",
        ]
    )
