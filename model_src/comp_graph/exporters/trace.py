"""A PyTorch network of a graph with the sizes that its maps really have: what exporters write down."""

import copy
from typing import Any, NamedTuple

import torch
from torch import nn

from model_src.comp_graph.networks.plan import Step, plan_network
from model_src.comp_graph.ops import Channels
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork

MapShape = tuple[int, int, int]  # (C, H, W), the order of PyTorch
IMAGE = -1  # the source of a step that reads the network's input


class TracedStep(NamedTuple):
    """A step with its layer and sizes."""

    step: Step
    layer: Any  # a module; what it has besides depends on the operation
    sources: tuple[int, ...]  # positions of earlier steps, or IMAGE
    slices: tuple[int | None, ...]  # per source, how many of its channels are read; None: all
    before: MapShape  # what the layer gets, after its inputs were sliced and joined
    after: MapShape


def check_network(cg: ComputeGraph, network: TorchNetwork) -> None:
    """Check that a network is one of this graph.

    Raises:
        ValueError: It is one of another graph, or does more than run the graph's nodes.
    """
    if type(network) is not TorchNetwork:
        raise ValueError(f"a {type(network).__name__} is more than its graph; only a TorchNetwork can be written")
    own, others = (
        [(step.node.str_id, step.node.digest, step.sources) for step in plan.steps]
        for plan in (plan_network(cg), network.plan)
    )
    if own != others:
        differ = [other[0] for one, other in zip(own, others, strict=False) if one != other]
        at = f"node {differ[0]}" if differ else "the end"
        raise ValueError(f"the network is one of another graph than {cg.name}: they differ at {at}")


def trace(cg: ComputeGraph, network: TorchNetwork) -> list[TracedStep]:
    """Run a network on shapes alone (no memory, no arithmetic), for an image of the graph's input size.

    Raises:
        ValueError: A node gets fewer channels than it needs; or see `check_network`.
    """
    check_network(cg, network)
    _, h, w, c = cg.input_shape
    twin = copy.deepcopy(network).to("meta").eval()
    sizes: dict[str, tuple[MapShape, MapShape]] = {}
    for name, layer in twin.layers.items():
        layer.register_forward_hook(lambda _, x, y, name=name: sizes.update({name: (_shape(x[0]), _shape(y))}))
    with torch.inference_mode():
        twin(torch.empty(1, c, h, w, device="meta"))
    shapes = {IMAGE: (c, h, w)} | {i: sizes[step.name][1] for i, step in enumerate(network.plan.steps)}
    return [_traced(step, network.layers[step.name], *sizes[step.name], shapes) for step in network.plan.steps]


def _traced(step: Step, layer: nn.Module, before: MapShape, after: MapShape, shapes: dict[int, MapShape]) -> TracedStep:
    sources = step.sources or (IMAGE,)
    is_whole = step.operation.channels is Channels.SUMMED or step.operation.reads_apart
    kept = None if is_whole else before[0]
    slices = tuple(kept if kept is not None and shapes[source][0] > kept else None for source in sources)
    return TracedStep(step, layer, sources, slices, before, after)


def _shape(x: torch.Tensor) -> MapShape:
    _, c, h, w = x.shape
    return c, h, w
