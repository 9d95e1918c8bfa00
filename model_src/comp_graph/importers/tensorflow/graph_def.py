"""Frozen TensorFlow graphs as lists of nodes: parts of them, and new nodes."""

import gc
import re
from collections.abc import Callable, Sequence
from ctypes import CDLL
from typing import TYPE_CHECKING, Any

import numpy as np

from model_src.comp_graph.importers.tensorflow.limits import check_functions, check_size
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

PLACEHOLDERS = ("Placeholder", "PlaceholderWithDefault")
_LARGE = 1 << 26  # bytes of a graph
SIZES = ("Shape", "ShapeN", "Size", "Rank")  # the image's size flows through these, but not the image


def producer(tensor: str) -> str:
    """The node that gives a tensor (`name:1`), or whose end one waits for (`^name`)."""
    return tensor.lstrip("^").split(":")[0]


def data_inputs(node: "tf.compat.v1.NodeDef") -> list[str]:
    """The tensors that a node reads: `name` for the first of a node, `name:1` for the second."""
    return [source.removesuffix(":0") for source in node.input if not source.startswith("^")]


def part_feeding(graph_def: "tf.compat.v1.GraphDef", *names: str) -> "tf.compat.v1.GraphDef":
    """The part of a graph that the values of nodes depend on, the nodes included."""
    inputs = {node.name: [producer(source) for source in data_inputs(node)] for node in graph_def.node}
    needed, waiting = set(names), list(names)
    while waiting:
        new = set(inputs.get(waiting.pop(), ())) - needed
        needed |= new
        waiting.extend(new)
    result = type(graph_def)(node=[node for node in graph_def.node if node.name in needed], versions=graph_def.versions)
    for node in result.node:  # arithmetic waits for nothing
        sources = [source for source in node.input if not source.startswith("^") or producer(source) in needed]
        if len(sources) < len(node.input):
            del node.input[:]
            node.input.extend(sources)
    return result


def freeze(
    function: Callable[..., Any], *image_shapes: tuple[int, ...], batch: int | None = 1
) -> "tf.compat.v1.GraphDef":
    """Trace a function of float batches (batch, H, W, C), one per (H, W, C); variables become constants.

    A batch of None leaves the number open.
    """
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    images = [tf.TensorSpec((batch, *shape), tf.float32, name="input") for shape in image_shapes]
    concrete = tf.function(function).get_concrete_function(*images)
    frozen = convert_variables_to_constants_v2(concrete).graph.as_graph_def()
    del concrete
    give_back_copies(frozen)
    return frozen


def forget_sizes(graph_def: "tf.compat.v1.GraphDef") -> None:
    """Take away what nodes say of the sizes of their results, which are those for the images of the export."""
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            node.attr.pop("_output_shapes", None)


def give_back_copies(graph_def: "tf.compat.v1.GraphDef") -> None:
    """Give the memory of copies that TensorFlow made of a large graph, and left behind, to the system."""
    trim = getattr(CDLL(None), "malloc_trim", None)  # of glibc, which keeps what is free otherwise
    if trim and graph_def.ByteSize() > _LARGE:
        gc.collect()
        trim(0)


def inlined(graph_def: "tf.compat.v1.GraphDef", *ends: str) -> "tf.compat.v1.GraphDef":
    """The part of a graph that nodes depend on, with function bodies in the place of their calls.

    Raises:
        ValueError: TensorFlow does not accept the graph, or a placeholder of it is of no type or too large.
    """
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.framework.errors_impl import OpError
    from tensorflow.python.grappler import tf_optimizer

    check_functions(graph_def)
    for node in graph_def.node:
        if node.op in PLACEHOLDERS:  # grappler makes tensors for them
            declared_type(node)
            check_size(node.name, declared_shape(node))
    task = meta_graph_pb2.MetaGraphDef(graph_def=graph_def)
    task.collection_def["train_op"].node_list.value.extend(ends)  # what grappler must keep
    functions = task.graph_def.library.function
    for one in (*functions, *task.graph_def.node, *(node for function in functions for node in function.node_def)):
        for attribute in _IN_ONE_PIECE:
            one.attr.pop(attribute, None)
    config = config_pb2.ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.optimizers.append("function")
    rewrite.min_graph_nodes = -1
    rewrite.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    try:
        flat = part_feeding(_without_borders(tf_optimizer.OptimizeGraph(config, task), ends), *ends)
    except OpError as error:
        raise ValueError(f"TensorFlow does not accept the graph: {' '.join(str(error).split())}") from error
    give_back_copies(flat)
    return flat


_IN_ONE_PIECE = ("_XlaMustCompile", "_noinline")  # marks of functions that are to be left alone
_BORDER = re.compile(r"Func/.*/(input|output)/_\d+")


