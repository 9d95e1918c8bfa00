"""Converters of sums, products, differences and quotients: of tensors, and of a tensor with a constant."""

import numpy as np

from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.op import OnnxOp, shortest
from model_src.comp_graph.ops import OPERATIONS
from model_src.comp_graph.tf_comp_graph import Shape

BATCHNORM_EPSILON = 1e-3  # of a batch normalisation whose node says none
_ONE, _ZERO, _MINUS = (np.array(number, np.float64) for number in (1, 0, -1))


def merge(builder: Builder, op: OnnxOp) -> Value:
    """Read Add, Sum or Mul."""
    values, constants = _operands(builder, op)
    if not constants:
        return _joined(builder, op, "mul" if op.type == "Mul" else "add", values)
    if len(op.inputs) != 2:
        raise op.error("a constant among several operands cannot be represented")
    (x,), (constant,) = values, constants
    return _affine(builder, op, x, *((constant, _ZERO) if op.type == "Mul" else (_ONE, constant)))


def difference(builder: Builder, op: OnnxOp) -> Value:
    """Read Sub: x - y is x + -1 y."""
    values, constants = _operands(builder, op)
    if not constants:
        negative = _affine(builder, op, values[1], _MINUS, _ZERO, builder.shape(op.inputs[1]))
        return _joined(builder, op, "add", [values[0], negative])
    (x,), (constant,) = values, constants
    is_first = op.inputs[0] in builder.values
    return _affine(builder, op, x, *((_ONE, -constant) if is_first else (_MINUS, constant)))


def quotient(builder: Builder, op: OnnxOp) -> Value:
    """Read Div: x / y is x times the reciprocal of y."""
    values, constants = _operands(builder, op)
    if op.inputs[0] in builder.values and constants:
        with np.errstate(divide="ignore"):
            return _affine(builder, op, values[0], 1 / constants[0], _ZERO)
    below = builder.node("reciprocal", op.name, [values[-1]], builder.size(values[-1]))
    if constants:
        return _affine(builder, op, below, constants[0], _ZERO)
    return _joined(builder, op, "mul", [values[0], below])


def negative(builder: Builder, op: OnnxOp) -> Value:
    """Read Neg."""
    return _affine(builder, op, builder.value(op), _MINUS, _ZERO)


def power(builder: Builder, op: OnnxOp) -> Value:
    """Read Pow: a square or cube is a product."""
    x, exponent = builder.value(op), builder.parameter(op, 1)
    if exponent.size != 1 or exponent.item() not in (1, 2, 3):
        raise op.error("only the powers 1, 2 and 3 can be represented")
    return _joined(builder, op, "mul", [x] * int(exponent.item()))


def _operands(builder: Builder, op: OnnxOp) -> tuple[list[Value], list[np.ndarray]]:
    """The operands that depend on the image, and those that do not."""
    dynamic = [index for index, name in enumerate(op.inputs) if name in builder.values]
    others = [index for index in range(len(op.inputs)) if index not in dynamic]
    constants = [builder.parameter(op, index).astype(np.float64) for index in others]
    return [builder.value(op, index) for index in dynamic], constants


def _joined(builder: Builder, op: OnnxOp, name: str, values: list[Value]) -> Value:
    """A sum or product of tensors."""
    operation = OPERATIONS[name]
    if operation.is_idle(len(values)):
        return values[0]
    sizes = [builder.size(value) for value in values]
    after = _largest(sizes)
    fits = all(number in (1, most) for size in sizes for number, most in zip(size, after, strict=True))
    if not fits or len({value.axes for value in values}) > 1:
        found = ", ".join(f"{value.axes} {size}" for value, size in zip(values, sizes, strict=True))
        raise op.error(f"it joins maps of different sizes (H, W, C): {found}")
    gated = (1, 1, after[2])  # what a factor of one pixel may stay
    wanted = [gated if operation.is_product and after in sizes and size[:2] == (1, 1) else after for size in sizes]
    values = [builder.broadcast(op.name, *pair) for pair in zip(values, wanted, strict=True)]
    return builder.node(operation.name, op.name, values, after, before=after, positive=builder.is_positive(*values))


