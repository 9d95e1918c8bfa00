"""Operations that only move the numbers of a map, whatever steps they take: what they do is tried on numbers."""

from collections.abc import Sequence

import numpy as np
import torch

from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.channels import order_channels, range_of, take_parts
from model_src.comp_graph.importers.onnx.op import OnnxOp
from model_src.comp_graph.importers.onnx.region_text import MOVES, RegionWriter
from model_src.comp_graph.networks.torch_region import RegionLayer
from model_src.comp_graph.networks.torch_windows import Blocks


def rearranged(builder: Builder, ops: Sequence[OnnxOp], names: Sequence[str]) -> Value | None:
    """A map whose channels are taken, ordered, or exchanged for blocks of pixels; None for anything else.

    Args:
        builder: Takes the nodes.
        ops: They give a map or vector.
        names: The values that they read.
    """
    if len(names) != 1 or any(op.type not in MOVES for op in ops):
        return None
    x, last = builder.values[names[0]], ops[-1]
    h, w, c = builder.size(x)
    places = torch.arange(c * h * w, dtype=torch.float64).reshape(1, c, h, w)
    result = _run(builder, ops, names, places)
    if result is None:
        return None
    kind = _of_channels if result.shape[2:] == (h, w) else _of_blocks
    value = kind(builder, last.name, x, places, result)
    axes = "NCHW" if len(builder.shape(last.outputs[0])) == 4 else "NC"
    return None if value is None else value._replace(axes=axes)


def _run(builder: Builder, ops: Sequence[OnnxOp], names: Sequence[str], places: torch.Tensor) -> torch.Tensor | None:
    writer = RegionWriter(builder, names)
    try:
        for op in ops:
            writer.add(op)
        result: torch.Tensor = RegionLayer(writer.region(ops[-1].outputs[0]))(places)
    except (IndexError, RuntimeError, ValueError):
        return None
    return result


def _of_channels(builder: Builder, name: str, x: Value, places: torch.Tensor, result: torch.Tensor) -> Value | None:
    index = _owners(places, result[:, :, :1, :1].flatten())
    if not torch.equal(result, places[:, index]):
        return None
    h, w, c = builder.size(x)
    part = range_of(index)
    if part == (0, c, 1):
        return x
    if part is not None:
        return take_parts(builder, name, x, {"C": part})
    return order_channels(builder, name, x, (h, w, len(index)), index)


def _owners(places: torch.Tensor, first: torch.Tensor) -> np.ndarray:
    """The channels of a map in which some of its numbers are."""
    return (first / places[0, 0].numel()).floor().long().numpy()


def _of_blocks(builder: Builder, name: str, x: Value, places: torch.Tensor, result: torch.Tensor) -> Value | None:
    """Blocks of pixels that become channels, or channels that become such blocks, in any order of channels."""
    (h, w, c), (c_out, h_out, w_out) = builder.size(x), result.shape[1:]
    is_split = h_out * w_out > h * w
    (long, wide), (short, narrow) = ((h_out, w_out), (h, w)) if is_split else ((h, w), (h_out, w_out))
    size = (long // short, wide // narrow)
    if (short * size[0], narrow * size[1]) != (long, wide) or c * h * w != c_out * h_out * w_out:
        return None
    for is_first in (True, False):
        joined = Blocks(size, False, is_first)
        before, after = (places, joined(result)) if is_split else (joined(places), result)
        firsts, order = before[0, :, 0, 0].sort()
        found = torch.searchsorted(firsts, after[0, :, 0, 0].contiguous()).clamp(max=len(firsts) - 1)
        index = order[found].numpy()
        is_ordered = np.array_equal(index, np.arange(len(index)))
        if not torch.equal(before[:, index], after) or (is_first and not is_ordered):
            continue
        if is_split and not is_ordered:
            x = order_channels(builder, name, x, (h, w, c), index)
        kind, metadata = "depthtospacend" if is_split else "spacetodepthnd", {"order": "channels"} if is_first else None
        after_size, positive = (h_out, w_out, c_out), builder.is_positive(x)
        x = builder.node(kind, name, [x], after_size, positive=positive, metadata=metadata)
        return x if is_split or is_ordered else order_channels(builder, name, x, after_size, index)
    return None
