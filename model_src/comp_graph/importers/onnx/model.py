"""An ONNX model made ready for import: sizes known, constants computed, composed activations recognised."""

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper, reference

from model_src.comp_graph.importers.onnx.composed import with_composed
from model_src.comp_graph.importers.onnx.inference import with_factors_up, with_sizes
from model_src.comp_graph.importers.onnx.layout import channels_first
from model_src.comp_graph.importers.onnx.limits import (
    FOLDED,
    Budget,
    array,
    check_forms,
    check_functions,
    single,
)
from model_src.comp_graph.importers.onnx.mode import with_mode
from model_src.comp_graph.importers.onnx.neighbours import with_lrn
from model_src.comp_graph.importers.onnx.op import OnnxOp, refuse_all, with_gather, without_splits
from model_src.comp_graph.importers.onnx.order import obstacle, put_in_order
from model_src.comp_graph.importers.onnx.sequences import without_sequences
from model_src.comp_graph.importers.wording import SEVERAL_OUTPUTS, listed
from model_src.comp_graph.tf_comp_graph import Shape
from model_src.comp_graph.validate import LARGEST

_MOST_SIZES = 64  # a tensor of more numbers holds no sizes


@dataclass(frozen=True)
class PreparedModel:
    """What an importer needs of an ONNX model.

    Attributes:
        ops: The operations that the output depends on and that depend on the image, in a topological order.
        constants: Every tensor that does not depend on the image's pixels.
        stored: Names of those constants that the model brings along, as parameters, rather than computes.
        literal: Names of those that are written into its operations.
        shapes: Shape of every tensor.
        input_name: The image.
        output_name: The result.
        channels_last: Whether the image is (N, H, W, C).
        from_torch: Whether PyTorch wrote the model; its identities stand for dropout, copies and the like.
        opset: Which version of ONNX's operations the model speaks of.
    """

    ops: tuple[OnnxOp, ...]
    constants: Mapping[str, np.ndarray]
    stored: frozenset[str]
    literal: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]
    input_name: str
    output_name: str
    channels_last: bool
    from_torch: bool
    opset: int


def prepare(model: onnx.ModelProto, size: Shape | None = None) -> PreparedModel:
    """Make a model ready for import; it is changed.

    Args:
        model: The model; it has one image as its input and one output.
        size: (H, W, C) of the image; None takes what the model says.

    Raises:
        ValueError: There is not one input and one output, a size is unknown, or ONNX does not accept the model.
    """
    from_torch = model.producer_name == "pytorch"
    if model.functions:
        check_functions(model)
        try:
            model = inliner.inline_local_functions(model)
        except RuntimeError as error:
            raise ValueError(f"its functions cannot be put in the place of their calls: {error}") from error
    model.ir_version = max(model.ir_version, 4)  # the first whose initialisers need not be inputs
    image, output = image_of(model.graph), _output(model.graph)
    if image.name == output.name:
        raise ValueError("its output is its input; there is no operation to read")
    check_forms(model)
    _check_order(model.graph, image.name)
    channels_last = is_channels_last(model.graph, image.name)
    _set_size(image, size, channels_last)
    stored = frozenset(tensor.name for tensor in model.graph.initializer)
    literal = frozenset(node.output[0] for node in model.graph.node if node.op_type == "Constant")
    model, constants = _folded(model, image)
    shapes = {name: shape for name, shape in _shapes(model.graph).items() if shape is not None}
    shapes |= {name: value.shape for name, value in constants.items()}
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=1)
    nodes = (with_mode(_operation(node, at), opset, constants) for at, node in enumerate(model.graph.node))
    plain = (part for op in nodes for part in without_splits(with_gather(op, constants, shapes), shapes))
    ops = _needed(plain, constants, output.name)
    ops = _needed(with_lrn(with_composed(ops, constants), constants, shapes), constants, output.name)
    read = {name for op in ops for name in op.inputs if name} | {output.name}  # "" is what an operation does without
    unknown = [op for op in ops if any(name in read and name not in shapes for name in op.outputs)]
    refuse_all([op.error("the size of its result is unknown") for op in unknown])
    refuse_all([op.error("its result is empty") for op in ops if any(0 in shapes.get(name, ()) for name in op.outputs)])
    ops, result = channels_first(ops, constants, shapes, output.name)
    ops = _needed(ops, constants, result)
    names = image.name, result
    return PreparedModel(tuple(ops), constants, stored, literal, shapes, *names, channels_last, from_torch, opset)


