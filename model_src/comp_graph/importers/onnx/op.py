"""An operation of an ONNX graph, in plain values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class OnnxOp(NamedTuple):
    """A node of an ONNX graph."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def error(self, reason: str) -> "Refusal":
        """An error that names the node and its operation."""
        return Refusal([Blocker(self.name, self.type, reason)])


class Blocker(NamedTuple):
    """Why an operation cannot be held, and what can be done about it."""

    node: str
    type: str
    reason: str


class Refusal(ValueError):
    """What stands in the way of reading a model, in one line.

    Attributes:
        blockers: All operations that cannot be held, in the model's order.
    """

    def __init__(self, blockers: Sequence[Blocker]):
        self.blockers = tuple(blockers)
        same: dict[tuple[str, str], list[str]] = {}
        for node, type_, reason in blockers:
            same.setdefault((type_, reason), []).append(repr(node))
        texts = [f"node {_listed(nodes)} ({type_}): {reason}" for (type_, reason), nodes in same.items()]
        count = f"{len(blockers)} operations cannot be held: " if len(blockers) > 1 else ""
        super().__init__(count + "; ".join(texts))


def _listed(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return ", ".join(nodes[:_NAMED]) + more


_NAMED = 3  # nodes of one kind that are named


def refuse_all(refusals: Sequence[Refusal]) -> None:
    """Raise all that was refused as one error.

    Raises:
        Refusal: There is any.
    """
    if refusals:
        raise Refusal(list(dict.fromkeys(blocker for refusal in refusals for blocker in refusal.blockers)))


def shortest(value: float) -> float:
    """The shortest number that is the same one in float32: 0.1 for 0.10000000149011612; at most the largest one."""
    single, largest = np.float32(value), float(np.finfo(np.float32).max)
    return float(np.clip(float(str(single)), -largest, largest)) if np.isfinite(single) else float(single)


def without_splits(op: OnnxOp, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[OnnxOp]:
    """The operation, or for one that splits a tensor the slices that give the same.

    Args:
        op: The operation.
        shapes: Shape of every tensor.
    """
    if op.type != "Split" or any(name not in shapes for name in op.outputs):
        yield op
        return
    axis, start = op.attributes.get("axis", 0), 0
    for name in op.outputs:
        stop = start + shapes[name][axis]
        yield OnnxOp(op.name, "Slice", op.inputs[:1], (name,), {"starts": [start], "ends": [stop], "axes": [axis]})
        start = stop


def with_gather(op: OnnxOp, constants: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> OnnxOp:
    """The operation, or for one that gathers along the first of any number of axes the one that gathers along an axis.

    Args:
        op: The operation.
        constants: Tensors that do not depend on the image; the new operation reads one more.
        shapes: Shape of every tensor; likewise.
    """
    places = constants.get(op.inputs[1]) if op.type == "GatherND" and len(op.inputs) > 1 else None
    if places is None or op.attributes.get("batch_dims", 0) or places.shape[-1:] != (1,) or op.inputs[0] not in shapes:
        return op
    name = f"{op.outputs[0]}/index"
    constants[name] = places[..., 0] % max(1, shapes[op.inputs[0]][0])
    shapes[name] = constants[name].shape
    return OnnxOp(op.name, "Gather", (op.inputs[0], name), op.outputs, {"axis": 0})
