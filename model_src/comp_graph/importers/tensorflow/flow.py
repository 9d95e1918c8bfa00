"""What the input of a frozen TensorFlow graph flows through, and what each operation there is.

Weights, shapes and other values that do not depend on the image are no part of the flow.
"""

import re
from typing import TYPE_CHECKING, Any

from model_src.comp_graph.tf_comp_graph import OP2I, op_name_of
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

# TensorFlow type -> label.
LABELS = {
    "Add": "add",
    "AddN": "addn",
    "AddV2": "add",
    "AvgPool": "avgpool",
    "BatchMatMul": "matmul",
    "BatchMatMulV2": "matmul",
    "BatchToSpaceND": "batchtospacend",
    "Concat": "concat",
    "ConcatV2": "concat",
    "Conv2D": "conv2d",
    "Conv2DBackpropInput": "conv2d_transpose",
    "DepthToSpace": "depthtospacend",
    "DepthwiseConv2dNative": "depthwise",
    "FusedBatchNorm": "fusedbatchnorm",
    "FusedBatchNormV2": "fusedbatchnormv2",
    "FusedBatchNormV3": "fusedbatchnormv3",
    "Identity": "identity",
    "LeakyRelu": "relu",
    "MatMul": "matmul",
    "MaxPool": "maxpool",
    "Mean": "mean",
    "MirrorPad": "paddings",
    "Mul": "mul",
    "Pad": "paddings",
    "PadV2": "paddings",
    "Placeholder": "input",
    "PlaceholderWithDefault": "input",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "SpaceToBatchND": "spacetobatchnd",
    "SpaceToDepth": "spacetodepthnd",
    "Tanh": "tanh",
}
_MERGES = ("add", "addn", "mul", "concat")
_BIASED = ("conv2d", "conv2d_transpose", "depthwise", "matmul", "batchtospacend")
# Operations without a node of their own: their result is the same image in another form, or they are a part of a bias,
# normalisation, gate or gelu. What is neither here nor in LABELS is refused.
_HANDED_ON = frozenset(
    "BiasAdd Cast CheckNumerics Div Erf Erfc ExpandDims IdentityN Neg PreventGradient RealDiv Reshape SelectV2 Softmax "
    "Slice Split SplitV Squeeze StopGradient StridedSlice Sub".split()
)
# Operations that TensorFlow has no type for: their name is believed.
_NAMED = ("zero", "global", "gelu", "swish")
_PLACEHOLDERS = ("Placeholder", "PlaceholderWithDefault")
# The image's size flows through these, but not the image.
_SIZES = ("Shape", "ShapeN", "Size", "Rank")


