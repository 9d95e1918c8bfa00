"""What TensorFlow makes of frozen graphs: the sizes of their tensors, and values."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import numpy as np

from model_src.comp_graph.importers.tensorflow.graph_def import (
    PLACEHOLDERS,
    SIZES,
    constant,
    data_inputs,
    declared_shape,
    give_back_copies,
    part_feeding,
    producer,
)
from model_src.comp_graph.importers.tensorflow.limits import ConstantBudget, check_constants
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


def with_constants(graph_def: "tf.compat.v1.GraphDef", reached: set[str]) -> "tf.compat.v1.GraphDef":
    """The nodes that depend on the image, which read constants where they read other nodes before."""
    dynamic = [node for node in graph_def.node if node.name in reached]
    borders = [name for node in dynamic for name in data_inputs(node) if producer(name) not in reached]
    borders = list(dict.fromkeys(borders))
    result = type(graph_def)(versions=graph_def.versions)
    names = {border: border.replace(":", "__") for border in borders}
    for border, value in zip(borders, run(graph_def, borders), strict=True):
        result.node.append(constant(names[border], value))
    for node in dynamic:
        copy = result.node.add()
        copy.CopyFrom(node)
        data = [names.get(name, name) for name in data_inputs(node)]
        del copy.input[:]
        copy.input.extend(data)
        copy.attr.pop("_class", None)  # where it should run: beside a node that may be gone
    return result


def tensor_of(graph: "tf.Graph", name: str) -> "tf.Tensor":
    """A tensor of an imported graph, by `name` or `name:1`.

    Raises:
        ValueError: There is none.
    """
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        raise ValueError(f"there is no tensor {name!r:.100}") from error


def run(
    graph_def: "tf.compat.v1.GraphDef", tensors: Iterable[str], feeds: Sequence[tuple[str, np.ndarray]] = ()
) -> list[np.ndarray]:
    """The values of tensors.

    Raises:
        ValueError: TensorFlow does not accept the graph, or cannot run it.
    """
    tf = import_tensorflow()
    names = [name if ":" in name else f"{name}:0" for name in tensors]
    if not names:
        return []
    part = part_feeding(graph_def, *map(producer, names))
    graph = imported(part)
    if not feeds:
        check_constants(graph, ConstantBudget(part))
    as_it_is = tf.compat.v1.ConfigProto()
    as_it_is.graph_options.rewrite_options.disable_meta_optimizer = True  # which would copy all constants, for one run
    with tf.compat.v1.Session(graph=graph, config=as_it_is) as session:
        try:
            results: list[np.ndarray] = session.run(names, {f"{name}:0": value for name, value in feeds})
        except (ValueError, tf.errors.OpError) as error:
            raise ValueError(f"TensorFlow cannot run the graph: {' '.join(str(error).split())}") from error
    del graph, session
    give_back_copies(part)
    return results


def imported(graph_def: "tf.compat.v1.GraphDef") -> "tf.Graph":
    """The graph as TensorFlow sees it, with the sizes of its tensors. Nothing is run but what the sizes depend on.

    TensorFlow computes a constant when it adds a node of which the size depends on it. Therefore nodes are added stage
    by stage to another graph first: what a stage may compute is known to be small before it comes.

    Raises:
        ValueError: TensorFlow does not accept it, or its constants are much larger than it is.
    """
    budget, trial, there = ConstantBudget(graph_def), import_tensorflow().Graph(), dict[str, "tf.Operation"]()
    for nodes, computed in _stages(graph_def)[:-1]:
        part = type(graph_def)(node=nodes, versions=graph_def.versions)
        for node in part.node:  # arithmetic waits for nothing
            sources = data_inputs(node)
            del node.input[:]
            node.input.extend(sources)
        there |= _add(trial, part, there)
        budget.take(there[name] for name in computed)
    graph = import_tensorflow().Graph()
    _add(graph, graph_def)
    return graph


def _add(
    graph: "tf.Graph", graph_def: "tf.compat.v1.GraphDef", there: "Mapping[str, tf.Operation] | None" = None
) -> "dict[str, tf.Operation]":
    """Add nodes, which may read others that are there; the new ones by their names in the file."""
    tf, there = import_tensorflow(), there or {}
    names = [node.name for node in graph_def.node]
    read = {source for node in graph_def.node for source in data_inputs(node) if producer(source) in there}
    with graph.as_default():
        try:
            given = {one: there[producer(one)].outputs[int(one.partition(":")[2] or 0)] for one in read}
            return dict(zip(names, tf.import_graph_def(graph_def, given, names, name=""), strict=True))
        except (IndexError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())
            images = _for_images(graph_def) if "shape" in reason else ""
            raise ValueError(f"TensorFlow does not accept the graph{images}: {reason}") from error


def _for_images(graph_def: "tf.compat.v1.GraphDef") -> str:
    """Which images a graph is for, as a part of an error; empty where that is not known."""
    sizes = [declared_shape(node)[1:] for node in graph_def.node if node.op == "Placeholder"]
    known = len(sizes) == 1 and len(sizes[0]) == 3
    return f" for images of {' x '.join(map(str, sizes[0]))} (H x W x C)" if known else ""


def _stages(graph_def: "tf.compat.v1.GraphDef") -> "list[tuple[list[tf.compat.v1.NodeDef], list[str]]]":
    """The nodes of a graph, each in a later stage than the computed constants that it depends on.

    Returns:
        Per stage, its nodes, and the names of its constants.

    Raises:
        ValueError: They form a cycle.
    """
    nodes = {node.name: node for node in graph_def.node}
    sources = {name: {producer(source) for source in data_inputs(node)} for name, node in nodes.items()}
    stage_of, constants, computed = dict[str, int](), set[str](), set[str]()
    try:
        order = [name for name in TopologicalSorter(sources).static_order() if name in nodes]
    except CycleError as error:
        raise ValueError("TensorFlow does not accept the graph: its nodes form a cycle") from error
    for name in order:
        op, read = nodes[name].op, sources[name]
        stage_of[name] = max((stage_of.get(source, 0) + (source in computed) for source in read), default=0)
        if op in SIZES or (op not in PLACEHOLDERS and read <= constants):
            constants.add(name)
            if op not in ("Const", "Identity", *SIZES):
                computed.add(name)
    stages = [(list["tf.compat.v1.NodeDef"](), list[str]()) for _ in range(max(stage_of.values(), default=0) + 1)]
    for name in order:
        stages[stage_of[name]][0].append(nodes[name])
        stages[stage_of[name]][1].extend([name] if name in computed else [])
    return stages
