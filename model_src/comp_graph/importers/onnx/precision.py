"""Models of half precision, which are read in single precision: a graph's networks compute in that."""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import TensorProto

from model_src.comp_graph.importers.onnx.limits import array

_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_TYPES = frozenset({"dtype", "to"})  # attributes that name a type of numbers


def in_single_precision(model: onnx.ModelProto) -> bool:
    """Make numbers of half precision ones of single precision; the model is changed.

    Returns:
        Whether there were any.

    Raises:
        ValueError: A tensor is damaged.
    """
    found = [_widened(value) for value in _values(model)]
    for node in _nodes([*model.graph.node, *(node for one in model.functions for node in one.node)]):
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.i in _HALF:
                attribute.i = TensorProto.FLOAT
                found.append(True)
    for tensor in _tensors(model):
        if tensor.data_type in _HALF:
            numbers = array(tensor).astype(np.float32)
            for field in ("raw_data", "int32_data", "float_data"):
                tensor.ClearField(field)
            tensor.data_type, tensor.raw_data = TensorProto.FLOAT, numbers.tobytes()
            found.append(True)
    return any(found)


def _widened(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    is_half = kind.elem_type in _HALF
    if is_half:
        kind.elem_type = TensorProto.FLOAT
    return is_half


def _values(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    for graph in _graphs(model):
        yield from (*graph.input, *graph.output, *graph.value_info)
    yield from (value for function in model.functions for value in function.value_info)


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    for graph in _graphs(model):
        yield from graph.initializer
        yield from (tensor.values for tensor in graph.sparse_initializer)
    for node in _nodes([*model.graph.node, *(node for one in model.functions for node in one.node)]):
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for node in _nodes([*model.graph.node, *(node for one in model.functions for node in one.node)]):
        yield from _inner(node)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for graph in _inner(node):
            yield from _nodes(graph.node)


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else [])
        yield from attribute.graphs
