"""Frozen TensorFlow graph -> computation graph with its weights, through tf2onnx and the reader of ONNX.

Every operation becomes a node or a part of one, or is refused with its name. Nothing of a graph is run before all of
its operations are known to be arithmetic on tensors.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.inference import MOST_FACTORS, with_factors_up
from model_src.comp_graph.importers.onnx.limits import array
from model_src.comp_graph.importers.onnx.op import Blocker, Refusal
from model_src.comp_graph.importers.onnx.reader import from_onnx
from model_src.comp_graph.importers.tensorflow.graph_def import (
    constant,
    data_inputs,
    declared_shape,
    forget_sizes,
    give_back_copies,
    inlined,
    input_node,
    part_feeding,
    placeholder,
    producer,
    reached_from,
)
from model_src.comp_graph.importers.tensorflow.values import imported, run, with_constants
from model_src.comp_graph.importers.wording import SEVERAL_OUTPUTS, listed
from model_src.comp_graph.tf_comp_graph import Shape

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
    image, plain = with_placeholder(graph_def, input_size)
    del graph_def  # each copy holds all weights
    output = _output(plain, image)
    plain = inlined(plain, output) if plain.library.function else part_feeding(plain, output)
    output = _output(plain, image)
    check_operations(plain, own_name)
    plain = with_constants(plain, reached_from(plain, image))
    model = converted(plain, [f"{image}:0"], [f"{output}:0"], own_name, channels_first=True)
    _end_early(model.graph)
    _name(model.graph.node, own_name)
    return FrozenNetwork(from_onnx(model, name, None, normalisers), plain, image, output)


def with_placeholder(graph_def: "tf.compat.v1.GraphDef", size: Shape | None) -> tuple[str, "tf.compat.v1.GraphDef"]:
    """The name of the input, and the graph with a placeholder of known size there, at the end.

    Raises:
        ValueError: There is not one input, or its size is unknown.
    """
    node = input_node(graph_def)
    batch, *declared = declared_shape(node) or (1, *_size_of_identity(graph_def, node))
    shape = (batch if batch > 0 else _BATCH, *(size or declared))
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"the size of the input {node.name!r} is unknown; give its height, width and channels")
    result = type(graph_def)(versions=graph_def.versions, library=graph_def.library)
    for other in graph_def.node:
        if other.name != node.name:
            result.node.add().CopyFrom(other)
    forget_sizes(result)
    result.node.append(placeholder(node.name, shape))
    return node.name, result


def _size_of_identity(graph_def: "tf.compat.v1.GraphDef", node: "tf.compat.v1.NodeDef") -> Shape:
    """(H, W, C) of what an identity reads."""
    if node.op != "Identity":
        return -1, -1, -1
    check_operations(part_feeding(graph_def, node.name), str)
    (value,) = run(graph_def, [node.name])
    return value.shape[1:]


def _output(graph_def: "tf.compat.v1.GraphDef", image: str) -> str:
    """The node that gives the result, in front of the identities that only name it."""
    ends = ends_of(graph_def, image)
    if len(ends) != 1:
        remedy = f": {listed(ends)}; {SEVERAL_OUTPUTS}" if ends else ""
        raise ValueError(f"expected one output node, found {len(ends)}{remedy}")
    nodes, (end,) = {node.name: node for node in graph_def.node}, ends
    while nodes[end].op == "Identity" and ":" not in nodes[end].input[0].removesuffix(":0"):
        end = producer(nodes[end].input[0])
    return end


def ends_of(graph_def: "tf.compat.v1.GraphDef", image: str) -> list[str]:
    """The nodes that depend on the image and that no other node reads."""
    from tensorflow.python.framework import op_def_registry

    read = {producer(source) for node in graph_def.node for source in data_inputs(node)}
    found = reached_from(graph_def, image) - read
    definitions = {node.op: op_def_registry.get(node.op) for node in graph_def.node if node.name in found}
    empty = {op for op, definition in definitions.items() if definition and not definition.output_arg}
    return [node.name for node in graph_def.node if node.name in found and node.op not in empty]


def check_operations(graph_def: "tf.compat.v1.GraphDef", own_name: Callable[[str], str]) -> None:
    """Refuse what tf2onnx does not know, which includes all that acts on files or runs code, and what calls functions.

    Raises:
        Refusal: There is such an operation.
    """
    from tensorflow.python.framework import op_def_registry
    from tf2onnx import handler, tfonnx

    _ = tfonnx.process_tf_graph  # with which the operations become known
    known = handler.tf_op.create_mapping(OPSET, []).keys() | _UNSEEN
    refused = []
    for node in graph_def.node:
        definition = op_def_registry.get(node.op)
        calls = any(value.HasField("func") for value in node.attr.values())
        if definition is None or definition.is_stateful or calls or node.op not in known:
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


def converted(
    graph_def: "tf.compat.v1.GraphDef",
    inputs: list[str],
    outputs: list[str],
    own_name: Callable[[str], str] = str,
    channels_first: bool = False,
) -> "onnx.ModelProto":
    """A graph in ONNX, from some tensors to others.

    Args:
        graph_def: The graph.
        inputs: Tensors, such as `name:0`.
        outputs: Tensors.
        own_name: What the owner of the network calls a node.
        channels_first: Whether the inputs are to be (N, C, H, W).

    Raises:
        ValueError: tf2onnx cannot convert it.
    """
    from tf2onnx import tfonnx

    graph_def = _without_erfc(graph_def)
    graph = imported(graph_def)
    with graph.as_default(), _failures() as failures:
        try:
            model = tfonnx.process_tf_graph(
                graph,
                continue_on_error=True,
                opset=OPSET,
                input_names=inputs,
                output_names=outputs,
                inputs_as_nchw=inputs if channels_first else None,
            ).make_model("converted")
        except Exception as error:  # of any kind
            if not failures:
                raise ValueError(f"it cannot be converted to ONNX: {' '.join(str(error).split())}") from error
    if failures:
        types = {node.name: node.op for node in graph_def.node}
        raise Refusal([Blocker(own_name(name), types.get(name, "?"), _UNKNOWN) for name in failures])
    with_factors_up(
        model.graph, {one.name: array(one) for one in model.graph.initializer if prod(one.dims) <= MOST_FACTORS}
    )
    del graph
    give_back_copies(graph_def)
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
