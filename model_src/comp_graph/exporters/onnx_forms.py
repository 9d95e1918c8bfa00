"""How every operation is written in ONNX: a function each, that appends nodes."""

import numpy as np

from model_src.comp_graph.exporters.onnx_maps import FORMS
from model_src.comp_graph.exporters.onnx_writer import Form, Writer
from model_src.comp_graph.exporters.trace import TracedStep
from model_src.comp_graph.moves import parts_of
from model_src.comp_graph.onnx_types import POINTWISE
from model_src.comp_graph.region import OPERANDS

__all__ = ["FORMS"]


@FORMS.register("batchnorm")
def _batchnorm(writer: Writer, traced: TracedStep, x: str) -> str:
    operands = writer.weights(traced, "weight", "bias", "running_mean", "running_var")
    return writer.add("BatchNormalization", [x, *operands], traced.step.name, epsilon=traced.layer.eps)


@FORMS.register("matmul")
def _matmul(writer: Writer, traced: TracedStep, x: str) -> str:
    """A dense layer on every pixel."""
    name = traced.step.name
    kernel = writer.constant(f"{name}.weight", traced.layer.weight.detach().cpu().numpy().T)
    x = writer.add("Transpose", [x], f"{name}/channels_last", perm=(0, 2, 3, 1))
    x = writer.add("Add", [writer.add("MatMul", [x, kernel], f"{name}/product"), *writer.weights(traced, "bias")], name)
    return writer.add("Transpose", [x], f"{name}/channels_first", perm=(0, 3, 1, 2))


@FORMS.register("relu6")
def _relu6(writer: Writer, traced: TracedStep, x: str) -> str:
    ends = [writer.constant(name, np.array(value, np.float32)) for name, value in (("zero", 0), ("six", 6))]
    return writer.add("Clip", [x, *ends], traced.step.name)


@FORMS.register("clip")
def _clip(writer: Writer, traced: TracedStep, x: str) -> str:
    name, ends = traced.step.name, {"min": traced.layer.min_val, "max": traced.layer.max_val}
    constants = [writer.constant(f"{name}/{end}", np.array(value, np.float32)) for end, value in ends.items()]
    return writer.add("Clip", [x, *constants], name)


