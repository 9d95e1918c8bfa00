"""Which operation of a graph each TensorFlow operation is, also where it takes several of them."""

import re
from typing import TYPE_CHECKING

from model_src.comp_graph.importers.tensorflow.flow import DataFlow
from model_src.comp_graph.importers.tensorflow.operations import NAMED, READERS, groups_of
from model_src.comp_graph.ops import OPERATIONS, Kind, Operation

if TYPE_CHECKING:
    import tensorflow as tf

# Operations without a node of their own: their result is the same image in another form, or they are a part of a bias,
# normalisation, gate or gelu. What is neither here nor registered is refused.
_HANDED_ON = frozenset(
    "BiasAdd Cast CheckNumerics Div Erf Erfc ExpandDims IdentityN Neg PreventGradient RealDiv Reshape SelectV2 Softmax "
    "Slice Split SplitV Squeeze StopGradient StridedSlice Sub".split()
)


class Recognition:
    """What the operations of a flow are.

    Attributes:
        operations: Per TensorFlow operation, the operation that it is; None where it has no node of its own.
        biased: Those to whose result a bias is added.

    Args:
        flow: The flow.

    Raises:
        ValueError: A graph cannot hold an operation.
    """

    def __init__(self, flow: DataFlow):
        self._flow = flow
        self.operations = {op: self._of_one(op) for op in flow.ops}
        self.biased: set[tf.Operation] = set()
        for op in flow.ops:
            if self.operations[op] is None and op.type not in READERS and op.type not in _HANDED_ON:
                raise ValueError(f"node {op.name!r} ({op.type}): it cannot be represented in a computation graph")
        for find in (self._find_batchnorm, self._find_bias, self._find_gate):
            for op in flow.ops:
                find(op)

    def label(self, op: "tf.Operation", operation: Operation) -> str:
        """The label of a node of an operation: TensorFlow's own name where that says the same (`add_3`)."""
        own = _last_name(op)
        return own if OPERATIONS.find(own) is operation else operation.label

    def _of_one(self, op: "tf.Operation") -> Operation | None:
        """What an operation is by itself: its type, or its name where there is no such type."""
        flow, own = self._flow, _last_name(op)
        if op is flow.start:
            return OPERATIONS["input"]
        if (name := re.sub(r"_\d+$", "", own)) in NAMED:
            return OPERATIONS[name]
        operation = _of_type(op)
        if operation is None or operation.is_idle(len(flow.sources[op])):
            return None
        if op.type == "Conv2D" and groups_of(op) > 1:
            return OPERATIONS["grouped_conv"]
        if operation.name == "identity":
            if not flow.readers[op]:
                return OPERATIONS["output"]
            if own.startswith(("input", "output")):
                return None
        return operation

    def _find_batchnorm(self, op: "tf.Operation") -> None:
        """A multiplication and an addition of one constant per channel, as Keras 3 normalises."""
        if not self._shifts_channels(op):
            return
        (scale,) = self._flow.sources[op]
        if scale.type == "Mul" and self._joins_channels(scale) and self._flow.readers[scale] == [op]:
            self.operations[op] = OPERATIONS["batchnorm"]

    def _shifts_channels(self, op: "tf.Operation") -> bool:
        """Whether an operation adds one constant per channel."""
        operation = _of_type(op)
        return operation is not None and operation.name == "add" and self._joins_channels(op)

    def _joins_channels(self, op: "tf.Operation") -> bool:
        """Whether an operation without a node joins its only operand with one constant per channel."""
        constants, channels = self._flow.constants(op), op.outputs[0].shape
        if len(self._flow.sources[op]) != 1 or len(constants) != 1 or not channels.rank or self.operations[op]:
            return False
        shape = constants[0].shape
        return bool(shape.rank) and shape[-1] == channels[-1] and shape.num_elements() == channels[-1]

    def _find_bias(self, op: "tf.Operation") -> None:
        if op.type == "BiasAdd" or self._shifts_channels(op):
            target, _ = self._origin(self._flow.sources[op][0])
            operation = _of_type(target)
            if operation and (operation.kind is Kind.WEIGHTED or operation.name == "batchtospacend"):
                self.biased.add(target)

    def _find_gate(self, op: "tf.Operation") -> None:
        """A product x sigmoid(x) is swish, x (1 + erf(x / sqrt 2)) / 2 is gelu."""
        sources = self._flow.sources[op]
        if op.type != "Mul" or self.operations[op] is None or len(sources) != 2:
            return
        for gate, value in (sources, sources[::-1]):
            (value_origin, value_types), (gate_origin, gate_types) = self._origin(value), self._origin(gate)
            if gate.type == "Sigmoid" and self._flow.readers[gate] == [op]:
                if self._origin(self._flow.sources[gate][0])[0] is value_origin:
                    self.operations[op], self.operations[gate] = OPERATIONS["swish"], None
                    return
            elif gate_origin is value_origin and {"Erf", "Erfc"} & (gate_types | value_types):
                self.operations[op] = OPERATIONS["gelu"]
                return

    def _origin(self, op: "tf.Operation") -> tuple["tf.Operation", set[str]]:
        """The operation with a node that an operation's result comes from, and the types passed on the way."""
        types = set()
        while self.operations[op] is None and len(self._flow.sources[op]) == 1:
            types.add(op.type)
            (op,) = self._flow.sources[op]
        return op, types


def _last_name(op: "tf.Operation") -> str:
    return op.name.rsplit("/", 1)[-1].lower()


def _of_type(op: "tf.Operation") -> Operation | None:
    """The operation that a TensorFlow type stands for."""
    if op.type not in READERS:
        return None
    (name,) = READERS.operations_of(op.type)
    return OPERATIONS[name]
