"""What an ONNX file may ask for: its size bounds what reading it takes in time and memory."""

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from os import fstat
from pathlib import Path

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from model_src.files import regular_file

MOST_NODES = 100_000  # once local functions are in the place of their calls
DEEPEST = 100  # calls in calls
MOST_NUMBERS = 1 << 24  # of all constants that are computed; besides, so many as the model brings along
_MOST_TRIED, _PER_WEIGHT = 1 << 29, 64  # bytes of maps while images run, and besides for each weight
_MOST_JOINED = 1 << 22  # numbers in a list
_NEWEST = (1 << 31) - 1  # version of ONNX's operations
_SMALL = 64  # numbers of a tensor that may decide on a shape

# What is computed where it depends on constants only: arithmetic on shapes and preparations of weights. Each takes a
# time that goes with the numbers that it reads and gives.
FOLDED = frozenset(
    """
    Abs Add And BitShift Cast CastLike Ceil Clip Concat Constant ConstantOfShape Cos CumSum DepthToSpace
    DequantizeLinear Div Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm Greater
    GreaterOrEqual Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log LpNormalization MatMul Max Mean Min Mod Mul
    Neg Not Or Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Shape Sigmoid Sign
    Sin Size Slice Softmax Softplus SpaceToDepth Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor
    """.split()
)


def read_model(path: Path) -> onnx.ModelProto:
    """Read a model, with the tensors that it keeps in other files of its folder.

    Raises:
        ValueError: (or a DecodeError) It is no model, or such a file holds less than it should.
        OSError: It cannot be read.
    """
    model = onnx.load(regular_file(path), load_external_data=False)
    lengths: dict[str, int] = {}
    for tensor in filter(uses_external_data, _tensors(model)):
        about = ExternalDataInfo(tensor)
        size = _size(tensor.name, path.parent, about.location)
        begin, length = about.offset or 0, about.length
        length = size - begin if length is None else length
        lengths[about.location] = lengths.get(about.location, 0) + length
        if not 0 <= begin <= begin + length <= size or lengths[about.location] > 2 * size:
            raise ValueError(f"the tensor {tensor.name!r} is not in {about.location}, or several take the same place")
    load_external_data_for_model(model, str(path.parent))
    return model


def _size(name: str, folder: Path, location: str) -> int:
    """How many bytes the file has in which a tensor is.

    Raises:
        ValueError: It is not there, or cannot be read.
    """
    try:
        with regular_file(folder / location).open("rb") as file:
            return fstat(file.fileno()).st_size
    except OSError as error:
        raise ValueError(f"the tensor {name!r} is in {location}: {error.strerror or error}") from error


def check_trial(n_bytes: int, weights: Iterable[np.ndarray]) -> None:
    """Check that running images, whose maps take so many bytes, takes memory that goes with a network's weights.

    Raises:
        ValueError: It takes more.
    """
    if n_bytes > _MOST_TRIED + _PER_WEIGHT * sum(value.size for value in weights):
        raise ValueError(f"to run it on images, for a comparison, would take {n_bytes / 1e9:.1f} GB")


def check_forms(model: onnx.ModelProto) -> None:
    """Check that operations give something, and that their attributes are of the kinds that ONNX knows by these names.

    Raises:
        ValueError: One does not, or is of another kind.
    """
    versions = {_domain(one): min(max(one.version, 1), _NEWEST) for one in model.opset_import}
    for position, node in enumerate(model.graph.node):
        if not all(isinstance(text, str) for text in (node.op_type, node.domain, node.name, *node.input, *node.output)):
            raise ValueError(f"node #{position}: a name of it is no text")
        name, domain = f"node {node.name or f'#{position}'!r} ({node.op_type})", _domain(node)
        if not node.output:
            raise ValueError(f"{name}: it gives nothing")
        try:
            known = defs.get_schema(node.op_type, versions.get(domain, 1), domain).attributes
        except defs.SchemaError:  # nobody knows it, or not in that version
            continue
        for attribute in node.attribute:
            if attribute.name in known and known[attribute.name].type.value != attribute.type:  # type: ignore[attr-defined]
                raise ValueError(f"{name}: its attribute {attribute.name!r} is of another kind than ONNX says")


