"""How the windows of ONNX operations are padded, in the three ways that a graph has: same, valid, a padding node."""

from collections.abc import Sequence
from typing import Any

from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.op import OnnxOp
from model_src.comp_graph.sizes import same_padding

Pads = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)

UNPADDED: Pads = ((0, 0), (0, 0))


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
        pads.append((before, max(extra - before, 0)))
    return pads[0], pads[1]


def window(
    builder: Builder,
    op: OnnxOp,
    x: Value,
    kernel: tuple[int, int],
    allow_same: bool,
    allow_zeros: bool,
    outer: Pads = UNPADDED,
) -> tuple[Value, dict[str, Any]]:
    """Pad a window: `same`, `valid`, or `valid` behind a padding node.

    Args:
        builder: Takes the padding node.
        op: The convolution or pool.
        x: Its input.
        kernel: (k_h, k_w).
        allow_same: Whether `same` computes what the operation does with padded pixels.
        allow_zeros: Whether zeros around the map do.
        outer: Padding in front of the operation that is to be part of it.

    Returns:
        What the window reads, and the node's fields.

    Raises:
        ValueError: No way of padding computes the same.
    """
    sizes, stride, dilation = builder.size(x)[:2], pair(op, "strides"), pair(op, "dilations")
    padded = [size + sum(pixels) for size, pixels in zip(sizes, outer, strict=True)]
    own = _pads(op, padded, kernel, builder.shape(op.outputs[0])[2:])
    rows, columns = ((a + c, b + d) for (a, b), (c, d) in zip(outer, own, strict=True))
    pads = rows, columns
    same = tuple(same_padding(*axis) for axis in zip(sizes, kernel, stride, dilation, strict=True))
    is_same = pads == same and (allow_same or pads == UNPADDED)
    if not is_same and pads != UNPADDED:
        if not allow_zeros:
            raise op.error(f"its padding {pads} cannot be represented; TensorFlow's SAME would be {same}")
        x = _padding_node(builder, op.name, x, pads)
    metadata = {"data_format": "NHWC", "padding": "same" if is_same else "valid"}
    return x, {"strides": (1, *stride, 1), "metadata": metadata}


def _pad_operands(builder: Builder, op: OnnxOp) -> tuple[Pads, float]:
    operand, value, axes = (builder.constant(op, index) for index in (1, 2, 3))
    mode = op.attributes.get("mode", b"constant").decode()
    pads = [int(number) for number in (op.attributes.get("pads", ()) if operand is None else operand)]
    places = range(4) if axes is None else [int(axis) % 4 for axis in axes]
    ends = zip(pads[: len(places)], pads[len(places) :], strict=True)
    by_axis = dict(zip(places, ends, strict=True))
    if mode != "constant" or any(number < 0 or (number and axis < 2) for axis in by_axis for number in by_axis[axis]):
        raise op.error(f"it pads {by_axis} ({mode}); only zeros around images can be represented")
    both = by_axis.get(2, (0, 0)), by_axis.get(3, (0, 0))
    return both, float(value.reshape(())) if value is not None else float(op.attributes.get("value", 0.0))


def pad(builder: Builder, op: OnnxOp) -> Value:
    """Read a Pad operation as a node of its own."""
    pads, value = _pad_operands(builder, op)
    if value != 0:
        raise op.error(f"it pads with {value:g}; only zeros can be represented")
    return _padding_node(builder, op.name, builder.map(op), pads)


def _padding_node(builder: Builder, name: str, x: Value, pads: Pads) -> Value:
    h, w, c = builder.size(x)
    size = (h + sum(pads[0]), w + sum(pads[1]), c)
    metadata = {"pad_h": pads[0], "pad_w": pads[1]}
    return builder.node("paddings", f"{name}/pad", [x], size, positive=builder.is_positive(x), metadata=metadata)


def is_part_of_a_window(builder: Builder, op: OnnxOp) -> bool:
    """Whether an operation pads the input of one convolution or maximum, which then reads it itself."""
    reader = builder.only_reader(op.outputs[0]) if op.type == "Pad" else None
    return reader is not None and reader.type in ("Conv", "MaxPool")


def outer_padding(builder: Builder, op: OnnxOp, value: float) -> tuple[Value, Pads]:
    """The input of a window without the padding operation in front of it, and what that pads with `value`."""
    before = builder.producer(op.inputs[0])
    if before is None or not is_part_of_a_window(builder, before):
        return builder.map(op), UNPADDED
    pads, filled_with = _pad_operands(builder, before)
    if filled_with == value:
        return builder.map(before), pads
    builder.values[op.inputs[0]] = pad(builder, before)
    return builder.map(op), UNPADDED
