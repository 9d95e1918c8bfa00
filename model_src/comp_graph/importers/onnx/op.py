"""An operation of an ONNX graph, in plain values."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class OnnxOp(NamedTuple):
    """A node of an ONNX graph."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def error(self, reason: str) -> ValueError:
        """An error that names the node and its operation."""
        return ValueError(f"node {self.name!r} ({self.type}): {reason}")


def shortest(value: float) -> float:
    """The shortest number that is the same one in float32: 0.1 for 0.10000000149011612."""
    return float(str(np.float32(value)))