def _domain(one: onnx.NodeProto | onnx.OperatorSetIdProto) -> str:
    return "" if one.domain == "ai.onnx" else one.domain


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    yield from (attribute.t for node in nodes for attribute in node.attribute if attribute.HasField("t"))


def check_functions(model: onnx.ModelProto) -> None:
    """Refuse local functions that call one another so often that their operations are too many.

    Raises:
        ValueError: They do.
    """
    bodies = {(one.domain, one.name): one.node for one in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        if depth > DEEPEST:
            raise ValueError(f"its functions call one another more than {DEEPEST} deep")
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in bodies and key not in counts:
                counts[key] = count(bodies[key], depth + 1)
            total += counts.get(key, 1) + sum(count(graph.node, depth + 1) for graph in _subgraphs(node))
        if total > MOST_NODES:
            raise ValueError(f"with its functions in place it has more than {MOST_NODES} operations")
        return total

    count(model.graph.node, 0)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def array(tensor: onnx.TensorProto) -> np.ndarray:
    """The numbers of a tensor.

    Raises:
        ValueError: It is damaged, or of no type that NumPy has.
    """
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the tensor {tensor.name!r} cannot be read: {error}") from error


def check_joined(graph: onnx.GraphProto) -> None:
    """Refuse lists of numbers that double and double: ONNX follows what is in them when it infers sizes.

    Raises:
        ValueError: There is one.
    """
    lengths: dict[str, int] = {one.name: one.dims[0] if len(one.dims) == 1 else 1 for one in graph.initializer}
    for node in graph.node:
        known = [lengths[name] for name in node.input if name in lengths]
        if node.op_type in ("Shape", "Size", "Constant"):
            held = [a.t.dims[0] for a in node.attribute if a.HasField("t") and len(a.t.dims) == 1]
            known = [*held, *(len(a.ints) or len(a.floats) for a in node.attribute), _SMALL]
        elif len(known) < sum(map(bool, node.input)):  # it depends on the image's pixels
            continue
        length = sum(known) if node.op_type == "Concat" else max(known, default=1)
        if length > _MOST_JOINED:
            raise ValueError(f"{node.name or node.op_type!r:.100} joins more than {_MOST_JOINED} numbers to a list")
        lengths |= dict.fromkeys(node.output, length)


class Budget:
    """How many numbers may still be computed.

    Args:
        stored: The constants that the model brings along.
    """

    def __init__(self, stored: Iterable[np.ndarray]):
        self._left = MOST_NUMBERS + sum(value.size for value in stored)

    def spend(self, model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> None:
        """Take away what the only operation of a model will give.

        Args:
            model: It has one operation, and the values are its inputs.
            values: Constants by name.

        Raises:
            ValueError: It is more than what is left, or nobody knows before it is computed.
        """
        known = onnx.ModelProto()
        known.CopyFrom(model)
        for name, value in values.items():
            if value.size <= _SMALL:
                known.graph.initializer.append(numpy_helper.from_array(value, name))
        try:
            inferred = shape_inference.infer_shapes(known, strict_mode=True, data_prop=True)
        except shape_inference.InferenceError as error:
            raise ValueError(str(error)) from error
        shape = inferred.graph.output[0].type.tensor_type.shape
        sizes = [dim.dim_value for dim in shape.dim if dim.HasField("dim_value")]
        if len(sizes) < len(shape.dim) or not inferred.graph.output[0].type.tensor_type.HasField("shape"):
            raise ValueError("the size of its result is unknown")
        self._left -= prod(sizes)
        if self._left < 0:
            raise ValueError(f"with it, constants have more than {MOST_NUMBERS} numbers more than the file")


def single(
    node: onnx.NodeProto, values: Mapping[str, np.ndarray], opsets: Iterable[onnx.OperatorSetIdProto]
) -> onnx.ModelProto:
    """A model of one operation, whose inputs are these."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    ]
    graph = helper.make_graph([node], "constant", inputs, [helper.make_empty_tensor_value_info(node.output[0])])
    return helper.make_model(graph, opset_imports=opsets)
