"""Collects the nodes and constants of an ONNX model, and knows how every operation is written in it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from model_src.comp_graph.exporters.trace import IMAGE, TracedStep
from model_src.comp_graph.ops import Backend, Channels
from model_src.comp_graph.registry import Registry


class Writer:
    """Collects ONNX nodes and constants.

    A result is kept as a map (N, C, H, W), as a vector (N, C), or as both: dense layers make and want vectors.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._maps: dict[int, str] = {IMAGE: "image"}
        self._vectors: dict[int, str] = {}

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Append a node; returns the name of its result, which is its own."""
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Store a constant under a name and return the name."""
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def literal(self, name: str, value: np.ndarray) -> str:
        """Write a constant into an operation of its own and return its name."""
        return self.add("Constant", [], name, value=numpy_helper.from_array(value))

    def weights(self, traced: TracedStep, *names: str) -> list[str]:
        """Store weights of a layer; returns their names."""
        values = [getattr(traced.layer, name).detach().cpu().numpy() for name in names]
        return [self.constant(f"{traced.step.name}.{name}", value) for name, value in zip(names, values, strict=True)]

    def map(self, position: int) -> str:
        """The result of a step as a map."""
        if position not in self._maps:
            vector, axes = self._vectors[position], self.constant("pixel_axes", np.array([2, 3]))
            self._maps[position] = self.add("Unsqueeze", [vector, axes], f"{vector}/map")
        return self._maps[position]

    def vector(self, position: int) -> str:
        """The result of a step, a map of one pixel, as a vector."""
        if position not in self._vectors:
            self._vectors[position] = self.add("Flatten", [self._maps[position]], f"{self._maps[position]}/vector")
        return self._vectors[position]

    def write(self, position: int, traced: TracedStep) -> None:
        """Append the nodes of a step."""
        step = traced.step
        if step.op == "matmul" and traced.before[1:] == (1, 1) and traced.slices == (None,):
            operands = [self.vector(traced.sources[0]), *self.weights(traced, "weight", "bias")]
            self._vectors[position] = self.add("Gemm", operands, step.name, transB=1)
        elif step.op in ("input", "output") and traced.slices == (None,):
            kept = self._vectors if traced.sources[0] in self._vectors else self._maps
            kept[position] = kept[traced.sources[0]]
        else:
            self._maps[position] = step.function_in(FORMS)(self, traced, self._joined(traced))

    def _joined(self, traced: TracedStep) -> str:
        """The inputs of a step as one map; of one that reads them one by one, nothing."""
        name, operation = traced.step.name, traced.step.operation
        if operation.reads_apart:
            return ""
        maps = [self._sliced(name, *one) for one in zip(traced.sources, traced.slices, strict=True)]
        if len(maps) == 1:
            return maps[0]
        own_name = name if traced.step.function_in(FORMS) is passed_on else f"{name}/sum"
        if operation.channels is Channels.SUMMED:
            return self.add("Concat", maps, own_name, axis=1)
        if operation.is_product:
            for number, other in enumerate(maps[2:]):
                maps[0] = self.add("Mul", [maps[0], maps[1]], f"{name}/{number}")
                maps[1] = other
            return self.add("Mul", maps[:2], own_name)
        return self.add("Add" if len(maps) == 2 else "Sum", maps, own_name)

    def _sliced(self, name: str, source: int, channels: int | None) -> str:
        if channels is None:
            return self.map(source)
        ends = {"starts": 0, "ends": channels, "axes": 1}
        constants = [self.constant(f"{name}/{key}", np.array([value])) for key, value in ends.items()]
        return self.add("Slice", [self.map(source), *constants], f"{name}/slice_{source}")


Form = Callable[[Writer, TracedStep, str], str]  # writes a step that reads a map, returns the name of its result
FORMS: Registry[Form] = Registry(Backend.ONNX_EXPORT)


@FORMS.register("add", "mul", "concat", "input", "output", "port")
def passed_on(writer: Writer, traced: TracedStep, x: str) -> str:
    """What the step reads, without a node of its own."""
    return x