def _largest(sizes: list[Shape]) -> Shape:
    h, w, c = map(max, zip(*sizes, strict=True))
    return h, w, c


def _affine(
    builder: Builder,
    op: OnnxOp,
    x: Value,
    factor: np.ndarray,
    offset: np.ndarray,
    shape: tuple[int, ...] | None = None,
) -> Value:
    """A tensor times a constant plus a constant, each one number or one per channel.

    Args:
        builder: Takes the node.
        op: What is read.
        x: The tensor.
        factor: The first constant.
        offset: The second one.
        shape: Of the tensor in the model; None takes that of the operation's result.

    Raises:
        ValueError: A constant has another shape, is no number, or makes the tensor larger.
    """
    factors, offsets = builder.by_channel(x, factor), builder.by_channel(x, offset)
    sizes = dict(zip("HWC", builder.size(x), strict=True))
    expected = tuple(sizes.get(axis, 1) for axis in x.axes) if "(" not in x.axes else None
    shape = shape or builder.shape(op.outputs[0])
    is_larger = expected is not None and (len(shape) != len(expected) or shape[1:] != expected[1:])
    if factors is None or offsets is None or is_larger:
        shapes = " and ".join(str(one.shape) for one in (factor, offset) if one.ndim)
        raise op.error(f"a constant of shape {shapes}; only one number or one per channel can be represented")
    if not np.isfinite([factors, offsets]).all():
        raise op.error("a constant that is no number cannot be represented")
    if (factors == 1).all():
        if (offset.size > 1 or offsets.any()) and builder.is_read_once(x) and builder.add_bias(x, offset):
            return x
        if not offsets.any():
            return x
    if not offsets.any() and builder.is_read_once(x) and builder.scale_norm(x, factors):
        return x
    if not factors.any() and not offsets.any():
        return builder.node("zero", op.name, [x], builder.size(x))
    if factor.size == offset.size == 1:
        numbers = {"factor": shortest(factor.item()), "offset": shortest(offset.item())}
        positive = builder.is_positive(x) and min(numbers.values()) >= 0
        return builder.node("scale", op.name, [x], builder.size(x), positive=positive, metadata=numbers)
    return _by_channels(builder, op, x, factors, offsets)


def _by_channels(builder: Builder, op: OnnxOp, x: Value, factors: np.ndarray, offsets: np.ndarray) -> Value:
    """A batch normalisation, where it stands as one; otherwise a depthwise convolution of one pixel."""
    size = builder.size(x)
    if _is_folded_batchnorm(builder, op):
        value = builder.node("batchnorm", op.name, [x], size, metadata={"data_format": "NHWC"})
        ones, zeros = np.ones(size[2]), np.zeros(size[2])
        weights = {"weight": factors * np.sqrt(1 + BATCHNORM_EPSILON), "bias": offsets}
        more = {"running_mean": zeros, "running_var": ones, "num_batches_tracked": np.array(0)}
        builder.set_weights(value, weights | more)
        return value
    metadata = {"data_format": "NHWC", "padding": "same", "dilations": (1, 1, 1, 1)}
    shape = OPERATIONS["depthwise"].kernel_shape(size[2], size[2], 1, 1)
    value = builder.node("depthwise", op.name, [x], size, strides=(1, 1, 1, 1), metadata=metadata, shape=shape)
    builder.set_kernel(value, factors[:, None, None, None], offsets if offsets.any() else None)
    return value


def _is_folded_batchnorm(builder: Builder, op: OnnxOp) -> bool:
    """Whether nothing reads a product with constants but a sum with constants."""
    reader = builder.only_reader(op.outputs[0])
    if op.type != "Mul" or reader is None or reader.type != "Add":
        return False
    return any(builder.is_constant(name) for name in reader.inputs)
