"""One converter per type of ONNX operation: reads an operation, adds nodes, returns the value of its result."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from model_src.comp_graph.importers.onnx.activations import ACTIVATIONS, Converter
from model_src.comp_graph.importers.onnx.arithmetic import (
    BATCHNORM_EPSILON,
    difference,
    merge,
    negative,
    power,
    quotient,
)
from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.channels import CHANNELS
from model_src.comp_graph.importers.onnx.maps import MAPS
from model_src.comp_graph.importers.onnx.op import OnnxOp, Refusal, refuse_all, shortest
from model_src.comp_graph.importers.onnx.opaque import Regions
from model_src.comp_graph.importers.onnx.remedies import REMEDIES
from model_src.comp_graph.importers.onnx.views import VIEWS
from model_src.comp_graph.importers.onnx.windows import (
    is_part_of_a_window,
    outer_padding,
    pair,
    window,
    zeros_around,
)
from model_src.comp_graph.ops import OPERATIONS, Backend
from model_src.comp_graph.registry import Registry

CONVERTERS: Registry[Converter] = Registry(Backend.ONNX_IMPORT)


def convert_all(builder: Builder, ops: Sequence[OnnxOp]) -> None:
    """Read operations in their order; what cannot be read does not keep the others from being tried.

    Raises:
        Refusal: Some cannot be represented in a computation graph; the text names all of them.
    """
    refusals, unread, regions = [], set[str](), Regions(builder, _convert)
    for op in ops:
        try:
            if not unread.intersection(op.inputs):
                if is_part_of_a_window(builder, op):
                    regions.end_in_front_of(op)
                else:
                    regions.read(op)
                continue
        except Refusal as refusal:
            refusals.append(refusal)
        unread.update(builder.stand_in(op))
    refuse_all(refusals)


def _convert(builder: Builder, op: OnnxOp) -> Value:
    if op.type not in CONVERTERS:
        raise op.error(REMEDIES.get(op.type, "it cannot be represented"))
    return CONVERTERS[op.type](builder, op)


for _operations, _type, _converter in (*ACTIVATIONS, *MAPS, *CHANNELS, *VIEWS):
    CONVERTERS.register(*_operations, types=(_type,))(_converter)


@CONVERTERS.register("conv", "depthwise", "grouped_conv", types=("Conv",))
def _conv(builder: Builder, op: OnnxOp) -> Value:
    kernel = builder.parameter(op, 1)
    if kernel.ndim != 4:
        raise op.error(f"a kernel of {kernel.ndim - 2} axes; only those of images can be read")
    x, outer = outer_padding(builder, op, 0.0)
    c, (c_out, c_group, *size), groups = builder.size(x)[2], kernel.shape, op.attributes.get("group", 1)
    if c_group * groups != c:
        raise op.error(f"{groups} groups of a {c_group} -> {c_out} kernel on {c} channels; they do not fit")
    name = "conv" if groups == 1 else "depthwise" if (c_group, c_out) == (1, c) else "grouped_conv"
    x, fields = window(builder, op, x, (size[0], size[1]), True, outer)
    fields["metadata"]["dilations"] = (1, *pair(op, "dilations"), 1)
    if name == "grouped_conv":
        fields["metadata"]["groups"] = groups
    fields["shape"] = OPERATIONS[name].kernel_shape(c, c_out, *size)
    h, w = builder.shape(op.outputs[0])[2:]
    value = builder.node(name, op.name, [x], (h, w, c_out), **fields)
    builder.set_kernel(value, kernel, builder.bias(op, 2))
    return value


@CONVERTERS.register("batchnorm", types=("BatchNormalization",))
def _batchnorm(builder: Builder, op: OnnxOp) -> Value:
    x = builder.value(op)
    scale, shift, mean, variance = (builder.parameter(op, index) for index in range(1, 5))
    if x.axes[:2] != "NC":
        raise op.error(f"it normalises {x.axes}; only the channels of NCHW can be read")
    epsilon = shortest(op.attributes.get("epsilon", 1e-5))
    own = {} if epsilon == BATCHNORM_EPSILON else {"epsilon": epsilon}
    value = builder.node("batchnorm", op.name, [x], builder.size(x), metadata={"data_format": "NHWC", **own})
    weights = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    if any(one.shape != builder.size(x)[2:] for one in weights.values()):
        raise op.error(f"scales of shape {scale.shape}; only one per channel can be represented")
    builder.set_weights(value, {**weights, "num_batches_tracked": np.array(0)})
    return value


@CONVERTERS.register("identity", types=("Identity",))
def _identity(builder: Builder, op: OnnxOp) -> Value:
    x = builder.value(op)
    if builder.is_output(op) or builder.from_torch:
        return x
    return builder.node("identity", op.name, [x], builder.size(x), positive=builder.is_positive(x))


@CONVERTERS.register(types=("Cast",))
def _cast(builder: Builder, op: OnnxOp) -> Value:
    if op.attributes["to"] in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raise op.error("it gives numbers of half precision; bring the network in single precision")
    if op.attributes["to"] not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise op.error("it cannot be represented, but where it gives real numbers")
    return builder.value(op)


@CONVERTERS.register(types=("Dropout",))
def _pass_on(builder: Builder, op: OnnxOp) -> Value:
    return builder.value(op)


@CONVERTERS.register("mean", types=("GlobalAveragePool",))
def _global_mean(builder: Builder, op: OnnxOp) -> Value:
    return _mean(builder, op, builder.map(op), "NCHW")


@CONVERTERS.register("mean", types=("ReduceMean",))
def _reduce_mean(builder: Builder, op: OnnxOp) -> Value:
    x, operand = builder.value(op), builder.constant(op, 1)
    axes = [int(axis) for axis in (op.attributes.get("axes", ()) if operand is None else operand.ravel())]
    letters = {x.axes[axis] for axis in axes} if "(" not in x.axes else set()
    left = {letter for letter, size in zip("HW", builder.size(x), strict=False) if size > 1} - letters
    if not letters or left or letters - set("HW"):
        raise op.error(f"it averages axes {axes} of {x.axes}; only all pixels can be averaged")
    kept = "".join(letter for letter in x.axes if letter not in letters)
    return _mean(builder, op, x, x.axes if op.attributes.get("keepdims", 1) else kept)


def _mean(builder: Builder, op: OnnxOp, x: Value, axes: str) -> Value:
    size = (1, 1, builder.size(x)[2])
    return builder.node("mean", op.name, [x], size, axes, positive=builder.is_positive(x))


CONVERTERS.register("add", "mul", "zero", "scale", "depthwise", "batchnorm", "broadcast", types=("Add", "Sum", "Mul"))(
    merge
)
CONVERTERS.register("scale", "add", "depthwise", types=("Sub",))(difference)
CONVERTERS.register("scale", "reciprocal", "mul", "depthwise", types=("Div",))(quotient)
CONVERTERS.register("scale", types=("Neg",))(negative)
CONVERTERS.register("mul", types=("Pow",))(power)


@CONVERTERS.register("concat", "pad_channels", types=("Concat",))
def _concat(builder: Builder, op: OnnxOp) -> Value:
    if (x := zeros_around(builder, op)) is not None:
        return x
    values = [builder.value(op, index) for index in range(len(op.inputs))]
    axes = values[0].axes
    sizes = [builder.size(value) for value in values]
    if len({value.axes for value in values}) > 1 or "(" in axes or axes[op.attributes["axis"]] != "C":
        raise op.error(f"it joins axis {op.attributes['axis']} of {axes}; only channels can be joined")
    if OPERATIONS["concat"].is_idle(len(values)):
        return values[0]
    h, w, _ = sizes[0]
    after = (h, w, sum(size[2] for size in sizes))
    return builder.node("concat", op.name, values, after, positive=builder.is_positive(*values))


@CONVERTERS.register("matmul", "conv", types=("Gemm",))
def _gemm(builder: Builder, op: OnnxOp) -> Value:
    weight, bias = builder.parameter(op, 1), builder.bias(op, 2)
    factors = [op.attributes.get(name, 1.0) for name in ("alpha", "beta")]
    if op.attributes.get("transA") or not np.isfinite(factors).all():
        raise op.error("only alpha x W + beta b can be represented")
    weight = weight if op.attributes.get("transB") else weight.T
    weight = weight if factors[0] == 1 else factors[0] * weight
    return _dense(builder, op, weight, bias if bias is None else factors[1] * bias)


@CONVERTERS.register("matmul", "conv", types=("MatMul",))
def _matmul(builder: Builder, op: OnnxOp) -> Value:
    weight = builder.parameter(op, 1)
    if weight.ndim != 2:
        raise op.error(f"its second operand has {weight.ndim} axes; only a matrix can be represented")
    return _dense(builder, op, weight.T, None)


def _dense(builder: Builder, op: OnnxOp, weight: np.ndarray, bias: np.ndarray | None) -> Value:
    """A dense layer with weights (C_out, C_in); on a flattened map it is a convolution as large as the map."""
    x, c_out = builder.value(op), len(weight)
    h, w, c = builder.size(x)
    if x.axes.startswith("N("):
        order, sizes = x.axes[2:-1], {"H": h, "W": w, "C": c}
        kernel = weight.reshape(c_out, *(sizes[axis] for axis in order))
        kernel = kernel.transpose(0, *(1 + order.index(axis) for axis in "CHW"))
        metadata = {"data_format": "NHWC", "dilations": (1, 1, 1, 1), "padding": "valid"}
        fields: dict[str, Any] = {"strides": (1, 1, 1, 1), "metadata": metadata, "shape": (c, c_out, h, w)}
        value = builder.node("conv", op.name, [x], (1, 1, c_out), "NC", **fields)
        builder.set_kernel(value, kernel, bias)
        return value
    if x.axes[-1] != "C":
        raise op.error(f"it multiplies the last axis of {x.axes}; only channels can be")
    value = builder.node("matmul", op.name, [x], (h, w, c_out), shape=(c, c_out, 0, 0))
    builder.set_kernel(value, weight, bias)
    return value
