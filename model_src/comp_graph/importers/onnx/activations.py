"""Converters of activations: what ONNX computes number by number."""

from collections.abc import Callable

import numpy as np

from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.op import OnnxOp, shortest
from model_src.comp_graph.onnx_types import POINTWISE

Converter = Callable[[Builder, OnnxOp], Value]


def _pointwise(name: str) -> Converter:
    """The converter of an operation that ONNX has as well."""

    def converter(builder: Builder, op: OnnxOp) -> Value:
        for attribute, value in op.attributes.items():
            if value != _DEFAULTS.get(attribute):
                raise op.error(f"with {attribute} {value!r} it cannot be represented")
        return _node(builder, op, name)

    return converter


_DEFAULTS = {"alpha": 1.0}
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)  # alpha and gamma by ONNX


def _node(builder: Builder, op: OnnxOp, name: str, **metadata: float) -> Value:
    x = builder.value(op)
    return builder.node(name, op.name, [x], builder.size(x), metadata=metadata or None)


def _with_alpha(name: str, default: float) -> Converter:
    """The converter of an activation with a slope or scale."""

    def converter(builder: Builder, op: OnnxOp) -> Value:
        alpha = op.attributes.get("alpha", default)
        if not np.isfinite(alpha):
            raise op.error(f"with alpha {alpha} it cannot be represented")
        return _node(builder, op, name, alpha=shortest(alpha))

    return converter


def _prelu(builder: Builder, op: OnnxOp) -> Value:
    x, slopes = builder.value(op), builder.parameter(op, 1)
    weight = builder.by_channel(x, slopes)
    if weight is None:
        raise op.error(f"slopes of shape {slopes.shape} cannot be represented; only one, or one per channel")
    value = _node(builder, op, "prelu")
    builder.set_weights(value, {"weight": weight})
    return value


def _hardsigmoid(builder: Builder, op: OnnxOp) -> Value:
    alpha, beta = op.attributes.get("alpha", 0.2), op.attributes.get("beta", 0.5)
    if not np.isfinite((alpha, beta)).all():
        raise op.error(f"with alpha {alpha:g} and beta {beta:g} it cannot be represented")
    if np.allclose((alpha, beta), (1 / 6, 0.5), rtol=1e-6):
        return _node(builder, op, "hardsigmoid")
    line = _node(builder, op, "scale", factor=shortest(alpha), offset=shortest(beta))
    return _clipped(builder, op, line, 0.0, 1.0)


def _selu(builder: Builder, op: OnnxOp) -> Value:
    """Read Selu: gamma times an Elu."""
    alpha, gamma = op.attributes.get("alpha", _SELU[0]), op.attributes.get("gamma", _SELU[1])
    if not np.isfinite((alpha, gamma)).all():
        raise op.error(f"with alpha {alpha:g} and gamma {gamma:g} it cannot be represented")
    curve = _node(builder, op, "elu", alpha=shortest(alpha))
    numbers = {"factor": shortest(gamma), "offset": 0.0}
    return builder.node("scale", op.name, [curve], builder.size(curve), metadata=numbers)


def _gelu(builder: Builder, op: OnnxOp) -> Value:
    return _node(builder, op, "gelu_tanh" if op.attributes.get("approximate") == b"tanh" else "gelu")


def _clip(builder: Builder, op: OnnxOp) -> Value:
    least, most = builder.constant(op, 1), builder.constant(op, 2)
    lower = float(op.attributes.get("min", "-inf") if least is None else least.reshape(()))
    upper = float(op.attributes.get("max", "inf") if most is None else most.reshape(()))
    return _clipped(builder, op, builder.value(op), lower, upper)


def _clipped(builder: Builder, op: OnnxOp, x: Value, lower: float, upper: float) -> Value:
    name = {(0.0, 6.0): "relu6", (0.0, np.inf): "relu"}.get((lower, upper))
    if name is not None or (lower == 0 and upper >= np.finfo(np.float32).max):
        return builder.node(name or "relu", op.name, [x], builder.size(x))
    if not lower < upper or not np.isfinite([lower, upper]).all():
        raise op.error(f"it clips to {lower:g} ... {upper:g}; only a finite range or 0 ... inf can be represented")
    ends = {"min": shortest(lower), "max": shortest(upper)}
    return builder.node("clip", op.name, [x], builder.size(x), positive=lower >= 0, metadata=ends)


def _max(builder: Builder, op: OnnxOp) -> Value:
    """The larger one of a tensor and a number, where the smaller one of that and a number comes next."""
    reader = builder.only_reader(op.outputs[0])
    if len(op.inputs) != 2 or reader is None or reader.type != "Min" or _bound(builder, reader) is None:
        raise op.error("it cannot be represented, except in front of a minimum with a number")
    if _bound(builder, op) is None:
        raise op.error("only a tensor and a number can be compared")
    return builder.value(op)


def _min(builder: Builder, op: OnnxOp) -> Value:
    before, upper = builder.producer(op.inputs[0]), _bound(builder, op)
    lower = _bound(builder, before) if before is not None and before.type == "Max" else None
    if before is None or lower is None or upper is None or builder.only_reader(before.outputs[0]) != op:
        raise op.error("it cannot be represented, except behind a maximum with a number")
    return _clipped(builder, op, builder.value(op), lower, upper)


def _bound(builder: Builder, op: OnnxOp) -> float | None:
    """The number that a tensor is compared with."""
    if len(op.inputs) != 2 or not builder.is_constant(op.inputs[1]):
        return None
    number = builder.parameter(op, 1)
    return float(number.reshape(())) if number.size == 1 else None


# Names of the operations that may be made of a type of ONNX operation, the type, and what makes them.
ACTIVATIONS: tuple[tuple[tuple[str, ...], str, Converter], ...] = (
    *(((name,), kind, _pointwise(name)) for name, kind in POINTWISE.items() if name != "gelu"),
    (("swish",), "Swish", _pointwise("swish")),
    (("gelu", "gelu_tanh"), "Gelu", _gelu),
    (("relu6", "relu", "clip"), "Clip", _clip),
    ((), "Max", _max),
    (("clip",), "Min", _min),
    (("leakyrelu",), "LeakyRelu", _with_alpha("leakyrelu", 0.01)),
    (("elu",), "Elu", _with_alpha("elu", 1.0)),
    (("prelu",), "PRelu", _prelu),
    (("hardsigmoid", "scale", "clip"), "HardSigmoid", _hardsigmoid),
    (("elu", "scale"), "Selu", _selu),
)
