"""An operation of an ONNX graph, in plain values."""

from collections.abc import Mapping
from typing import Any, NamedTuple


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