class DataFlow:
    """The operations that depend on the input image.

    Attributes:
        ops: The operations, in file order.
        sources: Per operation, the operations of the flow that it reads, in operand order.
        labels: Per operation, its label; None where it has no node of its own.
        input_shape: (H, W, C).

    Args:
        graph_def: The frozen graph.
        input_shape: (H, W, C) of the image; None takes what the graph says.

    Raises:
        ValueError: There is no input, a size is unknown, or the graph is not understood.
    """

    def __init__(self, graph_def: "tf.compat.v1.GraphDef", input_shape: tuple[int, int, int] | None):
        self._tf = import_tensorflow()
        self._op2i = OP2I().build_from_file()
        self._start, start_name = self._import(graph_def, input_shape)
        self.input_shape = _height_width_channels(self._start.outputs[0])
        if self.input_shape is None:
            raise ValueError(f"the size of the input {start_name!r} is unknown; give its height, width and channels")
        self._reached = self._reached_from(self._start)
        positions = {node.name: position for position, node in enumerate(graph_def.node)}
        names = {op: start_name if op is self._start else _own_name(op) for op in self._reached}
        self._str_ids = {op: f"{positions[name]}|{name.lower()}" for op, name in names.items()}
        self.ops = sorted(self._reached, key=lambda op: positions[names[op]])
        self.sources = {op: [tensor.op for tensor in self._operands(op)] for op in self.ops}
        self._readers: dict[tf.Operation, list[tf.Operation]] = {op: [] for op in self.ops}
        for op in self.ops:
            for source in self.sources[op]:
                self._readers[source].append(op)
        self._biased: set[tf.Operation] = set()
        self.labels = {op: self._label(op) for op in self.ops}
        for op in self.ops:
            if self.labels[op] is None and op.type not in LABELS and op.type not in _HANDED_ON:
                raise ValueError(f"node {op.name!r} ({op.type}): it cannot be represented in a computation graph")
        for recognise in (self._recognise_batchnorm, self._recognise_bias, self._recognise_gate):
            for op in self.ops:
                recognise(op)

    def _import(self, graph_def: "tf.compat.v1.GraphDef", input_shape: tuple | None) -> tuple["tf.Operation", str]:
        """Load the graph with inferred shapes; returns the input operation and its name in the file."""
        tf = self._tf
        node = _input_node(graph_def)
        is_placeholder = node.op in _PLACEHOLDERS
        with tf.Graph().as_default() as graph:
            given, replaced = None, {}
            if input_shape is not None:
                dtype = tf.dtypes.as_dtype(node.attr["dtype" if is_placeholder else "T"].type)
                given = tf.compat.v1.placeholder(dtype, (_batch_size(node), *input_shape), name="given_image")
                replaced[node.name if is_placeholder else node.input[0].split(":")[0]] = given
            try:
                tf.import_graph_def(graph_def, {f"{name}:0": tensor for name, tensor in replaced.items()}, name="")
            except (ValueError, tf.errors.OpError) as error:
                raise ValueError(f"TensorFlow does not accept the graph: {' '.join(str(error).split())}") from error
        return given.op if given is not None and is_placeholder else graph.get_operation_by_name(node.name), node.name

    def _reached_from(self, start: "tf.Operation") -> set["tf.Operation"]:
        reached, waiting = {start}, [start]
        while waiting:
            for tensor in waiting.pop().outputs:
                new = {reader for reader in tensor.consumers() if reader.type not in _SIZES} - reached
                reached |= new
                waiting.extend(new)
        return reached

    def _operands(self, op: "tf.Operation") -> list["tf.Tensor"]:
        """The tensors that an operation reads from the flow."""
        if op is self._start:
            return []
        return [tensor for tensor in map(_through_identities, op.inputs) if tensor.op in self._reached]

    def _constants(self, op: "tf.Operation") -> list["tf.Tensor"]:
        return [tensor for tensor in op.inputs if _through_identities(tensor).op not in self._reached]

    def _label(self, op: "tf.Operation") -> str | None:
        label, own = LABELS.get(op.type), op.name.rsplit("/", 1)[-1].lower()
        if op is self._start:
            return own if own.startswith("input") else "input"
        if re.sub(r"_\d+$", "", own) in _NAMED:
            return own
        if label in _MERGES and len(self.sources[op]) < 2:
            return None
        if label == "identity":
            if not self._readers[op]:
                return own if own.startswith("output") else "output"
            if own.startswith(("input", "output")):
                return None
        says_the_same = label and op_name_of(own) == op_name_of(label) and self._op2i[own] == self._op2i[label]
        return own if says_the_same else label

    def _recognise_batchnorm(self, op: "tf.Operation") -> None:
        """A multiplication and an addition of one constant per channel, as Keras 3 normalises."""
        if LABELS.get(op.type) != "add" or not self._shifts_channels(op):
            return
        (scale,) = self.sources[op]
        if scale.type == "Mul" and self._shifts_channels(scale) and self._readers[scale] == [op]:
            self.labels[op] = "fusedbatchnormv3"

    def _shifts_channels(self, op: "tf.Operation") -> bool:
        """Whether an operation joins its only operand with one constant per channel."""
        constants, channels = self._constants(op), op.outputs[0].shape
        if len(self.sources[op]) != 1 or len(constants) != 1 or not channels.rank or self.labels[op] is not None:
            return False
        shape = constants[0].shape
        return bool(shape.rank) and shape[-1] == channels[-1] and shape.num_elements() == channels[-1]

    def _recognise_bias(self, op: "tf.Operation") -> None:
        if op.type == "BiasAdd" or (LABELS.get(op.type) == "add" and self._shifts_channels(op)):
            target, _ = self._origin(self.sources[op][0])
            if LABELS.get(target.type) in _BIASED:
                self._biased.add(target)

    def _recognise_gate(self, op: "tf.Operation") -> None:
        """A product x sigmoid(x) is swish, x (1 + erf(x / sqrt 2)) / 2 is gelu."""
        if op.type != "Mul" or self.labels[op] is None or len(self.sources[op]) != 2:
            return
        for gate, value in (self.sources[op], self.sources[op][::-1]):
            (value_origin, value_types), (gate_origin, gate_types) = self._origin(value), self._origin(gate)
            if gate.type == "Sigmoid" and self._readers[gate] == [op]:
                if self._origin(self.sources[gate][0])[0] is value_origin:
                    self.labels[op], self.labels[gate] = "swish", None
                    return
            elif gate_origin is value_origin and {"Erf", "Erfc"} & (gate_types | value_types):
                self.labels[op] = "gelu"
                return

    def _origin(self, op: "tf.Operation") -> tuple["tf.Operation", set[str]]:
        """The operation with a node that an operation's result comes from, and the types passed on the way."""
        types = set()
        while self.labels[op] is None and len(self.sources[op]) == 1:
            types.add(op.type)
            (op,) = self.sources[op]
        return op, types

    def str_id(self, op: "tf.Operation") -> str:
        """Position in the file and lower-case name."""
        return self._str_ids[op]

    def resolution(self, op: "tf.Operation") -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """(H, W, C) of the first operand and of the result.

        Raises:
            ValueError: They are unknown, or are no images and no vectors.
        """
        after = _height_width_channels(op.outputs[0])
        operands = self._operands(op)
        before = _height_width_channels(operands[0]) if operands else None
        if after is None:
            raise ValueError(f"the size of the result of {op.name!r} ({op.type}) is unknown")
        return before or after, after

    def strides(self, op: "tf.Operation") -> tuple[int, ...] | None:
        """(1, s_h, s_w, 1), or None."""
        strides = _attribute(op, "strides")
        return None if strides is None else tuple(strides)

    def metadata(self, op: "tf.Operation") -> dict[str, Any]:
        """Padding, window, layout and bias of an operation, as far as it has them.

        Raises:
            ValueError: The operation is in another layout than NHWC or is padded in a way that a node cannot hold.
        """
        layout, padding = _attribute(op, "data_format"), _attribute(op, "padding")
        metadata = {}
        if layout is not None:
            metadata["data_format"] = layout.decode().upper()
            if metadata["data_format"] != "NHWC":
                raise ValueError(f"{op.name!r} works in {metadata['data_format']}; only NHWC can be read")
        if _attribute(op, "dilations") is not None:
            metadata["dilations"] = tuple(_attribute(op, "dilations"))
        if padding is not None:
            metadata["padding"] = padding.decode().lower()
            if metadata["padding"] not in ("same", "valid"):
                raise ValueError(f"{op.name!r} is padded {metadata['padding']}; only same and valid can be read")
        if _attribute(op, "ksize") is not None:
            metadata["ksize"] = tuple(_attribute(op, "ksize"))
        if LABELS.get(op.type) in ("paddings", "spacetobatchnd"):
            metadata |= self._pads(op)
        if op in self._biased:
            metadata["use_bias"] = True
        return metadata

    def _pads(self, op: "tf.Operation") -> dict[str, tuple[int, int]]:
        rows = self._tf.get_static_value(op.inputs[2 if op.type == "SpaceToBatchND" else 1])
        if rows is None or len(rows) not in (2, 4):
            raise ValueError(f"the padding of {op.name!r} is not known, or not that of an image")
        vertical, horizontal = rows[:2] if len(rows) == 2 else rows[1:3]
        return {"pad_h": tuple(map(int, vertical)), "pad_w": tuple(map(int, horizontal))}

    def kernel_shape(self, op: "tf.Operation") -> tuple[int, int, int, int]:
        """(C_in, C_out, k_h, k_w), 0 where it is not known; see `WeightedNode`."""
        if LABELS[op.type] == "matmul":
            (weights,) = self._constants(op)[:1] or op.inputs[1:2]
            sizes = [size or 0 for size in weights.shape][-2:]
            transposed = _attribute(op, "transpose_b") or _attribute(op, "adj_y")
            return (*(sizes[::-1] if transposed else sizes), 0, 0)
        k_h, k_w, first, second = (size or 0 for size in op.inputs[1].shape)
        return (second, first, k_h, k_w) if op.type == "Conv2DBackpropInput" else (first, second, k_h, k_w)


