"""Computation graph -> PyTorch network (NCHW), computing what the TensorFlow network computes."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from model_src.comp_graph.networks.plan import Step, plan_network
from model_src.comp_graph.networks.torch_layers import (
    LAYERS,
    GlobalMean,
    LayerBuilder,
    PixelLinear,
    Zero,
)
from model_src.comp_graph.networks.torch_windows import WindowAvgPool2d, WindowConv2d, WindowMaxPool2d
from model_src.comp_graph.ops import Channels
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.tf_comp_graph import ComputeGraph

__all__ = [
    "LAYERS",
    "GlobalMean",
    "PixelLinear",
    "TorchNetwork",
    "WindowAvgPool2d",
    "WindowConv2d",
    "WindowMaxPool2d",
    "Zero",
    "build_torch_network",
]


class TorchNetwork(nn.Module):
    """The network of a graph, one layer per node, stored in `layers` under `op_{id}/{operation}`.

    Several inputs of a node are concatenated (concat), multiplied (mul) or summed (every other operation) after all
    were cut to the narrowest; a single input is cut to the node's input channels.

    Shapes:
        Input (N, C, H, W). Output (N, C) if squeezed, else (N, C, H, W); with several output nodes a list of maps.

    Args:
        cg: The graph.
        squeeze_output: Drop the two axes of a single 1x1 output map.
        op_overrides: Name of an operation -> name of the one to build instead, as {"batchnorm": "identity"}.
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
        layers: Registry[LayerBuilder] = LAYERS,
    ):
        super().__init__()
        self.plan = plan_network(cg, op_overrides, enable_bias)
        self.squeeze_output = squeeze_output
        self.layers = nn.ModuleDict({step.name: step.function_in(layers)(step) for step in self.plan.steps})

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
            results[position] = layer(*inputs) if step.operation.reads_apart else layer(_join(inputs, step))
        outputs = [results[position] for position in self.plan.outputs]
        if len(outputs) > 1:
            return outputs
        return _squeeze(outputs[0]) if self.squeeze_output else outputs[0]


def build_torch_network(cg: ComputeGraph, seed: int | None = None, **options: Any) -> TorchNetwork:
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
    if step.operation.channels is Channels.SUMMED:
        return torch.cat(inputs, 1)
    width = step.input_width([x.shape[1] for x in inputs])
    inputs = [x if x.shape[1] == width else x[:, :width] for x in inputs]
    return reduce(torch.mul if step.operation.is_product else torch.add, inputs)
