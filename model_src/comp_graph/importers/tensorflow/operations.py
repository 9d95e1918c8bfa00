"""Which operation every TensorFlow type is, and what a node keeps of it: strides, padding, window, kernel."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from model_src.comp_graph.ops import Backend
from model_src.comp_graph.registry import Registry
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

Fields = dict[str, Any]
# Gives the fields of a node from the operation and those of its operands that do not depend on the image.
Reader = Callable[["tf.Operation", Sequence["tf.Tensor"]], Fields]

READERS: Registry[Reader] = Registry(Backend.TF_IMPORT)
# Operations that TensorFlow has no type for: their name is believed.
NAMED = ("zero", "global", "gelu", "swish")


def _attribute(op: "tf.Operation", name: str) -> Any:
    """The value of an attribute, None where the operation has none of that name."""
    return op.get_attr(name) if any(attribute.name == name for attribute in op.op_def.attr) else None


def _attributes(op: "tf.Operation", constants: Sequence["tf.Tensor"]) -> Fields:
    """Strides, padding, window and layout, as far as an operation has them.

    Raises:
        ValueError: The operation is in another layout than NHWC or is padded in a way that a node cannot hold.
    """
    layout, padding, strides = (_attribute(op, name) for name in ("data_format", "padding", "strides"))
    metadata: dict[str, Any] = {}
    if layout is not None:
        metadata["data_format"] = layout.decode().upper()
        if metadata["data_format"] != "NHWC":
            raise ValueError(f"{op.name!r} works in {metadata['data_format']}; only NHWC can be read")
    if (dilations := _attribute(op, "dilations")) is not None:
        metadata["dilations"] = tuple(dilations)
    if padding is not None:
        metadata["padding"] = padding.decode().lower()
        if metadata["padding"] not in ("same", "valid"):
            raise ValueError(f"{op.name!r} is padded {metadata['padding']}; only same and valid can be read")
    if (ksize := _attribute(op, "ksize")) is not None:
        metadata["ksize"] = tuple(ksize)
    return {"strides": None if strides is None else tuple(strides), "metadata": metadata}


READERS.register(*NAMED)(_attributes)
for _type, _operation in {
    "Add": "add",
    "AddN": "add",
    "AddV2": "add",
    "AvgPool": "avgpool",
    "BatchToSpaceND": "batchtospacend",
    "Concat": "concat",
    "ConcatV2": "concat",
    "DepthToSpace": "depthtospacend",
    "FusedBatchNorm": "batchnorm",
    "FusedBatchNormV2": "batchnorm",
    "FusedBatchNormV3": "batchnorm",
    "Identity": "identity",
    "MaxPool": "maxpool",
    "Mean": "mean",
    "Mul": "mul",
    "Placeholder": "input",
    "PlaceholderWithDefault": "input",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "SpaceToDepth": "spacetodepthnd",
    "Tanh": "tanh",
}.items():
    READERS.register(_operation, types=(_type,))(_attributes)


@READERS.register("depthwise", types=("DepthwiseConv2dNative",))
def _depthwise(op: "tf.Operation", constants: Sequence["tf.Tensor"]) -> Fields:
    k_h, k_w, c_in, c_out = (size or 0 for size in op.inputs[1].shape)
    return {**_attributes(op, constants), "shape": (c_in, c_out, k_h, k_w)}


def groups_of(op: "tf.Operation") -> int:
    """In how many groups a Conv2D takes its channels, which only the depth of its kernel says."""
    depth, kernel_depth = op.inputs[0].shape[-1], op.inputs[1].shape[2]
    return depth // kernel_depth if depth and kernel_depth else 1


@READERS.register("grouped_conv")  # has no type of its own
@READERS.register("conv", types=("Conv2D",))
def _convolution(op: "tf.Operation", constants: Sequence["tf.Tensor"]) -> Fields:
    fields, groups = _depthwise(op, constants), groups_of(op)
    if groups > 1:
        c_in, *others = fields["shape"]
        fields |= {"shape": (c_in * groups, *others), "metadata": {**fields["metadata"], "groups": groups}}
    return fields


@READERS.register("conv2d_transpose", types=("Conv2DBackpropInput",))
def _transposed(op: "tf.Operation", constants: Sequence["tf.Tensor"]) -> Fields:
    k_h, k_w, c_out, c_in = (size or 0 for size in op.inputs[1].shape)
    return {**_attributes(op, constants), "shape": (c_in, c_out, k_h, k_w)}


@READERS.register("matmul", types=("MatMul", "BatchMatMul", "BatchMatMulV2"))
def _dense(op: "tf.Operation", constants: Sequence["tf.Tensor"]) -> Fields:
    (weights,) = constants[:1] or op.inputs[1:2]
    sizes = [size or 0 for size in weights.shape][-2:]
    transposed = _attribute(op, "transpose_b") or _attribute(op, "adj_y")
    return {**_attributes(op, constants), "shape": (*(sizes[::-1] if transposed else sizes), 0, 0)}


@READERS.register("paddings", types=("Pad", "PadV2"))
@READERS.register("spacetobatchnd", types=("SpaceToBatchND",))
def _pads(op: "tf.Operation", constants: Sequence["tf.Tensor"]) -> Fields:
    rows = import_tensorflow().get_static_value(op.inputs[2 if op.type == "SpaceToBatchND" else 1])
    if rows is None or len(rows) not in (2, 4):
        raise ValueError(f"the padding of {op.name!r} is not known, or not that of an image")
    vertical, horizontal = rows[:2] if len(rows) == 2 else rows[1:3]
    fields = _attributes(op, constants)
    fields["metadata"] |= {"pad_h": tuple(map(int, vertical)), "pad_w": tuple(map(int, horizontal))}
    return fields