def _input_node(graph_def: "tf.compat.v1.GraphDef") -> "tf.compat.v1.NodeDef":
    placeholders = [node for node in graph_def.node if node.op in _PLACEHOLDERS and _may_hold_images(node)]
    named = [node for node in graph_def.node if node.op == "Identity" and node.name.rsplit("/", 1)[-1] == "input"]
    found = placeholders or named
    if len(found) != 1:
        names = ", ".join(repr(node.name) for node in found) or "none"
        raise ValueError(f"expected one input (an image placeholder, or an Identity named `input`), found {names}")
    return found[0]


def _may_hold_images(node: "tf.compat.v1.NodeDef") -> bool:
    shape = node.attr["shape"].shape
    return import_tensorflow().dtypes.as_dtype(node.attr["dtype"].type).is_floating and (
        len(shape.dim) == 4 or "shape" not in node.attr or shape.unknown_rank
    )


def _batch_size(node: "tf.compat.v1.NodeDef") -> int:
    sizes = [dim.size for dim in node.attr["shape"].shape.dim] if "shape" in node.attr else []
    return max(1, sizes[0]) if len(sizes) == 4 else 1


def _own_name(op: "tf.Operation") -> str:
    """An operation's name; padding goes under the name of the constant that says how much."""
    if LABELS.get(op.type) == "paddings" and op.inputs[1].op.name.endswith("/paddings"):
        return op.inputs[1].op.name
    return op.name


def _through_identities(tensor: "tf.Tensor") -> "tf.Tensor":
    """The tensor that an IdentityN (Keras puts one around swish) hands on."""
    while tensor.op.type == "IdentityN":
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def _height_width_channels(tensor: "tf.Tensor") -> tuple[int, int, int] | None:
    """(H, W, C), (1, 1, C) of a vector; None where a size is unknown or the tensor is a number."""
    shape = tensor.shape
    if shape.rank not in (None, 0, 2, 4):
        raise ValueError(
            f"{tensor.op.name!r} has shape {shape}; only images (N, H, W, C) and vectors (N, C) can be read"
        )
    sizes = () if not shape.rank else tuple(shape)[1:]
    if not sizes or None in sizes:
        return None
    return (1, 1, *sizes) if len(sizes) == 1 else sizes


def _attribute(op: "tf.Operation", name: str) -> Any:
    """The value of an attribute, None where the operation has none of that name."""
    return op.get_attr(name) if any(attribute.name == name for attribute in op.op_def.attr) else None
