"""Frozen TensorFlow graph -> computation graph with its weights, through tf2onnx and the reader of ONNX.

Every operation becomes a node or a part of one, or is refused with its name. Nothing of a graph is run before all of
its operations are known to be arithmetic on tensors.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.op import Blocker, Refusal
from model_src.comp_graph.importers.onnx.reader import from_onnx
from model_src.comp_graph.importers.tensorflow.graph_def import (
    constant,
    declared_shape,
    inlined,
    input_node,
    part_feeding,
    producer,
    reached_from,
    run,
    with_constants,
)
from model_src.comp_graph.tf_comp_graph import Shape
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import onnx
    import tensorflow as tf

OPSET = 18
_BATCH = 2  # images at once, where a graph leaves it open
_UNKNOWN = "it cannot be represented"
_UNSEEN = frozenset({"Const", "Erfc", "Identity", "IdentityN", "Placeholder", "PlaceholderWithDefault", "NoOp"})


class FrozenNetwork(NamedTuple):
    """What was read of a graph, and the graph.

    Attributes:
        found: The computation graph and its weights.
        graph_def: The nodes that depend on the image, and their constants.
        image: The node that gives the image.
        output: The node that gives the result.
    """

    found: ImportedNetwork
    graph_def: "tf.compat.v1.GraphDef"
    image: str
    output: str

    def checked(self, found: ImportedNetwork) -> ImportedNetwork:
        """What was read, compared with the graph on random images.

        Raises:
            ValueError: It computes something else.
        """
        from model_src.comp_graph.importers.check import check_same

        (image,) = (node for node in self.graph_def.node if node.name == self.image)
        check_same(found, self._run, declared_shape(image)[0])
        return found

    def _run(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) to the graph's result."""
        (result,) = run(self.graph_def, [self.output], [(self.image, images.transpose(0, 2, 3, 1))])
        return result


def read_frozen(
    graph_def: "tf.compat.v1.GraphDef",
    name: str,
    input_size: Shape | None = None,
    normalisers: Mapping[str, int | None] | None = None,
    own_name: Callable[[str], str] = str,
) -> FrozenNetwork:
    """Build the graph of a frozen GraphDef, with its weights.

    Args:
        graph_def: Operations in any order; its input is its only image placeholder, or an Identity named `input`.
        name: Architecture name.
        input_size: (H, W, C); None takes what the input node declares.
        normalisers: Feature normalisers by name; those not given are derived from the graph.
        own_name: What the owner of the network calls a node.

    Raises:
        ValueError: There is not one input and one output, a size is unknown, or an operation cannot be represented.
    """
    image, plain = _image_and_rest(graph_def, input_size)
    output = _output(plain, image)
    plain = inlined(plain, output) if plain.library.function else part_feeding(plain, output)
    output = _output(plain, image)
    _check_operations(plain, own_name)
    plain = _without_erfc(with_constants(plain, reached_from(plain, image)))
    model = _converted(plain, image, output, own_name)
    return FrozenNetwork(from_onnx(model, name, None, normalisers), plain, image, output)


def _image_and_rest(graph_def: "tf.compat.v1.GraphDef", size: Shape | None) -> tuple[str, "tf.compat.v1.GraphDef"]:
    """The name of the input, and the graph with a placeholder of known size there."""
    tf = import_tensorflow()
    node = input_node(graph_def)
    batch, *declared = declared_shape(node) or (1, *_size_of_identity(graph_def, node))
    shape = (batch if batch > 0 else _BATCH, *(size or declared))
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"the size of the input {node.name!r} is unknown; give its height, width and channels")
    result = type(graph_def)(versions=graph_def.versions, library=graph_def.library)
    for other in graph_def.node:
        if other.name != node.name:
            result.node.add().CopyFrom(other)
    placeholder = result.node.add(name=node.name, op="Placeholder")
    placeholder.attr["dtype"].type = tf.float32.as_datatype_enum
    placeholder.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return node.name, result


def _size_of_identity(graph_def: "tf.compat.v1.GraphDef", node: "tf.compat.v1.NodeDef") -> Shape:
    """(H, W, C) of what an identity reads."""
    if node.op != "Identity":
        return -1, -1, -1
    _check_operations(part_feeding(graph_def, node.name), str)
    (value,) = run(graph_def, [node.name])
    return value.shape[1:]


