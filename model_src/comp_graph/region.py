"""A region: a part of a foreign network that is held as it is, as plain text in the metadata of one node.

Its operations are those of ONNX, in the notation of opset 20, with what ONNX reads of constant operands (a shape, axes,
ends) as attributes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import Node

Dims = tuple[int, ...]
MAX_LENGTH, MAX_OPS, MAX_NUMBERS = 1 << 20, 1000, 1 << 28  # of the text, of a region, of its weights

# Type of an ONNX operation -> the names of its operands from the second on, where they are constants.
OPERANDS: Mapping[str, tuple[str, ...]] = {
    "Clip": ("min", "max"),
    "Expand": ("shape",),
    "Pad": ("pads", "constant_value", "axes"),
    "Reshape": ("shape",),
    "Slice": ("starts", "ends", "axes", "steps"),
    "Squeeze": ("axes",),
    "Tile": ("repeats",),
    "Unsqueeze": ("axes",),
    **{f"Reduce{kind}": ("axes",) for kind in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")},
}


class RegionOp(NamedTuple):
    """An operation of a region.

    Attributes:
        type: Its type in ONNX.
        inputs: Names of what it reads; "" for an operand that is left out.
        attributes: Plain numbers, texts and lists of numbers.
    """

    type: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class Constant(NamedTuple):
    """A small tensor that is no parameter."""

    type: str  # int64, bool, float32
    shape: Dims
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Region:
    """Operations that make one map (N, C, H, W) of several.

    Attributes:
        inputs: (C, H, W) of the maps; their names are x0, x1, ...
        weights: Shapes of the constants that are parameters; their names are w0, w1, ...
        constants: The other constants; their names are c0, c1, ...
        ops: In the order in which they run; the results' names are t0, t1, ..., the last one is the region's.
    """

    inputs: tuple[Dims, ...]
    weights: tuple[Dims, ...]
    constants: tuple[Constant, ...]
    ops: tuple[RegionOp, ...]

    def text(self) -> str:
        """The region as JSON."""
        content = {
            "inputs": self.inputs,
            "weights": self.weights,
            "constants": [one._asdict() for one in self.constants],
            "ops": [[op.type, op.inputs, dict(sorted(op.attributes.items()))] for op in self.ops],
        }
        return json.dumps(content, separators=(",", ":"))

    @property
    def n_weights(self) -> int:
        """How many numbers its parameters have."""
        return sum(map(prod, self.weights))


@lru_cache(maxsize=1 << 10)
def region_from(text: str) -> Region:
    """Read a region that `Region.text` wrote.

    Raises:
        ValueError: It is no such text, too large, or an operation reads what is not there.
    """
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        raise ValueError("its region is no text, or too long")
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
        region = Region(
            tuple(_dims(one, 3) for one in content["inputs"]),
            tuple(map(_dims, content["weights"])),
            tuple(_constant(**one) for one in content["constants"]),
            tuple(RegionOp(str(kind), tuple(map(str, names)), dict(more)) for kind, names, more in content["ops"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its region cannot be read: {type(error).__name__} {error}") from error
    if not region.inputs or not 0 < len(region.ops) <= MAX_OPS or region.n_weights > MAX_NUMBERS:
        raise ValueError("its region is empty, or too large")
    kinds = zip("xwc", (region.inputs, region.weights, region.constants), strict=True)
    known = {"", *(f"{letter}{at}" for letter, items in kinds for at in range(len(items)))}
    for at, op in enumerate(region.ops):
        if not known.issuperset(op.inputs):
            raise ValueError(f"its region reads {sorted(set(op.inputs) - known)}, which nothing gives")
        known.add(f"t{at}")
    return region


def region_of(node: "Node") -> Region:
    """The region that a node holds.

    Raises:
        ValueError: It holds none; see `region_from`.
    """
    try:
        return region_from((node.metadata or {}).get("region", ""))
    except ValueError as error:
        raise node.error(str(error)) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _dims(sizes: Any, n: int | None = None) -> Dims:
    if any(type(size) is not int or size < 1 for size in sizes) or (n is not None and len(sizes) != n):
        raise ValueError(f"{sizes} is no shape")
    return tuple(sizes)


def _constant(type: str, shape: list[int], values: list[Any]) -> Constant:
    kinds = {"int64": int, "bool": bool, "float32": float}
    wrong = type not in kinds or any(not isinstance(value, kinds[type]) for value in values)
    if wrong or prod(dims := tuple(shape)) != len(values):
        raise ValueError("a constant that is none")
    return Constant(type, dims, tuple(values))
