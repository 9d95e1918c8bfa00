"""Writes operations of a model down as a region."""

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import numpy as np

from model_src.comp_graph.importers.onnx.batch_axis import Place, place_after
from model_src.comp_graph.importers.onnx.builder import Builder
from model_src.comp_graph.importers.onnx.op import OnnxOp, shortest
from model_src.comp_graph.region import OPERANDS, Constant, Region, RegionOp

_ALIASES = frozenset({"Dropout", "Identity"})
MOVES = _ALIASES | {"Flatten", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_OF_NUMBERS = frozenset(
    {"Add", "Div", "Equal", "Gather", "Greater", "Less", "Max", "Min", "Mul", "Pow", "Sub", "Where"}
)
_MOST_NUMBERS = 1024  # of a constant that is no parameter
_WITHOUT = ("allowzero", "noop_with_empty_axes", "stash_type")


class RegionWriter:
    """Collects the operations of a region.

    Args:
        builder: What they read comes from it.
        names: The tensors that come from outside.

    Attributes:
        weights: The parameters, by their names in the region.
        macs: Multiply-accumulates of products of matrices and of convolutions, for the model's batch.
    """

    def __init__(self, builder: Builder, names: Sequence[str]):
        self._builder = builder
        self.weights: dict[str, np.ndarray] = {}
        self.macs = 0
        self._constants: list[Constant] = []
        self._ops: list[RegionOp] = []
        self._names: dict[str, str] = {"": ""}
        self._inputs = []
        self._batch = dict.fromkeys(names, Place())  # where the images are, of tensors that have any
        for at, name in enumerate(names):
            h, w, c = builder.size(builder.values[name])
            self._inputs.append((c, h, w))
            self._names[name] = self._laid_out(f"x{at}", name)

    @staticmethod
    def knows(op: OnnxOp) -> bool:
        """Whether operations of a type can be written down."""
        from model_src.comp_graph.networks.region_forms import FORMS

        return (op.type in FORMS or op.type in _ALIASES) and not any(op.outputs[1:])

    def add(self, op: OnnxOp) -> None:
        """Append an operation.

        Raises:
            ValueError: One of its constants cannot be kept.
        """
        if op.type in _ALIASES:
            self._names[op.outputs[0]] = self._names[op.inputs[0]]
            self._batch[op.outputs[0]] = self._batch.get(op.inputs[0], Place())
            return
        attributes: dict[str, Any] = {
            key: value.decode() if isinstance(value, bytes) else value
            for key, value in op.attributes.items()
            if key not in _WITHOUT
        }
        keys = OPERANDS.get(op.type, ())
        for at, key in enumerate(keys, 1):
            if (operand := self._builder.constant(op, at)) is not None:
                attributes[key] = operand.tolist()
        _check_shapes(op, [self._builder.shape(name) for name in op.inputs if name])
        self._settle(op, attributes)
        self._count(op, attributes)
        inputs = op.inputs[:1] if keys else op.inputs
        if op.type in ("Conv", "Gemm") and len(inputs) == 3 and self._builder.bias(op, 2) is None:
            inputs = inputs[:2]
        operands = [self._operand(op, name) for name in inputs]
        if op.type == "Slice" and min(attributes["steps"]) < 0:
            self._names[op.outputs[0]] = self._reversed(operands[0], attributes)
        else:
            self._names[op.outputs[0]] = self._put(op.type, operands, attributes)

    def region(self, result: str) -> Region:
        """All that was added, which ends with a tensor of the model.

        Raises:
            ValueError: It is not the last one.
        """
        if len(self._builder.shape(result)) == 2:
            self._names[result] = self._put("Unsqueeze", [self._names[result]], {"axes": [2, 3]})
        if self._names[result] != f"t{len(self._ops) - 1}":
            raise ValueError("its result is not that of its last operation")
        shapes = tuple(value.shape for value in self.weights.values())
        return Region(tuple(self._inputs), shapes, tuple(self._constants), tuple(self._ops))

    def _put(self, kind: str, inputs: Sequence[str], attributes: dict[str, Any]) -> str:
        self._ops.append(RegionOp(kind, tuple(inputs), attributes))
        return f"t{len(self._ops) - 1}"

    def _reversed(self, x: str, attributes: dict[str, Any]) -> str:
        """Slices of which some are taken in reverse, which PyTorch cannot do."""
        keys = ("axes", "starts", "ends", "steps")
        for axis, *part in zip(*(attributes[key] for key in keys), strict=True):
            index = tuple(range(*part))
            self._constants.append(Constant("int64", (len(index),), index))
            x = self._put("Gather", [x, f"c{len(self._constants) - 1}"], {"axis": axis})
        return x

    def _laid_out(self, name: str, tensor: str) -> str:
        """A map as the model's tensor is laid out."""
        axes = [axis for axis in self._builder.values[tensor].axes if axis in "NCHW"]
        axes += [axis for axis in "CHW" if axis not in axes]  # axes of one pixel that the tensor does not have
        if axes != list("NCHW"):
            name = self._put("Transpose", [name], {"perm": ["NCHW".index(axis) for axis in axes]})
        shape = self._builder.shape(tensor)
        if len(shape) != 4:
            name = self._put("Reshape", [name], {"shape": [-1, *shape[1:]]})
        return name

    def _operand(self, op: OnnxOp, name: str) -> str:
        if name in self._names:
            return self._names[name]
        value = self._builder.parameter(op, op.inputs.index(name))
        if op.type == "Gather":  # PyTorch counts places from the start only
            value = value % self._builder.shape(op.inputs[0])[op.attributes.get("axis", 0)]
        is_plain = value.size <= _MOST_NUMBERS and self._builder.is_literal(name)
        if value.dtype.kind == "f" and not is_plain and (value.size > 1 or op.type not in _OF_NUMBERS):
            self._names[name] = f"w{len(self.weights)}"
            self.weights[self._names[name]] = value.astype(np.float32)
            return self._names[name]
        if value.dtype.kind not in "fib" or not np.isfinite(value).all():
            raise ValueError(f"its constant {name!r} of type {value.dtype} cannot be kept")
        kind = {"f": "float32", "i": "int64", "b": "bool"}[value.dtype.kind]
        values = [shortest(one) for one in value.flat] if kind == "float32" else value.ravel().tolist()
        shape = () if kind == "float32" and op.type in _OF_NUMBERS and value.size == 1 else value.shape
        self._constants.append(Constant(kind, shape, tuple(values)))
        self._names[name] = f"c{len(self._constants) - 1}"
        return self._names[name]

    def _settle(self, op: OnnxOp, attributes: dict[str, Any]) -> None:
        """Say what attributes mean for tensors of any batch: no negative axes, no sizes but those that are needed."""
        before = self._builder.shape(op.inputs[0])
        after = self._builder.shape(op.outputs[0])
        places = [(self._builder.shape(name), self._batch[name]) for name in op.inputs if name in self._batch]
        if "axes" not in attributes and (op.type == "Squeeze" or op.type.startswith("Reduce")):
            raise ValueError("without axes it cannot be kept: it may make one number of all images together")
        rank = len(after if op.type == "Unsqueeze" else before)
        if "axes" in attributes:
            attributes["axes"] = [axis % rank for axis in attributes["axes"]]
        if op.type == "Transpose":
            attributes.setdefault("perm", list(range(rank))[::-1])
        place = place_after(op.type, attributes, *places[0], after, self._builder.batch) if places else Place()
        self._batch[op.outputs[0]] = place
        if op.type == "Reshape":
            attributes["shape"] = [*after[: place.axis], -1, *after[place.axis + 1 :]]
        elif op.type == "Expand":
            old = (0,) * (len(after) - len(before)) + before
            attributes["shape"] = [-1 if old == new else new for old, new in zip(old, after, strict=True)]
        elif op.type == "Slice":
            _settle_slice(attributes, before)
        elif op.type == "Softmax":
            axis = attributes.get("axis", -1 if self._builder.opset >= 13 else 1) % rank
            if self._builder.opset < 13 and axis != rank - 1:
                raise ValueError("a softmax of several axes together cannot be kept")
            attributes["axis"] = axis
        elif op.type == "Conv":
            attributes["kernel_shape"] = list(self._builder.shape(op.inputs[1])[2:])
        if any(isinstance(value, float) and not isfinite(value) for value in attributes.values()):
            raise ValueError("an attribute that is no number cannot be kept")

    def _count(self, op: OnnxOp, attributes: dict[str, Any]) -> None:
        shapes = [self._builder.shape(name) for name in op.inputs if name]
        result = prod(self._builder.shape(op.outputs[0]))
        if op.type in ("MatMul", "Gemm"):
            self.macs += result * shapes[0][-1]
        elif op.type == "Conv":
            self.macs += result * prod(shapes[1][1:])
        elif op.type == "Einsum":
            terms = attributes["equation"].replace(" ", "").partition("->")[0].split(",")
            sizes: dict[str, int] = {}
            for term, shape in zip(terms, shapes, strict=True):
                sizes |= zip(term, shape, strict=False)
            self.macs += prod(sizes.values())


def _check_shapes(op: OnnxOp, shapes: Sequence[tuple[int, ...]]) -> None:
    """Check that PyTorch's form of an operation goes along the axes that it does.

    Raises:
        ValueError: It does not.
    """
    first, *others = shapes
    if op.type == "LayerNormalization" and any(one != first[op.attributes.get("axis", -1) :] for one in others):
        raise ValueError("scales of another shape than what is normalised cannot be kept")
    if op.type.startswith("Global") and len(first) != 4:
        raise ValueError(f"an operation on {len(first) - 2} axes of pixels cannot be kept")


def _settle_slice(attributes: dict[str, Any], before: Sequence[int]) -> None:
    starts = attributes["starts"]
    axes = [axis % len(before) for axis in attributes.get("axes", range(len(starts)))]
    steps = attributes.get("steps", [1] * len(starts))
    ranges = [
        slice(start, end, step).indices(before[axis])
        for start, end, axis, step in zip(starts, attributes["ends"], axes, steps, strict=True)
    ]
    starts, ends, steps = (list(numbers) for numbers in zip(*ranges, strict=True))
    attributes |= {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
