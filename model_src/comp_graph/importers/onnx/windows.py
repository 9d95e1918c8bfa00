"""How the windows of ONNX operations are padded, in a graph's ways: same, valid, explicit, a padding node."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.op import OnnxOp, shortest
from model_src.comp_graph.sizes import UNPADDED, Pads, same_padding


def pair(op: OnnxOp, name: str) -> tuple[int, int]:
    """An attribute of a window along both axes, (1, 1) by default."""
    values = tuple(op.attributes.get(name) or (1, 1))
    if len(values) != 2:
        raise op.error(f"its {name} {values} are not those of an image")
    return values[0], values[1]


def _pads(op: OnnxOp, sizes: Sequence[int], kernel: Sequence[int], outputs: Sequence[int]) -> Pads:
    """Pixels that the windows cover before and after the map, whatever the attributes call them."""
    stride, dilation = pair(op, "strides"), pair(op, "dilations")
    mode, given = op.attributes.get("auto_pad", b"NOTSET").decode(), op.attributes.get("pads") or (0, 0, 0, 0)
    pads: list[tuple[int, int]] = []
    for axis in range(2):
        extra = (outputs[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - sizes[axis]
        before = {"NOTSET": given[axis], "VALID": 0}.get(mode, (max(extra, 0) + (mode == "SAME_LOWER")) // 2)
        if op.attributes.get("ceil_mode") and (outputs[axis] - 1) * stride[axis] >= sizes[axis] + before:
            raise op.error("a window begins behind the map, which frameworks do not agree on; pad it without ceil_mode")
        pads.append((before, max(extra - before, 0)))
    return pads[0], pads[1]


def window(
    builder: Builder,
    op: OnnxOp,
    x: Value,
    kernel: tuple[int, int],
    zeros: bool,
    outer: Pads = UNPADDED,
) -> tuple[Value, dict[str, Any]]:
    """Pad a window: `same` or `valid`; otherwise `valid` behind a padding node of zeros, or `explicit` without zeros.

    Args:
        builder: Takes the padding node.
        op: The convolution or pool.
        x: Its input.
        kernel: (k_h, k_w).
        zeros: Whether the operation computes with zeros around the map.
        outer: Padding in front of the operation that is to be part of it.

    Returns:
        What the window reads, and the node's fields.
    """
    sizes, stride, dilation = builder.size(x)[:2], pair(op, "strides"), pair(op, "dilations")
    padded = [size + sum(pixels) for size, pixels in zip(sizes, outer, strict=True)]
    own = _pads(op, padded, kernel, builder.shape(op.outputs[0])[2:])
    rows, columns = ((a + c, b + d) for (a, b), (c, d) in zip(outer, own, strict=True))
    pads = rows, columns
    same = tuple(same_padding(*axis) for axis in zip(sizes, kernel, stride, dilation, strict=True))
    metadata: dict[str, Any] = {"data_format": "NHWC", "padding": "same" if pads == same else "valid"}
    if pads not in (same, UNPADDED):
        if zeros:
            x = _padding_node(builder, op.name, x, pads)
        else:
            metadata |= {"padding": "explicit", "pads_h": rows, "pads_w": columns}
    return x, {"strides": (1, *stride, 1), "metadata": metadata}


def pool(builder: Builder, op: OnnxOp) -> Value:
    """Read a maximum or an average of the pixels under a window."""
    kernel = pair(op, "kernel_shape")
    is_max = op.type == "MaxPool"
    if any(op.outputs[1:]):
        raise op.error("the places of maxima cannot be represented")
    if is_max:
        x, outer = outer_padding(builder, op, float("-inf"))
        x, fields = window(builder, op, x, kernel, builder.is_positive(x), outer)
    else:
        x, op = _counted(builder, op, kernel)
        x, fields = window(builder, op, x, kernel, False)
    fields["metadata"]["ksize"] = (1, *kernel, 1)
    if (dilation := pair(op, "dilations")) != (1, 1):
        fields["metadata"]["dilations"] = (1, *dilation, 1)
    h, w = builder.shape(op.outputs[0])[2:]
    after, positive = (h, w, builder.size(x)[2]), builder.is_positive(x)
    return builder.node("maxpool" if is_max else "avgpool", op.name, [x], after, positive=positive, **fields)


def _counted(builder: Builder, op: OnnxOp, kernel: tuple[int, int]) -> tuple[Value, OnnxOp]:
    """What an average reads, its padding as a node of its own where zeros of it count; those of ceil_mode never do."""
    x = builder.map(op)
    if pair(op, "dilations") != (1, 1):
        raise op.error("an average of pixels that do not lie side by side cannot be represented")
    if not op.attributes.get("count_include_pad"):
        return x, op
    pads = _pads(op, builder.size(x)[:2], kernel, builder.shape(op.outputs[0])[2:])
    given = op.attributes.get("pads") or (0, 0, 0, 0)
    if op.attributes.get("auto_pad", b"NOTSET") == b"NOTSET":
        pads = (given[0], min(given[2], pads[0][1])), (given[1], min(given[3], pads[1][1]))
    if pads != UNPADDED:
        x = _padding_node(builder, op.name, x, pads)
    return x, op._replace(attributes={**op.attributes, "pads": (0, 0, 0, 0), "auto_pad": b"NOTSET"})


def _pad_operands(builder: Builder, op: OnnxOp) -> dict[str, Any]:
    """The mode, the value and the pixels before and after each of the four axes that an operation pads."""
    operand, value, axes = (builder.constant(op, index) for index in (1, 2, 3))
    pads = [int(number) for number in (op.attributes.get("pads", ()) if operand is None else operand)]
    places = range(4) if axes is None else [int(axis) % 4 for axis in axes]
    ends = zip(pads[: len(places)], pads[len(places) :], strict=True)
    by_axis = {**dict.fromkeys(range(4), (0, 0)), **dict(zip(places, ends, strict=True))}
    filled = float(value.reshape(())) if value is not None else float(op.attributes.get("value", 0.0))
    mode = op.attributes.get("mode", b"constant").decode()
    if by_axis[0] != (0, 0) or min(by_axis[1]) < 0:
        raise op.error(f"it pads images and channels by {by_axis[0]} and {by_axis[1]}; only channels can be added")
    if by_axis[1] != (0, 0) and (filled or mode != "constant"):
        raise op.error(f"it adds channels of {filled if mode == 'constant' else mode}; only those of zeros can be held")
    return {"mode": mode, "value": filled, "channels": by_axis[1], "pads": (by_axis[2], by_axis[3])}


def pad(builder: Builder, op: OnnxOp) -> Value:
    """Read a Pad operation as a node of its own, or two if it adds channels, too."""
    x, found = builder.map(op), _pad_operands(builder, op)
    if not np.isfinite(found["value"]) and found["pads"] != UNPADDED:
        raise op.error(f"it pads with {found['value']:g}, which only a maximum behind it can take")
    if found["channels"] != (0, 0):
        h, w, c = builder.size(x)
        size, metadata = (h, w, c + sum(found["channels"])), {"before": found["channels"][0]}
        positive = builder.is_positive(x)
        x = builder.node("pad_channels", op.name, [x], size, positive=positive, metadata=metadata)
        if found["pads"] == UNPADDED:
            return x
    return _padding_node(builder, op.name, x, found["pads"], found["mode"], found["value"])


def zeros_around(builder: Builder, op: OnnxOp) -> Value | None:
    """A map to which constant channels of zeros are joined; None for anything else."""
    maps = [at for at, name in enumerate(op.inputs) if name in builder.values]
    others = {at: builder.parameter(op, at) for at in range(len(op.inputs)) if builder.is_constant(op.inputs[at])}
    if len(maps) != 1 or len(maps) + len(others) < len(op.inputs) or not others:
        return None
    x = builder.value(op, maps[0])
    if x.axes != "NCHW" or op.attributes["axis"] not in (1, -3) or any(zeros.any() for zeros in others.values()):
        return None
    before = sum(zeros.shape[1] for at, zeros in others.items() if at < maps[0])
    h, w, _ = builder.size(x)
    size, positive = (h, w, builder.shape(op.outputs[0])[1]), builder.is_positive(x)
    return builder.node("pad_channels", op.name, [x], size, positive=positive, metadata={"before": before})


def _padding_node(
    builder: Builder, name: str, x: Value, pads: Pads, mode: str = "constant", value: float = 0.0
) -> Value:
    h, w, c = builder.size(x)
    size = (h + sum(pads[0]), w + sum(pads[1]), c)
    metadata: dict[str, Any] = {"pad_h": pads[0], "pad_w": pads[1]}
    if mode != "constant":
        metadata["mode"] = mode
    elif value:
        metadata["value"] = shortest(value)
    positive = builder.is_positive(x) and value >= 0
    return builder.node("paddings", f"{name}/pad", [x], size, positive=positive, metadata=metadata)


def is_part_of_a_window(builder: Builder, op: OnnxOp) -> bool:
    """Whether an operation pads the input of one convolution or maximum, which then reads it itself."""
    reader = builder.only_reader(op.outputs[0]) if op.type == "Pad" else None
    return reader is not None and reader.type in ("Conv", "MaxPool")


def outer_padding(builder: Builder, op: OnnxOp, value: float) -> tuple[Value, Pads]:
    """The input of a window without the padding operation in front of it, and what that pads with `value`."""
    before = builder.producer(op.inputs[0])
    if before is None or not is_part_of_a_window(builder, before):
        return builder.map(op), UNPADDED
    found = _pad_operands(builder, before)
    is_plain = found["mode"] == "constant" and found["channels"] == (0, 0)
    if is_plain and found["value"] == value and min(map(min, found["pads"])) >= 0:
        return builder.map(before), found["pads"]
    builder.values[op.inputs[0]] = pad(builder, before)
    return builder.map(op), UNPADDED
