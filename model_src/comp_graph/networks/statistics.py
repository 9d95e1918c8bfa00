"""Statistics of batch normalisations, taken anew from images, and how far networks' results are from each other."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork

_BATCH = 32  # images at a time


def noise(cg: ComputeGraph, n: int, seed: int = 0) -> Tensor:
    """Images (n, C, H, W) for a network, every number drawn from a normal distribution."""
    _, h, w, c = cg.input_shape
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed))


def take_statistics(network: TorchNetwork, images: Tensor, node_ids: Collection[str] | None = None) -> None:
    """Take the statistics of batch normalisations from images, in one pass.

    Args:
        network: It is changed, and in inference mode afterwards.
        images: At least two, (n, C, H, W), as the network is to see them.
        node_ids: Nodes whose statistics are taken; None takes those of all.
    """
    network.eval()
    layers = [
        network.layers[step.name]
        for step in network.plan.steps
        if step.op == "batchnorm" and (node_ids is None or step.node.str_id in node_ids)
    ]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in images.tensor_split(-(-len(images) // _BATCH)):
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def distance(network: TorchNetwork, other: TorchNetwork, images: Tensor) -> float:
    """How far a network's result is from another's: the difference's norm over the norm of the other's.

    Returns:
        0 if they are the same, nan if they have several results, or results of different shapes.
    """
    with torch.no_grad():
        ours, theirs = (
            [one(batch) for batch in images.tensor_split(-(-len(images) // _BATCH))] for one in (network, other)
        )
    if not all(isinstance(one, Tensor) for one in [*ours, *theirs]) or ours[0].shape != theirs[0].shape:
        return float("nan")
    joined, expected = torch.cat(ours), torch.cat(theirs)
    return float((joined - expected).norm() / expected.norm())
