"""Cuts a TensorFlow graph in two at a tensor: what gives the tensor, and what makes the graph's results of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from model_src.comp_graph.importers.tensorflow.graph_def import (
    constant,
    data_inputs,
    declared_shape,
    identity,
    inlined,
    input_node,
    part_feeding,
    producer,
    reached_from,
)
from model_src.comp_graph.importers.tensorflow.limits import MOST_BEHIND
from model_src.comp_graph.importers.tensorflow.strict import check_operations, ends_of, with_placeholder
from model_src.comp_graph.importers.tensorflow.values import imported
from model_src.comp_graph.importers.wording import close_to, listed
from model_src.comp_graph.tf_comp_graph import Shape
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


class Halves(NamedTuple):
    """A graph that is cut in two.

    Attributes:
        front: What gives the tensor.
        whole: All, with a placeholder for the image.
        graph: The same, with the sizes of its tensors.
        image: The node that gives the image.
        tensor: Where it is cut.
        results: Per name of a result, the tensor.
        hidden: The nodes whose sizes depend on what is in an image.
        batch: How many images the rest takes at once; None for any number.
    """

    front: "tf.compat.v1.GraphDef"
    whole: "tf.compat.v1.GraphDef"
    graph: "tf.Graph"
    image: str
    tensor: str
    results: Mapping[str, str]
    hidden: set[str]
    batch: int | None


def cut_graph(
    graph_def: "tf.compat.v1.GraphDef",
    name: str,
    size: Shape | None = None,
    own_name: Callable[[str], str] = str,
    results: Mapping[str, str] | None = None,
) -> Halves:
    """Cut a graph at a tensor. Nothing of it is run.

    Args:
        graph_def: The graph.
        name: Of the tensor (`split:1`), or of the operation that gives it.
        size: (H, W, C) of the image; None takes what the graph says.
        own_name: What the owner of the network calls a node.
        results: Per name of a result, the tensor; None takes all that nothing reads.

    Raises:
        ValueError: There is no such tensor, it does not depend on the image, or what comes behind it needs others that
            do, has an operation that cannot be converted or gives text, or makes too many numbers.
    """
    start = input_node(graph_def)
    batch = max(0, (declared_shape(start) or [1])[0])
    ends = results or {end: end for end in ends_of(graph_def, start.name)}
    nodes = dict.fromkeys(map(producer, ends.values()))
    graph_def = inlined(graph_def, *nodes) if graph_def.library.function else part_feeding(graph_def, *nodes)
    image, whole = with_placeholder(graph_def, size)
    tensor = _tensor(whole, name, ends.values(), own_name)
    check_operations(whole, own_name)
    behind = reached_from(whole, *(node.name for node in whole.node if tensor in data_inputs(node)))
    if _lacking(whole, image, tensor, behind, ends.values()):  # perhaps only sizes of the image
        batch = batch or 1
        whole = _with_sizes(whole, behind, batch)
    if reason := _obstacle(whole, image, tensor, behind, ends, own_name):
        raise ValueError(f"-output_node {name}: {reason}")
    graph = imported(whole)
    hidden = reached_from(whole, *_of_unknown_size(graph, behind))
    front, results = _leading_to(graph_def, tensor), results or _all_of(graph, nodes)
    return Halves(front, whole, graph, image, tensor, results, hidden, batch or None)


def _tensor(
    graph_def: "tf.compat.v1.GraphDef", name: str, results: Iterable[str], own_name: Callable[[str], str]
) -> str:
    """The tensor that a user means: `node`, or `node:1` for the second that it gives."""
    called, _, place = name.partition(":")
    names = {node.name: own_name(node.name) for node in graph_def.node}
    found = [called] if called in names else [node for node, own in names.items() if own == called]
    read = dict.fromkeys([*(source for node in graph_def.node for source in data_inputs(node)), *results])
    given = [*found, *(one for one in read if ":" in one and producer(one) in found)]
    if place:
        given = [one for one in given if (one.partition(":")[2] or "0") == place]
    if not given:
        close = close_to(name, [*names.values(), *read])
        raise ValueError(f"-output_node {name}: no tensor or operation has this name{close}")
    if len(given) > 1:
        raise ValueError(f"-output_node {name}: it gives several tensors; name one of {listed(given)}")
    return given[0]


def _lacking(
    graph_def: "tf.compat.v1.GraphDef", image: str, tensor: str, behind: set[str], results: Iterable[str]
) -> list[str]:
    """The tensors that depend on the image but not on another one, and are needed behind that or are results."""
    seen = reached_from(graph_def, image) - behind
    read = (one for node in graph_def.node if node.name in behind for one in data_inputs(node))
    return [one for one in dict.fromkeys([*read, *results]) if one != tensor and producer(one) in seen]


def _obstacle(
    graph_def: "tf.compat.v1.GraphDef",
    image: str,
    tensor: str,
    behind: set[str],
    results: Mapping[str, str],
    own_name: Callable[[str], str],
) -> str:
    """Why a graph cannot be cut at a tensor; empty where it can."""
    ends = list(results.values())
    if producer(tensor) not in reached_from(graph_def, image) - {image}:
        return "it is no result of an operation on the image"
    if ends == [tensor]:
        return "nothing comes behind it; leave the flag out"
    if tensor not in ends and behind.isdisjoint(map(producer, ends)):
        return "no output depends on it"
    lacking = _lacking(graph_def, image, tensor, behind, ends)
    if inner := [own_name(one) for one in lacking if one not in ends]:
        return f"what comes behind it also needs {listed(inner)}"
    names = [name for name, one in results.items() if one in lacking]
    return f"not all outputs come from it: {listed(names)}" if names else ""


def _with_sizes(graph_def: "tf.compat.v1.GraphDef", behind: set[str], batch: int) -> "tf.compat.v1.GraphDef":
    """The graph for a number of images, where those nodes that are not behind read sizes as constants."""
    graph_def.node[-1].attr["shape"].shape.dim[0].size = batch
    graph, result = imported(graph_def), type(graph_def)(versions=graph_def.versions)
    for node in graph_def.node:
        op = graph.get_operation_by_name(node.name)
        if node.op == "Shape" and node.name not in behind and op.inputs[0].shape.is_fully_defined():
            sizes = np.array(op.inputs[0].shape.as_list(), op.outputs[0].dtype.as_numpy_dtype)
            node = constant(node.name, sizes)
        result.node.append(node)
    return result


def _outputs(op: "tf.Operation") -> "Sequence[tf.Tensor]":
    """What an operation gives at inference."""
    return op.outputs[:1] if op.type.startswith("FusedBatchNorm") else op.outputs


def _all_of(graph: "tf.Graph", nodes: Iterable[str]) -> dict[str, str]:
    """Per name of a result, the tensor, for all that nodes give."""
    given = [one.name for node in nodes for one in _outputs(graph.get_operation_by_name(node))]
    return {name.removesuffix(":0"): name for name in given}


def _of_unknown_size(graph: "tf.Graph", nodes: set[str]) -> list[str]:
    """The nodes that give tensors of which nobody knows the size before.

    Raises:
        ValueError: One gives text, or all give too many numbers.
    """
    text, numbers, unknown = import_tensorflow().string, 0, []
    for op in map(graph.get_operation_by_name, sorted(nodes)):
        if any(one.dtype == text for one in op.outputs):
            raise ValueError(f"{op.name!r} ({op.type}) gives text; it cannot be converted")
        sizes = [one.shape.num_elements() for one in _outputs(op)]
        numbers += sum(filter(None, sizes))
        unknown += [op.name] if None in sizes else []
    if numbers > MOST_BEHIND:
        raise ValueError(f"what comes behind makes more than {MOST_BEHIND} numbers")
    return unknown


def name_of_cut(tensor: str) -> str:
    """What the node is called that stands for a tensor at which a graph is cut."""
    return f"{producer(tensor)}/output_node"


def _leading_to(graph_def: "tf.compat.v1.GraphDef", tensor: str) -> "tf.compat.v1.GraphDef":
    """The part that gives a tensor."""
    part = part_feeding(graph_def, producer(tensor))
    if ":" in tensor:
        part.node.append(identity(name_of_cut(tensor), tensor, import_tensorflow().float32))
    return part
