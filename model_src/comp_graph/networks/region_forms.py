"""The operations of ONNX that a region may have, as PyTorch's functions."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

Argument = Any  # an fx.Node, or a number

Form = Callable[..., fx.Node]  # a graph, attributes, operands
FORMS: dict[str, Form] = {}


def _register(*types: str) -> Callable[[Form], Form]:
    def add(form: Form) -> Form:
        FORMS.update(dict.fromkeys(types, form))
        return form

    return add


def _plain(kind: str, function: Callable[..., Any], **defaults: Any) -> None:
    """A function of the operands alone; attributes, where it may have any, with their names in PyTorch."""

    def form(graph: fx.Graph, attributes: Mapping[str, Any], *operands: Argument) -> fx.Node:
        if unknown := attributes.keys() - defaults.keys():
            raise KeyError(unknown)
        return graph.call_function(function, operands, {**defaults, **attributes} if defaults else {})

    _register(kind)(form)


_PLAIN: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs, "Add": operator.add, "And": torch.logical_and, "Cos": torch.cos, "Div": operator.truediv,
    "Equal": torch.eq, "Erf": torch.erf, "Exp": torch.exp, "Greater": torch.gt, "Less": torch.lt, "Log": torch.log,
    "MatMul": torch.matmul, "Mul": operator.mul, "Neg": operator.neg, "Not": torch.logical_not, "Pow": torch.pow,
    "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Sin": torch.sin,
    "Softplus": F.softplus, "Sqrt": torch.sqrt, "Sub": operator.sub, "Tanh": torch.tanh, "Where": torch.where,
    "HardSwish": F.hardswish, "Mish": F.mish, "Swish": F.silu,
}  # fmt: skip
for _kind, _function in _PLAIN.items():
    _plain(_kind, _function)


@_register("LeakyRelu")
def _leakyrelu(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_function(F.leaky_relu, (x, attributes.get("alpha", 0.01)))


@_register("Elu")
def _elu(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_function(F.elu, (x, attributes.get("alpha", 1.0)))


@_register("Gelu")
def _gelu(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_function(F.gelu, (x,), {"approximate": attributes.get("approximate", "none")})


@_register("Softmax")
def _softmax(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_function(torch.softmax, (x, attributes["axis"]))


@_register("Cast")
def _cast(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    if attributes["to"] != 1:
        raise KeyError("to")
    return graph.call_method("float", (x,))


@_register("Clip")
def _clip(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_function(torch.clamp, (x, attributes.get("min"), attributes.get("max")))


@_register("Transpose")
def _transpose(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_method("permute", (x, *attributes["perm"]))


@_register("Reshape")
def _reshape(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_method("reshape", (x, *attributes["shape"]))


@_register("Flatten")
def _flatten(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    if attributes.get("axis", 1) != 1:
        raise KeyError("axis")
    return graph.call_method("flatten", (x, 1))


@_register("Squeeze")
def _squeeze(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_function(torch.squeeze, (x, tuple(attributes["axes"])))


@_register("Unsqueeze")
def _unsqueeze(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    axes = attributes["axes"]
    if len(axes) > 1 and min(axes) < 0:
        raise KeyError("axes")
    for axis in sorted(axes):
        x = graph.call_method("unsqueeze", (x, axis))
    node: fx.Node = x
    return node


@_register("Expand")
def _expand(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_method("expand", (x, *attributes["shape"]))


@_register("Tile")
def _tile(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    return graph.call_method("repeat", (x, *attributes["repeats"]))


def _extreme(kind: str, function: Callable[..., Any], end: str) -> None:
    """The larger or smaller one of two tensors, or of a tensor and a number."""

    def form(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument, y: Argument) -> fx.Node:
        if isinstance(y, fx.Node):
            return graph.call_function(function, (x, y))
        return graph.call_function(torch.clamp, (x,), {end: y})

    _register(kind)(form)


_extreme("Max", torch.maximum, "min")
_extreme("Min", torch.minimum, "max")


@_register("Slice")
def _slice(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
    starts, ends, axes = attributes["starts"], attributes["ends"], attributes["axes"]
    parts = [slice(None)] * (max(axes) + 1)
    for start, end, axis, step in zip(starts, ends, axes, attributes["steps"], strict=True):
        if step < 1 or axis < 0:
            raise KeyError("steps")
        parts[axis] = slice(start, end, step)
    return graph.call_function(operator.getitem, (x, tuple(parts)))


@_register("Gather")
def _gather(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument, index: Argument) -> fx.Node:
    axis = attributes.get("axis", 0)
    if isinstance(index, int):
        return graph.call_method("select", (x, axis, index))
    return graph.call_method("index_select", (x, axis, index))


@_register("Concat")
def _concat(graph: fx.Graph, attributes: Mapping[str, Any], *operands: Argument) -> fx.Node:
    return graph.call_function(torch.cat, (list(operands), attributes["axis"]))


@_register("Einsum")
def _einsum(graph: fx.Graph, attributes: Mapping[str, Any], *operands: Argument) -> fx.Node:
    return graph.call_function(torch.einsum, (attributes["equation"], *operands))


def _reduction(kind: str, function: Callable[..., Any], **more: Any) -> None:
    def form(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument) -> fx.Node:
        keep = bool(attributes.get("keepdims", 1))
        return graph.call_function(function, (x,), {"dim": tuple(attributes["axes"]), "keepdim": keep, **more})

    _register(f"Reduce{kind}")(form)


_reduction("Max", torch.amax)
_reduction("Mean", torch.mean)
_reduction("Min", torch.amin)
_reduction("Sum", torch.sum)
_reduction("L1", torch.linalg.vector_norm, ord=1)
_reduction("L2", torch.linalg.vector_norm)


def _pooled(function: Callable[..., Any]) -> Form:
    return lambda graph, attributes, x: graph.call_function(function, (x,), {"dim": (2, 3), "keepdim": True})


FORMS |= {"GlobalAveragePool": _pooled(torch.mean), "GlobalMaxPool": _pooled(torch.amax)}


@_register("Gemm")
def _gemm(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument, w: Argument, b: Argument = None) -> fx.Node:
    plain = {"alpha": 1, "beta": 1, "transA": 0}
    if any(attributes.get(key, value) != value for key, value in plain.items()):
        raise KeyError("alpha, beta or transA")
    if not attributes.get("transB"):
        w = graph.call_method("t", (w,))
    return graph.call_function(F.linear, (x, w, b))


@_register("LayerNormalization")
def _layernorm(
    graph: fx.Graph, attributes: Mapping[str, Any], x: Argument, weight: Argument, bias: Argument = None
) -> fx.Node:
    shape = graph.call_function(getattr, (weight, "shape"))
    return graph.call_function(F.layer_norm, (x, shape, weight, bias, attributes.get("epsilon", 1e-5)))


@_register("InstanceNormalization")
def _instancenorm(
    graph: fx.Graph, attributes: Mapping[str, Any], x: Argument, weight: Argument, bias: Argument
) -> fx.Node:
    options = {"weight": weight, "bias": bias, "eps": attributes.get("epsilon", 1e-5)}
    return graph.call_function(F.instance_norm, (x,), options)


@_register("BatchNormalization")
def _batchnorm(graph: fx.Graph, attributes: Mapping[str, Any], x: Argument, *operands: Argument) -> fx.Node:
    weight, bias, mean, variance = operands
    epsilon = attributes.get("epsilon", 1e-5)
    return graph.call_function(F.batch_norm, (x, mean, variance, weight, bias), {"eps": epsilon})


@_register("Conv")
def _conv(
    graph: fx.Graph, attributes: Mapping[str, Any], x: Argument, weight: Argument, bias: Argument = None
) -> fx.Node:
    size = attributes["kernel_shape"]
    pads = attributes.get("pads", [0] * (2 * len(size)))
    if attributes.get("auto_pad", "NOTSET") != "NOTSET" or pads[: len(size)] != pads[len(size) :]:
        raise KeyError("pads")
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(size)]
    ones = [1] * len(size)
    strides, dilations = (tuple(attributes.get(name, ones)) for name in ("strides", "dilations"))
    options = (strides, tuple(pads[: len(size)]), dilations, attributes.get("group", 1))
    return graph.call_function(function, (x, weight, bias, *options))
