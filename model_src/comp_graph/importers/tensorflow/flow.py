"""What the input of a frozen TensorFlow graph flows through.

Weights, shapes and other values that do not depend on the image are no part of the flow.
"""

from typing import TYPE_CHECKING

from model_src.comp_graph.importers.tensorflow.graph_def import (
    SIZES,
    declared_shape,
    declared_type,
    input_node,
    part_feeding,
    placeholder,
)
from model_src.comp_graph.importers.tensorflow.values import imported, tensor_of
from model_src.comp_graph.tf_comp_graph import Shape

if TYPE_CHECKING:
    import tensorflow as tf


class DataFlow:
    """The operations that depend on the input image.

    Attributes:
        start: The operation that gives the image.
        ops: The operations, in file order.
        sources: Per operation, the operations of the flow that it reads, in operand order.
        readers: Per operation, the operations that read it, once per operand.
        input_shape: (H, W, C).

    Args:
        graph_def: The frozen graph.
        input_shape: (H, W, C) of the image; None takes what the graph says.

    Raises:
        ValueError: There is no input, a size is unknown, or TensorFlow does not accept the graph.
    """

    def __init__(self, graph_def: "tf.compat.v1.GraphDef", input_shape: Shape | None):
        self.start = self._import(graph_def, input_shape)
        size = _height_width_channels(self.start.outputs[0])
        if size is None:
            raise ValueError(
                f"the size of the input {self.start.name!r} is unknown; give its height, width and channels"
            )
        self.input_shape = size
        self._reached = self._reached_from(self.start)
        positions = {node.name: position for position, node in enumerate(graph_def.node)}
        names = {op: _own_name(op) for op in self._reached}
        self._str_ids = {op: f"{positions[name]}|{name.lower()}" for op, name in names.items()}
        self.ops: list[tf.Operation] = sorted(self._reached, key=lambda op: positions[names[op]])
        self.sources = {op: [tensor.op for tensor in self._operands(op)] for op in self.ops}
        self.readers: dict[tf.Operation, list[tf.Operation]] = {op: [] for op in self.ops}
        for op in self.ops:
            for source in self.sources[op]:
                self.readers[source].append(op)

    def _import(self, graph_def: "tf.compat.v1.GraphDef", input_shape: Shape | None) -> "tf.Operation":
        """Load the graph with inferred shapes; returns the input operation."""
        node, nodes = input_node(graph_def), list(graph_def.node)
        if input_shape is None and node.op == "Identity":  # what it reads may be constants, which no image is
            input_shape = _height_width_channels(tensor_of(imported(part_feeding(graph_def, node.name)), node.name))
        if input_shape is not None:
            image = placeholder(node.name, (_batch_size(node), *input_shape), declared_type(node))
            nodes = [image if one.name == node.name else one for one in nodes]
        graph = imported(type(graph_def)(node=nodes, versions=graph_def.versions))  # no call is read
        return graph.get_operation_by_name(node.name)

    def _reached_from(self, start: "tf.Operation") -> set["tf.Operation"]:
        reached, waiting = {start}, [start]
        while waiting:
            for tensor in waiting.pop().outputs:
                new = {reader for reader in tensor.consumers() if reader.type not in SIZES} - reached
                reached |= new
                waiting.extend(new)
        return reached

    def _operands(self, op: "tf.Operation") -> list["tf.Tensor"]:
        """The tensors that an operation reads from the flow."""
        if op is self.start:
            return []
        return [tensor for tensor in map(_through_identities, op.inputs) if tensor.op in self._reached]

    def constants(self, op: "tf.Operation") -> list["tf.Tensor"]:
        """The tensors that an operation reads from elsewhere."""
        return [tensor for tensor in op.inputs if _through_identities(tensor).op not in self._reached]

    def str_id(self, op: "tf.Operation") -> str:
        """Position in the file and lower-case name."""
        return self._str_ids[op]

    def resolution(self, op: "tf.Operation") -> tuple[Shape, Shape]:
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


def _batch_size(node: "tf.compat.v1.NodeDef") -> int:
    sizes = declared_shape(node)
    return max(1, sizes[0]) if len(sizes) == 4 else 1


def _own_name(op: "tf.Operation") -> str:
    """An operation's name; padding goes under the name of the constant that says how much."""
    if op.type in ("Pad", "PadV2") and op.inputs[1].op.name.endswith("/paddings"):
        return op.inputs[1].op.name
    return op.name


def _through_identities(tensor: "tf.Tensor") -> "tf.Tensor":
    """The tensor that an IdentityN (Keras puts one around swish) hands on."""
    while tensor.op.type == "IdentityN":
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def _height_width_channels(tensor: "tf.Tensor") -> Shape | None:
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
