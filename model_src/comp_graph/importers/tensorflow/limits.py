"""What Keras and TensorFlow files may ask for: their size bounds what reading them takes, and they run no code."""

import json
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from model_src.files import regular_file

if TYPE_CHECKING:
    import h5py
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto

MOST_LAYERS, MOST_NODES = 20_000, 100_000  # once models and functions are in the place of their calls
DEEPEST = 100  # models in models, calls in calls
MOST_NUMBERS = 1 << 24  # of all constants that are computed; besides, so many as the graph brings along
MOST_BEHIND = 1 << 29  # of all results behind an `-output_node`
_TEXT, _GROWTH, _ALLOWANCE = (
    1 << 24,
    4,
    1 << 20,
)  # bytes of a configuration; bytes per byte of a file, and for every one

# What is computed where it depends on constants only. Nothing here reads or writes files, calls functions or loops.
FOLDED = frozenset(
    """
    Abs Add AddN AddV2 BroadcastArgs BroadcastTo Cast Concat ConcatV2 Const Div DivNoNan EnsureShape Equal Erf Exp
    ExpandDims Fill Floor FloorDiv FloorMod Gather GatherV2 Greater GreaterEqual Identity IdentityN Less LessEqual
    Log LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mul Neg NoOp NotEqual OnesLike Pack Pad
    PadV2 Pow PreventGradient Prod Range Rank RealDiv Reciprocal Relu Reshape ReverseV2 Round Rsqrt Select SelectV2
    Shape Sigmoid Size Slice Softplus Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice
    Sub Sum Tanh Tile Transpose Unpack ZerosLike
    """.split()
)


def check_keras(path: Path) -> None:
    """Refuse a `.keras` or `.h5` file that would grow out of proportion, or points to other files.

    Raises:
        ValueError: It does, or is damaged.
    """
    size = regular_file(path).stat().st_size
    if path.suffix == ".h5":
        with path.open("rb") as file:
            config = _check_weights(file, size)
        _check_layers(json.loads(config or "{}"))
        return
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in entries.values()) > _GROWTH * size + _TEXT:
            raise ValueError("it grows too much when it is unpacked")
        if any(entry.file_size > _TEXT for name, entry in entries.items() if name.endswith(".json")):
            raise ValueError(f"its configuration has more than {_TEXT} bytes")
        if "config.json" not in entries:
            raise ValueError("it has no configuration")
        _check_layers(json.loads(archive.read("config.json")))
        for name in entries:
            if name.endswith(".h5"):
                content = archive.read(name)
                _check_weights(BytesIO(content), len(content))


def _check_layers(config: Any) -> None:
    """A model may hold another one that is called twice, which holds one that is called twice, and so on."""

    def count(part: Any, depth: int) -> int:
        if depth > DEEPEST:
            raise ValueError(f"its configuration is nested more than {DEEPEST} deep")
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        calls = part.get("inbound_nodes") if isinstance(part, dict) else None
        total = sum(count(one, depth + 1) for one in inner if isinstance(one, dict | list))
        total = total if calls is None else max(1, len(calls) if isinstance(calls, list) else 1) * (1 + total)
        if total > MOST_LAYERS:
            raise ValueError(f"with all models in place it has more than {MOST_LAYERS} layers")
        return total

    count(config, 0)


def _check_weights(content: BinaryIO, size: int) -> str | bytes | None:
    """Refuse arrays that are larger than the file or in other files; the configuration, where it is there, too."""
    import h5py

    try:
        with h5py.File(content, "r") as file:
            total = sum(_bytes_of(one) for one in _items(file))
            config = file.attrs.get("model_config")
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its weights are damaged: {error}") from error
    if total > _GROWTH * size + _ALLOWANCE:
        raise ValueError("its weights are larger than the file")
    return config


def _items(file: "h5py.File") -> Iterator[Any]:
    import h5py

    waiting, seen = [file["/"]], set()
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its weights point elsewhere at {name!r:.60}")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address not in seen:
                seen.add(address)
                yield item
                waiting += [item] if isinstance(item, h5py.Group) else []


