"""The weights that a PyTorch network begins with: fresh ones, and those that it inherits."""

from typing import Any

import numpy as np
import torch
from torch import nn

from model_src.comp_graph.inheritance import Inheritance
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork, build_torch_network
from model_src.comp_graph.weights import WeightedGraph, check_shapes
from model_src.files import InputError


def initial_network(cg: ComputeGraph, seed: int, inherited: Inheritance | None = None, **options: Any) -> TorchNetwork:
    """The network of a graph with the weights that it begins a training with.

    Args:
        cg: The graph.
        seed: Of the weights that are drawn, see `draw_weights`.
        inherited: Weights that it has from elsewhere, see `take_weights`.
        **options: As for `TorchNetwork`.

    Raises:
        ValueError: The network cannot be built, or the weights have other shapes than the network's.
    """
    network = build_torch_network(cg, seed=seed, **options)
    draw_weights(network, seed)
    if inherited is not None:
        take_weights(network, cg, inherited)
    return network


def draw_weights(network: TorchNetwork, seed: int) -> None:
    """Give a network weights as the published TensorFlow network draws them.

    He for convolutions, Glorot for dense layers, zero biases; drawn on the CPU, so that every device has the same.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.ConvTranspose2d):  # its kernels begin with the channels that it reads
            nn.init.kaiming_uniform_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def check_weights(source: WeightedGraph) -> None:
    """Check that weights are all that the layers of their graph have, and no others.

    Raises:
        InputError: They are not; the text names the layer.
    """
    weights = source.weights or {}
    if foreign := next(iter(weights.keys() - {node.str_id for node in source.graph.nodes}), None):
        raise InputError(f"{source.graph.name}: there are weights of node {foreign!r}, which the graph does not have")
    with torch.device("meta"):
        network = build_torch_network(source.graph, 0)
    for step in network.plan.steps:
        wanted = {name: tuple(one.shape) for name, one in network.layers[step.name].state_dict().items()}
        found = {name: np.shape(one) for name, one in weights.get(step.node.str_id, {}).items()}
        for name in sorted(wanted.keys() | found.keys()):
            own, given = wanted.get(name, "none"), found.get(name, "none")
            if own != given and not (given == "none" and name.endswith("num_batches_tracked")):  # which says nothing
                raise InputError(step.error(f"its {name} has shape {own}, in the weights that are given {given}"))


def take_weights(network: TorchNetwork, cg: ComputeGraph, inherited: Inheritance) -> None:
    """Give the network of a graph what it inherits; branches that are new and end in a sum add nothing at first.

    Raises:
        ValueError: The weights have other shapes than the network's.
    """
    state = WeightedGraph(cg, inherited.weights).state()
    check_shapes(state, {name: tuple(one.shape) for name, one in network.state_dict().items()})
    network.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()}, strict=False)
    for step in network.plan.steps:
        if step.node.str_id in inherited.harmless:
            for parameter in network.layers[step.name].parameters():
                nn.init.zeros_(parameter)
