"""Operations on maps (N, H, W, C), as TensorFlow has them between transpositions, told on (N, C, H, W).

A transposition to NHWC is put off: what reads it reads the map in front of it, with its axes and constants reordered,
and what cannot be told so gets the transposition after all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_src.comp_graph.importers.onnx.op import OnnxOp

_TO_NHWC = (0, 2, 3, 1)  # axis i of an NHWC map is this axis of NCHW
_TO_NCHW = (0, 3, 1, 2)
_BY_NUMBER = frozenset(
    "Abs Add Cast Ceil Clip Div Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max Min "
    "Mish Mul Neg PRelu Pow Reciprocal Relu Selu Sigmoid Softplus Softsign Sqrt Sub Sum Swish Tanh".split()
)
_BY_AXIS = {"Concat": 0, "LogSoftmax": -1, "Softmax": -1}  # and the axis where none is given
_REDUCTIONS = frozenset({"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Squeeze"})


def channels_first(
    ops: Sequence[OnnxOp],
    constants: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    output: str,
) -> tuple[list[OnnxOp], str]:
    """The operations with as few of them on NHWC maps as possible, and the name of the result.

    Args:
        ops: In a topological order.
        constants: Tensors that do not depend on the image; those that are reordered are added under other names.
        shapes: Shape of every tensor; likewise.
        output: The model's result.
    """
    pushed = _Pushed(constants, shapes)
    for op in ops:
        pushed.take(op)
    return pushed.ops, pushed.result(output)


class _Pushed:
    """Operations behind which the transpositions to NHWC were pushed.

    Attributes:
        ops: The operations so far.
    """

    def __init__(self, constants: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]):
        self.ops: list[OnnxOp] = []
        self._constants, self._shapes = constants, shapes
        self._fronts: dict[str, str] = {}  # NHWC tensor -> the NCHW tensor that it is a transposition of
        self._same: dict[str, str] = {}  # a tensor under its other name
        self._done: set[str] = set()

    def take(self, op: OnnxOp) -> None:
        """Add an operation."""
        op = op._replace(inputs=tuple(self._same.get(name, name) for name in op.inputs))
        perm = tuple(op.attributes.get("perm", ())) if op.type == "Transpose" else ()
        if perm == _TO_NHWC and op.inputs[0] not in self._fronts:
            self._fronts[op.outputs[0]] = op.inputs[0]
        elif perm == _TO_NCHW and op.inputs[0] in self._fronts:
            self._same[op.outputs[0]] = self._fronts[op.inputs[0]]
        elif any(name in self._fronts for name in op.inputs) and (told := self._told(op)):
            self.ops.append(told)
        else:
            for name in op.inputs:
                self.transpose(name)
            self.ops.append(op)

    def result(self, name: str) -> str:
        """The tensor that a tensor is in the end."""
        name = self._same.get(name, name)
        self.transpose(name)
        return name

    def transpose(self, name: str) -> None:
        """Do a transposition that was put off."""
        if name in self._fronts and name not in self._done:
            self._done.add(name)
            self.ops.append(OnnxOp(name, "Transpose", (self._fronts[name],), (name,), {"perm": list(_TO_NHWC)}))

    def _told(self, op: OnnxOp) -> OnnxOp | None:
        """The operation on NCHW maps; None where there is no such."""
        if op.type in _BY_NUMBER:
            return self._on_maps(op, op.attributes)
        if op.type in _BY_AXIS:
            return self._on_maps(op, _moved_axis(op, _BY_AXIS[op.type]))
        if op.type in _REDUCTIONS:
            return self._reduced(op)
        if op.type == "Pad" and self._known(op, 1, 2, 3):
            return self._padded(op)
        if op.type == "Slice" and self._known(op, 1, 2, 3, 4):
            return self._sliced(op)
        return None

    def _known(self, op: OnnxOp, *places: int) -> bool:
        return all(name in self._constants for name in map(op.inputs.__getitem__, places[: len(op.inputs) - 1]) if name)

    def _axes(self, op: OnnxOp, place: int, otherwise: Sequence[int]) -> list[int]:
        """The axes that an operand names, as those of NCHW."""
        given = len(op.inputs) > place and op.inputs[place]
        return [_TO_NHWC[int(axis)] for axis in (self._constants[op.inputs[place]] if given else otherwise)]

    def _on_maps(self, op: OnnxOp, attributes: Mapping[str, Any]) -> OnnxOp | None:
        """An operation whose operands are maps, or constants that are joined with them number by number."""
        maps = [name for name in op.inputs if name and name not in self._constants]
        if any(len(self._shapes[name]) != 4 for name in (*maps, *filter(None, op.outputs))):  # of vectors, too
            return None
        inputs = tuple(self._front(name) if name in maps else self._reordered(name) for name in op.inputs)
        return OnnxOp(op.name, op.type, inputs, self._fronts_of(op.outputs), attributes)

    def _reduced(self, op: OnnxOp) -> OnnxOp | None:
        """A reduction; where axes vanish, those that are left must be in the same order."""
        if not self._known(op, 1) or (len(op.inputs) < 2 and "axes" not in op.attributes):
            return None
        axes = self._axes(op, 1, op.attributes.get("axes", ()))
        keeps = op.type != "Squeeze" and op.attributes.get("keepdims", 1)
        left = [axis for axis in _TO_NHWC if axis not in axes]
        if not keeps and left != sorted(left):
            return None
        if len(op.inputs) < 2:
            op = op._replace(attributes={**op.attributes, "axes": axes})
        return self._one_map(op, {1: np.array(axes)} if len(op.inputs) > 1 else {}, bool(keeps))

    def _sliced(self, op: OnnxOp) -> OnnxOp:
        if len(op.inputs) > 1:
            return self._one_map(op, {3: np.array(self._axes(op, 3, range(len(self._constants[op.inputs[1]]))))})
        axes = self._axes(op, 3, op.attributes.get("axes", range(len(op.attributes["starts"]))))
        return self._one_map(op._replace(attributes={**op.attributes, "axes": axes}), {})

    def _padded(self, op: OnnxOp) -> OnnxOp | None:
        if len(op.inputs) < 2:
            return None
        if len(op.inputs) > 3 and op.inputs[3]:
            return self._one_map(op, {3: np.array(self._axes(op, 3, ()))})
        pads = self._constants[op.inputs[1]].reshape(2, 4)
        return self._one_map(op, {1: pads[:, _TO_NCHW].ravel()})

    def _one_map(self, op: OnnxOp, operands: Mapping[int, np.ndarray], gives_maps: bool = True) -> OnnxOp:
        """An operation on one map, with other constants at some places."""
        inputs = [self._front(op.inputs[0]), *op.inputs[1:]]
        for place, value in operands.items():
            inputs += [""] * (place + 1 - len(inputs))
            inputs[place] = f"{op.outputs[0]}/{place}"
            self._constants[inputs[place]] = value
            self._shapes[inputs[place]] = value.shape
        outputs = self._fronts_of(op.outputs) if gives_maps else op.outputs
        return OnnxOp(op.name, op.type, tuple(inputs), outputs, op.attributes)

    def _front(self, name: str) -> str:
        """The NCHW map of an NHWC one."""
        if name not in self._fronts:
            front = self._named(name)
            self._fronts[name] = front
            self._done.add(name)  # it is there
            self.ops.append(OnnxOp(name, "Transpose", (name,), (front,), {"perm": list(_TO_NCHW)}))
        return self._fronts[name]

    def _fronts_of(self, names: Sequence[str]) -> tuple[str, ...]:
        self._fronts |= {name: self._named(name) for name in names if name}
        return tuple(self._fronts[name] if name else "" for name in names)

    def _named(self, name: str) -> str:
        front = f"{name}/NCHW"
        self._shapes[front] = tuple(self._shapes[name][axis] for axis in _TO_NCHW)
        return front

    def _reordered(self, name: str) -> str:
        """A constant as it is joined with NCHW maps."""
        value = self._constants.get(name)
        if value is None or value.size == 1 or value.ndim > 4:
            return name
        front = f"{name}/NCHW"
        self._constants[front] = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(_TO_NCHW)
        self._shapes[front] = self._constants[front].shape
        return front


def _moved_axis(op: OnnxOp, default: int) -> dict[str, Any]:
    return {**op.attributes, "axis": _TO_NHWC[op.attributes.get("axis", default)]}