def constants_at(model: onnx.ModelProto, size: Shape | None = None) -> dict[str, np.ndarray]:
    """Every tensor of a model that does not depend on the image's pixels, for an image of one size (see `prepare`).

    Raises:
        ValueError: There is not one input, its size is unknown, or ONNX does not accept the model.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    check_forms(copy)
    image = image_of(copy.graph)
    _set_size(image, size, is_channels_last(copy.graph, image.name))
    return _folded(copy, image)[1]


def image_of(graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """The input of a model.

    Raises:
        ValueError: There is not one image of four axes.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    images = [value for value in inputs if len(value.type.tensor_type.shape.dim) == 4]
    if len(inputs) != 1 or len(images) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise ValueError(f"expected one input, an image of four axes; found {names}")
    return images[0]


def _output(graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    if len(graph.output) != 1:
        names = listed(value.name for value in graph.output) or "none"
        raise ValueError(f"expected one output, found {names}; bring a model that gives only one, or {SEVERAL_OUTPUTS}")
    return graph.output[0]


def _check_order(graph: onnx.GraphProto, image: str) -> None:
    """ONNX wants every operation behind those that it reads, which no cycle can satisfy."""
    put_in_order(graph)
    if found := obstacle(graph, image):
        place, reason = found
        raise _operation(graph.node[place], place).error(reason)


def is_channels_last(graph: onnx.GraphProto, name: str) -> bool:
    """Whether everything that reads the image first moves its channels to the front."""
    readers = [node for node in graph.node if name in node.input]
    perms = [
        [list(a.ints) for a in node.attribute if a.name == "perm"] for node in readers if node.op_type == "Transpose"
    ]
    return bool(readers) and len(perms) == len(readers) and all(perm == [[0, 3, 1, 2]] for perm in perms)


def _set_size(image: onnx.ValueInfoProto, size: Shape | None, channels_last: bool) -> None:
    """Fix the image's size; an open batch size becomes 1."""
    dims = image.type.tensor_type.shape.dim
    wanted = [dims[i].dim_value for i in range(1, 4)]
    if size is not None:
        wanted = list(size) if channels_last else [size[2], size[0], size[1]]
    if min(wanted) < 1:
        raise ValueError(f"the size of the input {image.name!r} is unknown; give its height, width and channels")
    if max(wanted) > LARGEST:
        raise ValueError(f"the input {image.name!r} has a size of more than {LARGEST}")
    for dim, value in zip(dims, [max(1, dims[0].dim_value), *wanted], strict=True):
        dim.Clear()
        dim.dim_value = value


def _folded(model: onnx.ModelProto, image: onnx.ValueInfoProto) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model with inferred sizes, and everything in it that does not depend on the image's pixels."""
    graph = model.graph
    constants = {tensor.name: array(tensor) for tensor in graph.initializer}
    budget = Budget(constants.values())
    _set_aside(graph)
    while True:
        constants |= with_factors_up(model.graph, constants)
        model = with_sizes(model, image)
        new = _computed(model, constants, budget)
        if not new and not without_sequences(model.graph, constants):
            return model, constants
        constants |= new
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in new.items())
        kept = [node for node in model.graph.node if node.output[0] not in new]
        del model.graph.node[:]
        model.graph.node.extend(kept)


def _set_aside(graph: onnx.GraphProto) -> None:
    """Make parameters inputs without a value: no size depends on it, and inference would copy it every time."""
    named = {value.name for value in graph.input}
    for place in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[place]
        if prod(tensor.dims) > _MOST_SIZES:
            if tensor.name not in named:
                graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            del graph.initializer[place]


