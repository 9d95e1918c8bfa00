"""Computation graph -> ONNX, one ONNX node per graph node wherever ONNX has the operation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_src.comp_graph.exporters.trace import IMAGE, TracedStep, trace
from model_src.comp_graph.onnx_types import POINTWISE
from model_src.comp_graph.ops import Backend, Channels
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.sizes import same_padding, window_of
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.files import atomic_write

OPSET = 20  # the first with Gelu
IR_VERSION = 9  # what came with it


def save_onnx(cg: ComputeGraph, path: str | Path, network: TorchNetwork) -> Path:
    """Write a network as ONNX: input `image` (N, C, H, W) of any batch size N, output `output`.

    Returns:
        The path.

    Raises:
        ValueError: See `to_onnx`.
    """
    path = Path(path)
    with atomic_write(path) as file:
        file.write(to_onnx(cg, network).SerializeToString())
    return path


def to_onnx(cg: ComputeGraph, network: TorchNetwork) -> onnx.ModelProto:
    """The network in ONNX, accepted by ONNX's own checker.

    Several outputs are called `output_0`, `output_1`, ...; weights have the names that they have in PyTorch.

    Args:
        cg: The graph.
        network: Its network with the weights to write.

    Raises:
        ValueError: An operation has no form in ONNX, or a node gets fewer channels than it needs.
    """
    steps, writer = trace(cg, network), _Writer()
    for position, traced in enumerate(steps):
        writer.write(position, traced)
    ends = network.plan.outputs
    names = ["output"] if len(ends) == 1 else [f"output_{number}" for number in range(len(ends))]
    squeezed = len(ends) == 1 and network.squeeze_output
    outputs = []
    for name, position in zip(names, ends, strict=True):
        value = writer.vector(position) if squeezed else writer.map(position)
        writer.add("Identity", [value], name)
        shape = steps[position].after[: 1 if squeezed else 3]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
    _, h, w, c = cg.input_shape
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", c, h, w])
    graph = helper.make_graph(writer.nodes, cg.name or "network", [image], outputs, list(writer.constants.values()))
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="AutoGO")
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Collects ONNX nodes and constants.

    A result is kept as a map (N, C, H, W), as a vector (N, C), or as both: dense layers make and want vectors.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._maps: dict[int, str] = {IMAGE: "image"}
        self._vectors: dict[int, str] = {}

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Append a node; returns the name of its result, which is its own."""
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Store a constant under a name and return the name."""
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

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
        """The inputs of a step as one map."""
        name, operation = traced.step.name, traced.step.operation
        maps = [self._sliced(name, *one) for one in zip(traced.sources, traced.slices, strict=True)]
        if len(maps) == 1:
            return maps[0]
        own_name = name if traced.step.function_in(FORMS) is _nothing else f"{name}/sum"
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


Form = Callable[[_Writer, TracedStep, str], str]  # writes a step that reads a map, returns the name of its result
FORMS: Registry[Form] = Registry(Backend.ONNX_EXPORT)


@FORMS.register("conv", "depthwise", "grouped_conv")
def _conv(writer: _Writer, traced: TracedStep, x: str) -> str:
    operands = writer.weights(traced, "weight", *(["bias"] if traced.layer.bias is not None else []))
    attributes = {**_window(traced), "dilations": window_of(traced.step.node).dilation, "group": traced.layer.groups}
    return writer.add("Conv", [x, *operands], traced.step.name, **attributes)


@FORMS.register("maxpool")
def _maxpool(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("MaxPool", [x], traced.step.name, **_window(traced))


@FORMS.register("avgpool")
def _avgpool(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("AveragePool", [x], traced.step.name, **_window(traced), count_include_pad=0)


def _window(traced: TracedStep) -> dict[str, tuple[int, ...]]:
    window = window_of(traced.step.node)
    top = bottom = left = right = 0
    if window.same:
        axes = zip(traced.before[1:], window.kernel, window.stride, window.dilation, strict=True)
        (top, bottom), (left, right) = (same_padding(*axis) for axis in axes)
    return {"kernel_shape": window.kernel, "strides": window.stride, "pads": (top, left, bottom, right)}


@FORMS.register("batchnorm")
def _batchnorm(writer: _Writer, traced: TracedStep, x: str) -> str:
    operands = writer.weights(traced, "weight", "bias", "running_mean", "running_var")
    return writer.add("BatchNormalization", [x, *operands], traced.step.name, epsilon=traced.layer.eps)


@FORMS.register("matmul")
def _matmul(writer: _Writer, traced: TracedStep, x: str) -> str:
    """A dense layer on every pixel."""
    name = traced.step.name
    kernel = writer.constant(f"{name}.weight", traced.layer.weight.detach().cpu().numpy().T)
    x = writer.add("Transpose", [x], f"{name}/channels_last", perm=(0, 2, 3, 1))
    x = writer.add("Add", [writer.add("MatMul", [x, kernel], f"{name}/product"), *writer.weights(traced, "bias")], name)
    return writer.add("Transpose", [x], f"{name}/channels_first", perm=(0, 3, 1, 2))


@FORMS.register("paddings")
def _paddings(writer: _Writer, traced: TracedStep, x: str) -> str:
    left, right, top, bottom = traced.layer.padding
    pads = writer.constant(f"{traced.step.name}/pads", np.array([0, 0, top, left, 0, 0, bottom, right]))
    return writer.add("Pad", [x, pads], traced.step.name)


@FORMS.register("relu6")
def _relu6(writer: _Writer, traced: TracedStep, x: str) -> str:
    ends = [writer.constant(name, np.array(value, np.float32)) for name, value in (("zero", 0), ("six", 6))]
    return writer.add("Clip", [x, *ends], traced.step.name)


@FORMS.register("swish")
def _swish(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Mul", [x, writer.add("Sigmoid", [x], f"{traced.step.name}/gate")], traced.step.name)


@FORMS.register("leakyrelu")
def _leakyrelu(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("LeakyRelu", [x], traced.step.name, alpha=traced.layer.negative_slope)


@FORMS.register("elu")
def _elu(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Elu", [x], traced.step.name, alpha=traced.layer.alpha)


@FORMS.register("prelu")
def _prelu(writer: _Writer, traced: TracedStep, x: str) -> str:
    slopes = traced.layer.weight.detach().cpu().numpy()[:, None, None]
    return writer.add("PRelu", [x, writer.constant(f"{traced.step.name}.weight", slopes)], traced.step.name)


@FORMS.register("hardsigmoid")
def _hardsigmoid(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("HardSigmoid", [x], traced.step.name, alpha=1 / 6, beta=0.5)


@FORMS.register("gelu_tanh")
def _gelu_tanh(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Gelu", [x], traced.step.name, approximate="tanh")


@FORMS.register("scale")
def _scale(writer: _Writer, traced: TracedStep, x: str) -> str:
    name, layer = traced.step.name, traced.layer
    steps = [("Mul", layer.factor, 1), ("Add", layer.offset, 0)]
    used = [(kind, value) for kind, value, idle in steps if value != idle] or [("Mul", 1)]
    for number, (kind, value) in enumerate(used, start=1):
        constant = writer.constant(f"{name}/{kind.lower()}", np.array(value, np.float32))
        x = writer.add(kind, [x, constant], name if number == len(used) else f"{name}/{number}")
    return x


@FORMS.register("zero")
def _zero(writer: _Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Mul", [x, writer.constant("zero", np.array(0, np.float32))], traced.step.name)


def _one_node(kind: str) -> Form:
    def form(writer: _Writer, traced: TracedStep, x: str) -> str:
        return writer.add(kind, [x], traced.step.name)

    return form


FORMS.register("identity")(_one_node("Identity"))
FORMS.register("mean", "global")(_one_node("GlobalAveragePool"))
for _name, _type in POINTWISE.items():
    FORMS.register(_name)(_one_node(_type))


@FORMS.register("add", "mul", "concat", "input", "output")
def _nothing(writer: _Writer, traced: TracedStep, x: str) -> str:
    return x
