"""Activations that a model computes in several steps: x (1 + erf(x / sqrt 2)) / 2 is Gelu, min(max(x, 0), 6) a Clip.

Whether steps give that is tried on numbers, so their order does not matter.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from scipy.special import erf, expit

from model_src.comp_graph.importers.onnx.op import OnnxOp

Attributes = Mapping[str, Any]
Function = Callable[..., np.ndarray]


def _plain(function: Callable[..., np.ndarray]) -> Function:
    return lambda attributes, *operands: function(*operands)


def _clip(attributes: Attributes, x: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    ends = (attributes.get("min"), attributes.get("max")) if (low, high) == (None, None) else (low, high)
    return np.clip(x, -np.inf if ends[0] is None else ends[0], np.inf if ends[1] is None else ends[1])


def _hardsigmoid(attributes: Attributes, x: np.ndarray) -> np.ndarray:
    return np.clip(attributes.get("alpha", 0.2) * x + attributes.get("beta", 0.5), 0, 1)


_FUNCTIONS: Mapping[str, Function] = {
    "Add": _plain(np.add),
    "Clip": _clip,
    "Div": _plain(np.divide),
    "Erf": _plain(erf),
    "HardSigmoid": _hardsigmoid,
    "Identity": _plain(np.positive),
    "Max": _plain(np.maximum),
    "Min": _plain(np.minimum),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "Pow": _plain(np.power),
    "Relu": _plain(lambda x: np.maximum(x, 0)),
    "Sigmoid": _plain(expit),
    "Sub": _plain(np.subtract),
    "Tanh": _plain(np.tanh),
}
_TELLING = frozenset({"Clip", "Erf", "HardSigmoid", "Max", "Min", "Sigmoid", "Tanh"})  # every one goes through these
_FARTHEST = 8  # tensors looked at in front of one of them
_ENDS = np.array([10, 20, 100, 1e4, 1e8, 1e30])  # far out, where a clipped function differs from one that is not
_PROBE = np.concatenate([-_ENDS, np.linspace(-8, 8, 65), _ENDS])


class _Composed(NamedTuple):
    """An activation: its type and attributes in ONNX, and its values on the probe."""

    type: str
    attributes: Attributes
    values: np.ndarray


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


_COMPOSED = (
    _Composed("Clip", {"min": 0.0, "max": 6.0}, np.clip(_PROBE, 0, 6)),
    _Composed("Gelu", {}, _PROBE * (1 + erf(_PROBE / np.sqrt(2))) / 2),
    _Composed("Gelu", {"approximate": b"tanh"}, _gelu_tanh(_PROBE)),
    _Composed("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, np.clip(_PROBE / 6 + 0.5, 0, 1)),
    _Composed("HardSwish", {}, _PROBE * np.clip(_PROBE / 6 + 0.5, 0, 1)),
    _Composed("Relu", {}, np.maximum(_PROBE, 0)),
    _Composed("Swish", {}, _PROBE * expit(_PROBE)),
)


def with_composed(ops: Sequence[OnnxOp], constants: Mapping[str, np.ndarray]) -> list[OnnxOp]:
    """The operations with those that end an activation replaced by it; what only it read is still there.

    Args:
        ops: In a topological order.
        constants: Tensors that do not depend on the image.
    """
    steps = _Steps(ops, constants)
    found: dict[str, OnnxOp] = {}
    for position, op in enumerate(ops):
        if op.type in _TELLING:
            for root in steps.roots(op):
                for last, kind in steps.compositions(root, position):
                    found.setdefault(
                        last.outputs[0], OnnxOp(last.name, kind.type, (root,), last.outputs, kind.attributes)
                    )
    return [found.get(op.outputs[0], op) for op in ops]


class _Steps:
    """The operations of a model, of which single numbers can be run through parts."""

    def __init__(self, ops: Sequence[OnnxOp], constants: Mapping[str, np.ndarray]):
        self._ops = ops
        self._numbers = {name: float(value.reshape(())) for name, value in constants.items() if value.size == 1}
        self._producers = {name: op for op in ops for name in op.outputs}
        self._readers: dict[str, list[int]] = {}
        for position, op in enumerate(ops):
            for name in dict.fromkeys(op.inputs):
                self._readers.setdefault(name, []).append(position)

    def roots(self, op: OnnxOp) -> Iterator[str]:
        """The tensors that an operation's result depends on number by number, the nearest first."""
        waiting, seen = [op], set[str]()
        while waiting and len(seen) < _FARTHEST:
            for name in waiting.pop(0).inputs:
                if not name or name in self._numbers or name in seen:
                    continue
                seen.add(name)
                yield name
                before = self._producers.get(name)
                if before is not None and before.type in _FUNCTIONS:
                    waiting.append(before)

    def compositions(self, root: str, through: int) -> Iterator[tuple[OnnxOp, _Composed]]:
        """The operations behind a given one whose results are activations of a tensor, and which."""
        values, waiting = {root: _PROBE}, list(self._readers.get(root, ()))
        while waiting:
            position = heappop(waiting)
            op = self._ops[position]
            result = self._result(op, values)
            if result is None or op.outputs[0] in values:
                continue
            values[op.outputs[0]] = result
            for reader in self._readers.get(op.outputs[0], ()):
                heappush(waiting, reader)
            if position > through and self._ops[through].outputs[0] in values:
                kinds = (kind for kind in _COMPOSED if np.allclose(result, kind.values, rtol=1e-6, atol=1e-6))
                yield from ((op, kind) for kind in kinds)

    def _result(self, op: OnnxOp, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """What an operation makes of the numbers; None where one of its operands is not known."""
        if op.type not in _FUNCTIONS:
            return None
        operands = [values.get(name, self._numbers.get(name)) if name else None for name in op.inputs]
        if any(operand is None and name for operand, name in zip(operands, op.inputs, strict=True)):
            return None
        with np.errstate(all="ignore"):
            return _FUNCTIONS[op.type](op.attributes, *operands)
