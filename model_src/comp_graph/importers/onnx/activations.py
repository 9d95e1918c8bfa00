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
    if not np.allclose((alpha, beta), (1 / 6, 0.5), rtol=1e-6):
        raise op.error(f"with alpha {alpha:g} and beta {beta:g} it cannot be represented; only with 1/6 and 0.5")
    return _node(builder, op, "hardsigmoid")


def _gelu(builder: Builder, op: OnnxOp) -> Value:
    return _node(builder, op, "gelu_tanh" if op.attributes.get("approximate") == b"tanh" else "gelu")


def _clip(builder: Builder, op: OnnxOp) -> Value:
    least, most = builder.constant(op, 1), builder.constant(op, 2)
    lower = float(op.attributes.get("min", "-inf") if least is None else least.reshape(()))
    upper = float(op.attributes.get("max", "inf") if most is None else most.reshape(()))
    name = {(0.0, 6.0): "relu6", (0.0, np.inf): "relu"}.get((lower, upper))
    if name is None and (lower != 0 or upper < np.finfo(np.float32).max):
        raise op.error(f"it clips to {lower:g} ... {upper:g}; only 0 ... 6 (relu6) and 0 ... inf can be represented")
    return _node(builder, op, name or "relu")


# Names of the operations that may be made of a type of ONNX operation, the type, and what makes them.
ACTIVATIONS: tuple[tuple[tuple[str, ...], str, Converter], ...] = (
    *(((name,), kind, _pointwise(name)) for name, kind in POINTWISE.items() if name != "gelu"),
    (("swish",), "Swish", _pointwise("swish")),
    (("gelu", "gelu_tanh"), "Gelu", _gelu),
    (("relu6", "relu"), "Clip", _clip),
    (("leakyrelu",), "LeakyRelu", _with_alpha("leakyrelu", 0.01)),
    (("elu",), "Elu", _with_alpha("elu", 1.0)),
    (("prelu",), "PRelu", _prelu),
    (("hardsigmoid",), "HardSigmoid", _hardsigmoid),
)