@FORMS.register("swish")
def _swish(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Mul", [x, writer.add("Sigmoid", [x], f"{traced.step.name}/gate")], traced.step.name)


@FORMS.register("leakyrelu")
def _leakyrelu(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("LeakyRelu", [x], traced.step.name, alpha=traced.layer.negative_slope)


@FORMS.register("elu")
def _elu(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Elu", [x], traced.step.name, alpha=traced.layer.alpha)


@FORMS.register("prelu")
def _prelu(writer: Writer, traced: TracedStep, x: str) -> str:
    slopes = traced.layer.weight.detach().cpu().numpy()[:, None, None]
    return writer.add("PRelu", [x, writer.constant(f"{traced.step.name}.weight", slopes)], traced.step.name)


@FORMS.register("hardsigmoid")
def _hardsigmoid(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("HardSigmoid", [x], traced.step.name, alpha=1 / 6, beta=0.5)


@FORMS.register("gelu_tanh")
def _gelu_tanh(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Gelu", [x], traced.step.name, approximate="tanh")


@FORMS.register("scale")
def _scale(writer: Writer, traced: TracedStep, x: str) -> str:
    name, layer = traced.step.name, traced.layer
    steps = [("Mul", layer.factor, 1), ("Add", layer.offset, 0)]
    used = [(kind, value) for kind, value, idle in steps if value != idle] or [("Mul", 1)]
    for number, (kind, value) in enumerate(used, start=1):
        constant = writer.constant(f"{name}/{kind.lower()}", np.array(value, np.float32))
        x = writer.add(kind, [x, constant], name if number == len(used) else f"{name}/{number}")
    return x


@FORMS.register("zero")
def _zero(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Mul", [x, writer.constant("zero", np.array(0, np.float32))], traced.step.name)


def _one_node(kind: str) -> Form:
    def form(writer: Writer, traced: TracedStep, x: str) -> str:
        return writer.add(kind, [x], traced.step.name)

    return form


FORMS.register("identity")(_one_node("Identity"))
FORMS.register("mean", "global")(_one_node("GlobalAveragePool"))
for _name, _type in POINTWISE.items():
    FORMS.register(_name)(_one_node(_type))


@FORMS.register("slice")
def _slice(writer: Writer, traced: TracedStep, x: str) -> str:
    name, parts = traced.step.name, parts_of(traced.step.node)
    axes = [axis for axis, size in enumerate(traced.before) if parts[axis] != slice(0, size, 1)]
    ends = {
        "starts": [parts[axis].start for axis in axes],
        "ends": [parts[axis].stop for axis in axes],
        "axes": [axis + 1 for axis in axes],
        "steps": [parts[axis].step for axis in axes],
    }
    constants = [writer.constant(f"{name}/{key}", np.array(value, np.int64)) for key, value in ends.items()]
    return writer.add("Slice", [x, *constants], name)


@FORMS.register("gather")
def _gather(writer: Writer, traced: TracedStep, x: str) -> str:
    index = writer.constant(f"{traced.step.name}/index", traced.layer.index.cpu().numpy())
    return writer.add("Gather", [x, index], traced.step.name, axis=1)


@FORMS.register("shuffle")
def _shuffle(writer: Writer, traced: TracedStep, x: str) -> str:
    name, (c, h, w), groups = traced.step.name, traced.before, traced.layer.groups
    shape = writer.constant(f"{name}/groups", np.array([0, groups, c // groups, h, w]))
    x = writer.add("Reshape", [x, shape], f"{name}/grouped")
    x = writer.add("Transpose", [x], f"{name}/shuffled", perm=(0, 2, 1, 3, 4))
    return writer.add("Reshape", [x, writer.constant(f"{name}/channels", np.array([0, c, h, w]))], name)


@FORMS.register("broadcast")
def _broadcast(writer: Writer, traced: TracedStep, x: str) -> str:
    sizes = [1, *(max(size, 1) for size in traced.layer.sizes)]
    return writer.add("Expand", [x, writer.constant(f"{traced.step.name}/sizes", np.array(sizes))], traced.step.name)


@FORMS.register("softmax")
def _softmax(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("Softmax", [x], traced.step.name, axis=1)


@FORMS.register("layernorm")
def _layernorm(writer: Writer, traced: TracedStep, x: str) -> str:
    name, operands = traced.step.name, writer.weights(traced, "weight", "bias")
    x = writer.add("Transpose", [x], f"{name}/channels_last", perm=(0, 2, 3, 1))
    x = writer.add("LayerNormalization", [x, *operands], f"{name}/normalised", epsilon=traced.layer.eps)
    return writer.add("Transpose", [x], name, perm=(0, 3, 1, 2))


@FORMS.register("groupnorm")
def _groupnorm(writer: Writer, traced: TracedStep, x: str) -> str:
    """An instance normalisation of groups; ONNX's own of groups has other weights before opset 21."""
    name, (c, h, w), groups = traced.step.name, traced.before, traced.layer.num_groups
    weight, bias = (value.detach().cpu().numpy() for value in (traced.layer.weight, traced.layer.bias))
    if groups == c:
        operands = [writer.constant(f"{name}.weight", weight), writer.constant(f"{name}.bias", bias)]
        return writer.add("InstanceNormalization", [x, *operands], name, epsilon=traced.layer.eps)
    ones = [writer.constant(f"{name}/{key}", np.full(groups, key == "ones", np.float32)) for key in ("ones", "zeros")]
    x = writer.add("Reshape", [x, writer.constant(f"{name}/groups", np.array([0, groups, -1]))], f"{name}/grouped")
    x = writer.add("InstanceNormalization", [x, *ones], f"{name}/normalised", epsilon=traced.layer.eps)
    x = writer.add("Reshape", [x, writer.constant(f"{name}/map", np.array([0, c, h, w]))], f"{name}/channels")
    x = writer.add("Mul", [x, writer.constant(f"{name}.weight", weight[:, None, None])], f"{name}/scaled")
    return writer.add("Add", [x, writer.constant(f"{name}.bias", bias[:, None, None])], name)


@FORMS.register("opaque")
def _opaque(writer: Writer, traced: TracedStep, x: str) -> str:
    name, layer = traced.step.name, traced.layer
    region = layer.region
    names = {"": "", **{f"x{at}": writer.map(source) for at, source in enumerate(traced.sources)}}
    weights = writer.weights(traced, *(f"w{at}" for at in range(len(region.weights))))
    names |= {f"w{at}": weight for at, weight in enumerate(weights)}
    for at, one in enumerate(region.constants):
        value = np.array(one.values, one.type).reshape(one.shape)
        is_matrix = one.shape and one.type == "float32"  # which would be a parameter if it were stored
        names[f"c{at}"] = (writer.literal if is_matrix else writer.constant)(f"{name}/c{at}", value)
    for at, op in enumerate(region.ops):
        own = name if at == len(region.ops) - 1 else f"{name}/t{at}"
        operands = [names[one] for one in op.inputs]
        attributes = dict(op.attributes)
        for operand in OPERANDS.get(op.type, ()):
            value = attributes.pop(operand, None)
            operands.append("" if value is None else writer.constant(f"{own}/{operand}", _operand(op.type, value)))
        names[f"t{at}"] = writer.add(op.type, operands, own, **attributes)
    return name


def _operand(kind: str, value: float | list[int]) -> np.ndarray:
    array = np.array(value, np.float32 if kind == "Clip" else np.int64)
    return np.abs(array) if kind == "Expand" else array  # where -1 is 1
