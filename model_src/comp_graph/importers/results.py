"""The result of a graph's network, a map, in the shape that the original's has."""

import torch
from torch import Tensor

from model_src.comp_graph.importers.imported import LeftOut


def laid_out(axes: str, result: Tensor) -> Tensor:
    """A map (N, C, H, W) with its axes in another order, and those in brackets as one.

    Args:
        axes: See `ImportedNetwork.output_axes`; "NC" for a map of one pixel.
        result: The map.
    """
    if axes == "NC":
        return result.flatten(1)
    letters = axes.replace("(", "").replace(")", "")
    ordered = result.permute(["NCHW".index(letter) for letter in letters])
    return ordered.flatten(axes.index("("), axes.index(")") - 2) if "(" in axes else ordered


def completed(left_out: LeftOut, result: Tensor) -> Tensor:
    """A result with the function that the graph leaves out."""
    function = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}[left_out.function]
    return function(result, left_out.axis)


def as_in_original(axes: str, left_out: LeftOut | None, result: Tensor) -> Tensor:
    """What the original gives, from what a network of its graph gives: (N, C, H, W), or (N, C) of one pixel.

    Args:
        axes: See `ImportedNetwork.output_axes`.
        left_out: See `ImportedNetwork`.
        result: Of the network.
    """
    result = laid_out(axes, result if result.ndim == 4 else result[:, :, None, None])
    return result if left_out is None else completed(left_out, result)