def _output(graph_def: "tf.compat.v1.GraphDef", image: str) -> str:
    """The node that gives the result, in front of the identities that only name it."""
    reached = reached_from(graph_def, image)
    read = {producer(source) for node in graph_def.node for source in node.input if source[0] != "^"}
    ends = [node.name for node in graph_def.node if node.name in reached and node.name not in read]
    if len(ends) != 1:
        raise ValueError(f"expected one output node, found {len(ends)}: {', '.join(map(repr, ends))}")
    nodes, (end,) = {node.name: node for node in graph_def.node}, ends
    while nodes[end].op == "Identity" and ":" not in nodes[end].input[0].removesuffix(":0"):
        end = producer(nodes[end].input[0])
    return end


def _check_operations(graph_def: "tf.compat.v1.GraphDef", own_name: Callable[[str], str]) -> None:
    """Refuse what tf2onnx does not know, which includes all that acts on files or runs code."""
    from tensorflow.python.framework import op_def_registry
    from tf2onnx import handler, tfonnx

    _ = tfonnx.process_tf_graph  # with which the operations become known
    known = handler.tf_op.create_mapping(OPSET, []).keys() | _UNSEEN
    refused = []
    for node in graph_def.node:
        definition = op_def_registry.get(node.op)
        if definition is None or definition.is_stateful or node.op not in known:
            refused.append(Blocker(own_name(node.name), node.op, _UNKNOWN))
    if refused:
        raise Refusal(refused)


def _without_erfc(graph_def: "tf.compat.v1.GraphDef") -> "tf.compat.v1.GraphDef":
    """The graph with 1 - erf(x) for erfc(x), of which TensorFlow makes GELU and which ONNX does not have."""
    result = type(graph_def)(versions=graph_def.versions)
    for node in graph_def.node:
        copy = result.node.add()
        copy.CopyFrom(node)
        if node.op == "Erfc":
            names = f"{node.name}/one", f"{node.name}/erf"
            copy.op, copy.name = "Erf", names[1]
            result.node.append(constant(names[0], np.float32(1)))
            result.node.add(name=node.name, op="Sub", input=names).attr["T"].CopyFrom(node.attr["T"])
    return result


def _converted(
    graph_def: "tf.compat.v1.GraphDef", image: str, output: str, own_name: Callable[[str], str]
) -> "onnx.ModelProto":
    """The graph in ONNX, on (N, C, H, W)."""
    tf = import_tensorflow()
    from tf2onnx import tfonnx

    names = [f"{image}:0"], [f"{output}:0"]
    with tf.Graph().as_default() as graph, _failures() as failures:
        try:
            tf.import_graph_def(graph_def, name="")
        except (ValueError, tf.errors.OpError) as error:
            raise ValueError(f"TensorFlow does not accept the graph: {' '.join(str(error).split())}") from error
        converted = tfonnx.process_tf_graph(
            graph,
            continue_on_error=True,
            opset=OPSET,
            input_names=names[0],
            output_names=names[1],
            inputs_as_nchw=names[0],
        )
        if failures:
            types = {node.name: node.op for node in graph_def.node}
            raise Refusal([Blocker(own_name(name), types.get(name, "?"), _UNKNOWN) for name in failures])
        model = converted.make_model("converted")
    _end_early(model.graph)
    _name(model.graph.node, own_name)
    return model


def _end_early(graph: "onnx.GraphProto") -> None:
    """End a graph in front of the identities with which tf2onnx renames its result."""
    (output,) = graph.output
    producers = {name: node for node in graph.node for name in node.output}
    while output.name in producers and producers[output.name].op_type == "Identity":
        last = producers[output.name]
        output.name = last.input[0]
        graph.node.remove(last)


def _name(nodes: "Sequence[onnx.NodeProto]", own_name: Callable[[str], str]) -> None:
    """Give nodes their owner's names; where tf2onnx made a name up, the one of a node that reads the result."""
    readers: dict[str, str] = {}
    for node in reversed(nodes):
        made_up = re.fullmatch(r"[A-Za-z]+__\d+", node.name)
        named = [readers[name] for name in node.output if name in readers]
        node.name = named[0] if made_up and named else own_name(re.sub(r"__\d+$", "", node.name))
        readers.update(dict.fromkeys(node.input, node.name))


@contextmanager
def _failures() -> Iterator[list[str]]:
    """The nodes that tf2onnx says it cannot convert, which it only logs."""
    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR and isinstance(record.args, tuple) and record.args:
                found.append(str(record.args[0]))

    logger, listener = logging.getLogger("tf2onnx"), Listener()
    before = logger.propagate, logger.level, logger.handlers
    logger.propagate, logger.handlers = False, [listener]
    logger.setLevel(logging.ERROR)
    try:
        yield found
    finally:
        logger.propagate, _, logger.handlers = before
        logger.setLevel(before[1])
