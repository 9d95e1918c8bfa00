"""Converters of operations that choose or order channels and pixels, or look at all channels together."""

import logging

import numpy as np

from model_src.comp_graph.importers.imported import LeftOut
from model_src.comp_graph.importers.onnx.activations import Converter
from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.op import OnnxOp
from model_src.comp_graph.tf_comp_graph import Shape

logger = logging.getLogger(__name__)

_PARTS = {"C": "channels", "H": "rows", "W": "columns"}
Part = tuple[int, int, int]  # (start, stop, step)


def _slice(builder: Builder, op: OnnxOp) -> Value:
    x, shape = builder.value(op), builder.shape(op.inputs[0])
    names = ("starts", "ends", "axes", "steps")
    given = {name: operand for at, name in enumerate(names, 1) if (operand := builder.constant(op, at)) is not None}
    ranges = {name: [int(number) for number in value] for name, value in {**op.attributes, **given}.items()}
    starts = ranges["starts"]
    axes, steps = ranges.get("axes", range(len(starts))), ranges.get("steps", [1] * len(starts))
    chosen: dict[int, np.ndarray] = {}
    for start, end, axis, step in zip(starts, ranges["ends"], axes, steps, strict=True):
        size = shape[axis]
        stop = None if step < 0 and end < -size else end
        chosen[axis % len(shape)] = np.arange(size)[start:stop:step]
    return _chosen(builder, op, x, chosen)


def _gather(builder: Builder, op: OnnxOp) -> Value:
    x, index = builder.value(op), builder.parameter(op, 1)
    if index.ndim != 1:
        raise op.error("it takes single channels or pixels without their axis; only several can be taken")
    shape = builder.shape(op.inputs[0])
    axis = op.attributes.get("axis", 0) % len(shape)
    return _chosen(builder, op, x, {axis: np.arange(shape[axis])[index]})


def _chosen(builder: Builder, op: OnnxOp, x: Value, chosen: dict[int, np.ndarray]) -> Value:
    """What is left of a tensor of which some numbers along every axis are taken."""
    sizes = dict(zip("HWC", builder.size(x), strict=True))
    parts: dict[str, Part] = {}
    for axis, index in chosen.items():
        letter = x.axes[axis] if "(" not in x.axes else "("
        if np.array_equal(index, np.arange(sizes.get(letter, builder.shape(op.inputs[0])[axis]))):
            continue
        part = range_of(index)
        if letter == "C" and part is None and len(index):
            after = (sizes["H"], sizes["W"], len(index))
            x, sizes["C"] = order_channels(builder, op.name, x, after, index), len(index)
        elif letter not in _PARTS or part is None:
            raise op.error(f"what it takes of axis {axis} of {x.axes} cannot be represented")
        else:
            parts[letter] = part
    if not parts:
        return x
    return take_parts(builder, op.name, x, parts)


def range_of(index: np.ndarray) -> Part | None:
    """The range (start, stop, step) that numbers are, None where they are none."""
    if not len(index):
        return None
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    part = (int(index[0]), int(index[-1]) + 1, step)
    return part if step > 0 and np.array_equal(index, np.arange(*part)) else None


def take_parts(builder: Builder, name: str, x: Value, parts: dict[str, Part]) -> Value:
    """Ranges of the channels, rows and columns of a map, by the letter of their axis."""
    sizes = dict(zip("HWC", builder.size(x), strict=True))
    sizes |= {letter: len(range(*part)) for letter, part in parts.items()}
    after: Shape = (sizes["H"], sizes["W"], sizes["C"])
    metadata = {_PARTS[letter]: part for letter, part in sorted(parts.items())}
    return builder.node("slice", name, [x], after, positive=builder.is_positive(x), metadata=metadata)


def order_channels(builder: Builder, name: str, x: Value, after: Shape, index: np.ndarray) -> Value:
    """The channels of a map by their numbers: shuffled where that is what they are, gathered otherwise."""
    channels, positive = builder.size(x)[2], builder.is_positive(x)
    step = int(index[1]) if len(index) > 1 else 0
    if len(index) == channels and step > 1 and channels % step == 0:
        groups = channels // step
        if np.array_equal(index, np.arange(channels).reshape(groups, step).T.ravel()):
            return builder.node("shuffle", name, [x], after, positive=positive, metadata={"groups": groups})
    metadata = {"index": tuple(int(number) for number in index)}
    return builder.node("gather", name, [x], after, positive=positive, metadata=metadata)


def _softmax(builder: Builder, op: OnnxOp) -> Value:
    x, shape = builder.value(op), builder.shape(op.inputs[0])
    axis = op.attributes.get("axis", -1 if builder.opset >= 13 else 1)
    if axis % len(shape) == 0:
        raise op.error("it mixes the images of a batch")
    is_alone = builder.opset >= 13 or max(shape[axis % len(shape) + 1 :], default=1) == 1
    if builder.is_output(op) and is_alone:
        logger.warning("node %r (%s): left out; the graph ends with what it reads", op.name, op.type)
        builder.left_out = LeftOut(op.type, axis)
        return x
    if not is_alone:  # before opset 13 it is over all axes from that one on
        raise op.error(f"of axes {axis} ... {len(shape) - 1} of {x.axes} together it cannot be represented")
    if op.type != "Softmax" or "(" in x.axes or x.axes[axis] != "C":
        raise op.error(f"of axis {axis} of {x.axes} it cannot be represented, except as the very last operation")
    return builder.node("softmax", op.name, [x], builder.size(x))


def _layernorm(builder: Builder, op: OnnxOp) -> Value:
    x, axis = builder.value(op), op.attributes.get("axis", -1)
    axes = "" if "(" in x.axes else x.axes[axis:]
    if axes != "C" or any(op.outputs[1:]):
        raise op.error(f"it normalises {axes or 'all'} of {x.axes}; only the channels of a pixel can be")
    return builder.norm(op, x, "layernorm", (builder.parameter(op, 1), builder.constant(op, 2)))


def _instancenorm(builder: Builder, op: OnnxOp) -> Value:
    x, weights = builder.map(op), (builder.parameter(op, 1), builder.parameter(op, 2))
    return builder.norm(op, x, "groupnorm", weights, groups=builder.size(x)[2])


def _groupnorm(builder: Builder, op: OnnxOp) -> Value:
    x, groups = builder.map(op), op.attributes["num_groups"]
    repeats = builder.size(x)[2] // groups if builder.opset < 21 else 1
    weight, bias = (np.repeat(builder.parameter(op, index), repeats) for index in (1, 2))
    return builder.norm(op, x, "groupnorm", (weight, bias), groups=groups)


# Names of the operations that may be made of a type of ONNX operation, the type, and what makes them.
CHANNELS: tuple[tuple[tuple[str, ...], str, Converter], ...] = (
    (("slice", "gather", "shuffle"), "Slice", _slice),
    (("slice", "gather", "shuffle"), "Gather", _gather),
    (("softmax",), "Softmax", _softmax),
    ((), "LogSoftmax", _softmax),
    (("layernorm",), "LayerNormalization", _layernorm),
    (("groupnorm",), "InstanceNormalization", _instancenorm),
    (("groupnorm",), "GroupNormalization", _groupnorm),
)