def _without_borders(graph: "tf.compat.v1.GraphDef", ends: Sequence[str]) -> "tf.compat.v1.GraphDef":
    """The graph without the identities that inlining leaves around a function.

    They are `Func/{call}/input/_{n}` and `.../output/_{n}`, the identities that the latter read (what the function
    returned), and an IdentityN in the place of a call.
    """
    nodes = {node.name: node for node in graph.node}
    borders = {
        node.name: node.input[0] for node in graph.node if _BORDER.fullmatch(node.name) and node.op == "Identity"
    }
    returned = [source for name, source in borders.items() if "/output/_" in name]
    borders |= {name: nodes[name].input[0] for name in returned if name in nodes and nodes[name].op == "Identity"}
    calls = {re.sub(r"Func/(.*)/output/_\d+", r"\1", name) for name in borders if "/output/_" in name}
    calls = {name for name in calls - set(ends) if name in nodes and nodes[name].op == "IdentityN"}
    borders |= {name: nodes[name].input[0] for name in calls if len(nodes[name].input) == 1}

    def origin(name: str) -> str:
        while name in borders:
            name = borders[name].removesuffix(":0")
        return name

    result = type(graph)(versions=graph.versions)
    for node in graph.node:
        if node.name not in borders:
            data = [origin(name) for name in data_inputs(node)]
            del node.input[:]
            node.input.extend(data)
            node.attr.pop("_class", None)  # where it should run: beside a node that may be gone
            result.node.append(node)
    return result


def input_node(graph_def: "tf.compat.v1.GraphDef") -> "tf.compat.v1.NodeDef":
    """The node that gives the image: the only image placeholder, or else the only Identity named `input`.

    Raises:
        ValueError: There is not one.
    """
    placeholders = [node for node in graph_def.node if node.op in PLACEHOLDERS and _may_hold_images(node)]
    named = [node for node in graph_def.node if node.op == "Identity" and node.name.rsplit("/", 1)[-1] == "input"]
    found = placeholders or named
    if len(found) != 1:
        names = ", ".join(repr(node.name) for node in found) or "none"
        raise ValueError(f"expected one input (an image placeholder, or an Identity named `input`), found {names}")
    return found[0]


def _may_hold_images(node: "tf.compat.v1.NodeDef") -> bool:
    shape = node.attr["shape"].shape
    return declared_type(node).is_floating and (len(shape.dim) == 4 or "shape" not in node.attr or shape.unknown_rank)


def declared_type(node: "tf.compat.v1.NodeDef") -> "tf.DType":
    """What the numbers of a placeholder or an identity are.

    Raises:
        ValueError: The graph does not say.
    """
    kind = node.attr["dtype" if node.op in PLACEHOLDERS else "T"].type
    try:
        return import_tensorflow().dtypes.as_dtype(kind)
    except TypeError as error:
        raise ValueError(f"{node.name!r:.100} ({node.op}) is of no type") from error


def declared_shape(node: "tf.compat.v1.NodeDef") -> list[int]:
    """(N, H, W, C) of an image placeholder, -1 where a size is open; nothing where it says nothing."""
    return [dim.size for dim in node.attr["shape"].shape.dim] if "shape" in node.attr else []


def reached_from(graph_def: "tf.compat.v1.GraphDef", *starts: str) -> set[str]:
    """The nodes whose values depend on some nodes, these included."""
    readers: dict[str, list[str]] = {}
    for node in graph_def.node:
        for source in data_inputs(node):
            readers.setdefault(producer(source), []).append(node.name)
    reached, waiting = set(starts), list(starts)
    while waiting:
        new = set(readers.get(waiting.pop(), ())) - reached
        reached |= new
        waiting.extend(new)
    return reached


def constant(name: str, value: np.ndarray | np.generic) -> "tf.compat.v1.NodeDef":
    """A node of a value."""
    tf = import_tensorflow()
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    node.attr["dtype"].type = node.attr["value"].tensor.dtype
    return node


def placeholder(name: str, shape: Sequence[int | None], kind: "tf.DType | None" = None) -> "tf.compat.v1.NodeDef":
    """A node for tensors of a type (None: float32), of a shape whose sizes may be open."""
    tf = import_tensorflow()
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = (kind or tf.float32).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return node


def identity(name: str, tensor: str, kind: "tf.DType") -> "tf.compat.v1.NodeDef":
    """A node that hands a tensor on."""
    node = import_tensorflow().compat.v1.NodeDef(name=name, op="Identity", input=[tensor])
    node.attr["T"].type = kind.as_datatype_enum
    return node