def _computed(model: onnx.ModelProto, known: dict[str, np.ndarray], budget: Budget) -> dict[str, np.ndarray]:
    """Results of the nodes that read constants only, or only the size or type of another tensor."""
    graph, failed = model.graph, []
    shapes, types = _shapes(graph), _types(graph)
    new: dict[str, np.ndarray] = {}
    all_known = ChainMap(new, known)
    for position, node in enumerate(graph.node):
        op = _operation(node, position)
        values = {name: all_known[name] for name in op.inputs if name in all_known}
        if op.type == "Shape" and (shape := shapes.get(op.inputs[0])) is not None:
            ends = (op.attributes.get("start", 0), op.attributes.get("end"))
            new[op.outputs[0]] = np.array(shape[slice(*ends)], np.int64)
        elif op.type == "CastLike" and op.inputs[0] in values:
            other = all_known.get(op.inputs[1])
            kind = other.dtype if other is not None else types.get(op.inputs[1])
            if kind is not None:
                new[op.outputs[0]] = values[op.inputs[0]].astype(kind)
        elif len(op.outputs) == 1 and values.keys() == set(filter(None, op.inputs)):
            try:
                new[op.outputs[0]] = _result(node, values, model.opset_import, budget)
            except Exception as error:  # of many kinds: whatever ONNX meets in an operation that is none
                failed.append(op.error(f"its constant result cannot be computed: {' '.join(str(error).split())}"))
    refuse_all(failed)
    return new


def _result(
    node: onnx.NodeProto,
    values: Mapping[str, np.ndarray],
    opsets: Iterable[onnx.OperatorSetIdProto],
    budget: Budget,
) -> np.ndarray:
    """What a node makes of constants, by the rules of the model's version of ONNX."""
    if node.op_type not in FOLDED or node.domain not in ("", "ai.onnx"):
        raise ValueError("not an operation that is computed beforehand")
    model = single(node, values, opsets)
    budget.spend(model, values)
    results: Any = reference.ReferenceEvaluator(model).run(None, dict(values))
    return np.asarray(results[0])


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...] | None]:
    """Shape of every tensor; None where a size is unknown."""
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        sizes = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
        shapes[value.name] = sizes if kind.HasField("shape") and -1 not in sizes else None
    return shapes


def _types(graph: onnx.GraphProto) -> dict[str, np.dtype]:
    """Type of the numbers of every tensor for which it is known."""
    values = (*graph.input, *graph.value_info, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    known = onnx.TensorProto.DataType.values()
    return {name: helper.tensor_dtype_to_np_dtype(kind) for name, kind in kinds.items() if kind and kind in known}


def _operation(node: onnx.NodeProto, position: int) -> OnnxOp:
    kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if empty := [name for name, value in attributes.items() if value is None]:
        raise ValueError(f"node {own_name(node, position)!r} ({kind}): its attribute {empty[0]!r} has no value")
    return OnnxOp(own_name(node, position), kind, tuple(node.input), tuple(node.output), attributes)


def own_name(node: onnx.NodeProto, position: int) -> str:
    """What an operation is called: where it is in the module that it came from, its name, or its position."""
    scopes = [item.value for item in node.metadata_props if item.key == "pkg.torch.onnx.name_scopes"]
    name = ".".join(filter(None, re.findall(r"'([^']*)'", scopes[0])[-2:])) if scopes else node.name
    return name or f"#{position}"


def _needed(ops: Iterable[OnnxOp], constants: Mapping[str, np.ndarray], output: str) -> list[OnnxOp]:
    """The operations that the output depends on, without further results that nobody reads."""
    wanted, kept = {output}, []
    for op in reversed(list(ops)):
        if wanted.intersection(op.outputs):
            others = (name if name in wanted else "" for name in op.outputs[1:])
            kept.append(op._replace(outputs=(op.outputs[0], *others)))
            wanted.update(name for name in op.inputs if name not in constants)
    return kept[::-1]
