"""Cuts an ONNX model in two at a tensor: what gives the tensor, and what makes the results of it."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from model_src.comp_graph.importers.onnx.model import constants_at, own_name
from model_src.comp_graph.importers.onnx.order import tensors_read
from model_src.comp_graph.importers.wording import close_to, listed
from model_src.comp_graph.tf_comp_graph import Shape


class Halves(NamedTuple):
    """The two parts of a model.

    Attributes:
        front: From the image to the tensor, its only output.
        rest: From the tensor, its first input, and inputs of the model besides the image, to the model's outputs.
        is_fixed: Whether the rest has sizes of one image in it, so that it takes one at a time.
    """

    front: onnx.ModelProto
    rest: onnx.ModelProto
    is_fixed: bool


def cut_at(model: onnx.ModelProto, name: str, size: Shape | None = None) -> Halves:
    """Cut a model at a tensor that the image is needed for.

    Args:
        model: The model.
        name: Of the tensor, or of the operation that gives it.
        size: (H, W, C) of the image; None takes what the model says.

    Raises:
        ValueError: There is no such tensor, it does not depend on one image alone, or what comes behind it needs other
            tensors that do.
    """
    model = inliner.inline_local_functions(model) if model.functions else model
    graph = model.graph
    tensor = _tensor(graph, name)
    front = _leading_to(graph, {tensor})
    image = _image(graph, front, name)
    behind, seen = _reached(graph, {tensor}), _reached(graph, {image})
    ends = [value.name for value in graph.output]
    if tensor == image or tensor not in seen:
        raise ValueError(f"-output_node {name}: it is no result of an operation on the image")
    if all(end not in behind and end != tensor for end in ends):
        raise ValueError(f"-output_node {name}: no output depends on it")
    nodes = [node for node in graph.node if behind.intersection(node.output)]
    needed = dict.fromkeys([*(one for node in nodes for one in tensors_read(node)), *ends])
    others = [one for one in needed if (one in seen or one == image) and one not in behind and one != tensor]
    constants = _fixed(model, size) if others else {}
    if lacking := [one for one in others if one not in constants]:
        raise ValueError(_needs(name, graph, lacking, (seen | {image}).difference(constants), tensor))
    computed = _leading_to(graph, {one for one in needed if one not in seen})
    rest = [*(node for node in computed if not seen.intersection(node.output)), *nodes]
    tensors = [numpy_helper.from_array(constants[one], one) for one in others]
    return Halves(
        _model(model, front, [_value(graph, image)], [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)]),
        _model(model, rest, [_value(graph, tensor), *_inputs(graph, image)], graph.output, tensors),
        bool(others),
    )


def _tensor(graph: onnx.GraphProto, name: str) -> str:
    """The tensor that a user means: by its own name, or the one result of an operation."""
    nodes = [(node, own_name(node, place)) for place, node in enumerate(graph.node)]
    results = {one for node in graph.node for one in node.output if one}
    if name in results:
        return name
    found = [node for node, own in nodes if name in (node.name, own)]
    if len(found) == 1 and len(found[0].output) == 1:
        return found[0].output[0]
    if found:
        several = listed(one for node in found for one in node.output)
        raise ValueError(f"-output_node {name}: it gives several tensors; name one of {several}")
    known = [*results, *(own for _, own in nodes)]
    raise ValueError(f"-output_node {name}: no tensor or operation has this name{close_to(name, known)}")


def _image(graph: onnx.GraphProto, front: Iterable[onnx.NodeProto], name: str) -> str:
    """The input that the front reads."""
    read = {one for node in front for one in tensors_read(node)}
    inputs = [value.name for value in _inputs(graph) if value.name in read or value.name == name]
    if len(inputs) != 1:
        raise ValueError(f"-output_node {name}: what gives it must read one image; it reads {listed(inputs) or 'none'}")
    return inputs[0]


def _needs(name: str, graph: onnx.GraphProto, lacking: list[str], pixels: Collection[str], tensor: str) -> str:
    """Why the rest cannot stand on its own, and the last tensor in front at which it could.

    Args:
        name: What the user calls the tensor.
        graph: The whole.
        lacking: What the rest needs besides the tensor, or outputs that do not come from it.
        pixels: The tensors that depend on the image's pixels.
        tensor: Where to cut.
    """
    outputs = sorted({value.name for value in graph.output}.intersection(lacking))
    inner = [one for one in lacking if one not in outputs]
    what = "what comes behind it also needs" if inner else "not all outputs come from it:"
    last = _last_cut(graph, {tensor, *lacking}, pixels)
    return f"-output_node {name}: {what} {listed(inner or outputs)}" + (
        f"; {last!r} in front of it can be named" if last else ""
    )


def _last_cut(graph: onnx.GraphProto, stop: Collection[str], pixels: Collection[str]) -> str:
    """The last tensor that all has to pass, up to the first of some others; empty where there is none."""
    places = [(place, node) for place, node in enumerate(graph.node) if any(one in pixels for one in node.output)]
    last_read = {one: place for place, node in places for one in tensors_read(node)}
    last_read |= {value.name: len(graph.node) for value in graph.output}
    alive, found = set(pixels).difference(*(node.output for node in graph.node)), ""
    for place, node in places:
        alive.update(one for one in node.output if one in pixels)
        alive = {one for one in alive if last_read.get(one, -1) > place}
        if len(alive) == 1 and alive.isdisjoint(value.name for value in _inputs(graph)):
            (found,) = alive
        if any(one in stop for one in node.output):
            break
    return found


def _fixed(model: onnx.ModelProto, size: Shape | None) -> Mapping[str, np.ndarray]:
    """What depends on the size of the image only, at one size."""
    try:
        return constants_at(model, size)
    except ValueError:
        return {}


def _reached(graph: onnx.GraphProto, tensors: Collection[str]) -> set[str]:
    """The tensors that depend on some, which are not among them."""
    found = set(tensors)
    for node in graph.node:
        if not found.isdisjoint(tensors_read(node)):
            found.update(one for one in node.output if one)
    return found.difference(tensors)


def _leading_to(graph: onnx.GraphProto, tensors: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes that some tensors depend on, in order."""
    wanted, found = set(tensors), []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            found.append(node)
            wanted.update(tensors_read(node))
    return found[::-1]


def _inputs(graph: onnx.GraphProto, *without: str) -> list[onnx.ValueInfoProto]:
    """The inputs that are no parameters."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored and value.name not in without]


def _value(graph: onnx.GraphProto, name: str) -> onnx.ValueInfoProto:
    known = (*graph.input, *graph.value_info, *graph.output)
    return next(
        (value for value in known if value.name == name), helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    )


def _model(
    model: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
    tensors: Iterable[TensorProto] = (),
) -> onnx.ModelProto:
    """A part of a model, with the constants that it reads."""
    nodes, outputs = list(nodes), list(outputs)
    read = {one for node in nodes for one in tensors_read(node)} | {value.name for value in outputs}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    for field in ("node", "input", "output", "value_info", "initializer", "sparse_initializer"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.output.extend(outputs)
    graph.initializer.extend(one for one in model.graph.initializer if one.name in read)
    graph.initializer.extend(tensors)
    graph.sparse_initializer.extend(one for one in model.graph.sparse_initializer if one.values.name in read)
    return part