def _bytes_of(item: Any) -> int:
    if not hasattr(item, "is_virtual"):  # a folder
        return 0
    if item.is_virtual or item.external:
        raise ValueError("its weights are in other files")
    return int(prod(item.shape or ()) * item.dtype.itemsize)


def check_functions(graph_def: "tf.compat.v1.GraphDef") -> None:
    """Refuse functions that call one another so often that their operations are too many.

    Raises:
        ValueError: They do.
    """
    bodies = {one.signature.name: one.node_def for one in graph_def.library.function}
    counts: dict[str, int] = {}

    def count(nodes: "Iterable[tf.compat.v1.NodeDef]", depth: int) -> int:
        if depth > DEEPEST:
            raise ValueError(f"its functions call one another more than {DEEPEST} deep")
        total = 0
        for node in nodes:
            called = [node.op, *(value.func.name for value in node.attr.values() if value.HasField("func"))]
            for name in called:
                if name in bodies and name not in counts:
                    counts[name] = count(bodies[name], depth + 1)
            total += 1 + sum(counts.get(name, 0) for name in called)
            if total > MOST_NODES:
                raise ValueError(f"with its functions in place it has more than {MOST_NODES} operations")
        return total

    count(graph_def.node, 0)


def check_size(name: str, sizes: Collection[int]) -> None:
    """Refuse a placeholder for more numbers than are computed of constants; sizes may be open (-1).

    Raises:
        ValueError: It is one.
    """
    if prod(max(1, size) for size in sizes) > MOST_NUMBERS:
        raise ValueError(f"{name!r:.100} is a placeholder for more than {MOST_NUMBERS} numbers")


class ConstantBudget:
    """How many numbers may be computed of a graph's constants: some, and so many as it brings along.

    Raises:
        ValueError: The constants, which may say one number for many, are too large themselves.
    """

    def __init__(self, graph_def: "tf.compat.v1.GraphDef"):
        self._left = MOST_NUMBERS
        for node in graph_def.node:
            if node.op == "Const" and "value" in node.attr:
                self._left += _brought_and_missing(node.attr["value"].tensor)
        self._check()

    def take(self, ops: "Iterable[tf.Operation]") -> None:
        """Count what operations give; constants are counted already.

        Raises:
            ValueError: It is too much, or text.
        """
        for op in ops:
            for tensor in op.outputs if op.type != "Const" else ():
                size = tensor.shape.num_elements()
                if size is None and op.type not in FOLDED:
                    raise ValueError(f"the size of the result of {op.name!r:.100} ({op.type}) is unknown")
                if tensor.dtype.name == "string":
                    raise ValueError(f"{op.name!r:.100} ({op.type}) gives text, which is not computed beforehand")
                self._left -= size or 0
        self._check()

    def _check(self) -> None:
        if self._left < 0:
            raise ValueError(f"its constants have more than {MOST_NUMBERS} numbers more than the file")


def _brought_and_missing(tensor: "TensorProto") -> int:
    """Four times the numbers that a constant brings along, less those for which its last one stands."""
    numbers, size = prod(dim.size for dim in tensor.tensor_shape.dim), tensor.ByteSize()
    if tensor.string_val:
        return -max(numbers - len(tensor.string_val), 0) * size
    return 4 * min(numbers, size) - max(numbers - size, 0)


def check_constants(graph: "tf.Graph", budget: ConstantBudget) -> None:
    """Refuse what is not computed beforehand, and results that are too large or of an unknown size.

    Raises:
        ValueError: There is such an operation.
    """
    for op in graph.get_operations():
        if op.type not in FOLDED:
            raise ValueError(f"{op.name!r:.100} ({op.type}) depends on no image, and is not computed beforehand")
        if not all(tensor.shape.is_fully_defined() for tensor in op.outputs):
            raise ValueError(f"the size of the result of {op.name!r:.100} ({op.type}) is unknown")
    budget.take(graph.get_operations())


def check_variables(shapes: Mapping[str, Iterable[int]], folder: Path) -> None:
    """Refuse variables that have more numbers than their files have bytes.

    Raises:
        ValueError: They have.
    """
    size = sum(regular_file(path).stat().st_size for path in folder.iterdir())
    if sum(prod(shape) for shape in shapes.values()) > size:
        raise ValueError("its variables are larger than their files")
