"""What comes behind a tensor of a TensorFlow graph, in ONNX and behind the graph of what is in front of it."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.tensorflow.cut import Halves, name_of_cut
from model_src.comp_graph.importers.tensorflow.graph_def import (
    data_inputs,
    identity,
    placeholder,
    producer,
    reached_from,
)
from model_src.comp_graph.importers.tensorflow.strict import converted
from model_src.comp_graph.importers.tensorflow.values import run, tensor_of, with_constants
from model_src.comp_graph.importers.wording import listed
from model_src.comp_graph.rest import Rest

if TYPE_CHECKING:
    import onnx
    import tensorflow as tf

logger = logging.getLogger(__name__)


def with_rest(found: ImportedNetwork, halves: Halves, check: bool = True) -> ImportedNetwork:
    """What was read of the front of a graph, with the rest behind it.

    Args:
        found: What was read.
        halves: The graph.
        check: Whether to compare both together with the graph on random images. Results whose sizes depend on what is
            in an image are not compared, which a warning says.

    Raises:
        ValueError: The rest cannot be converted, or the two give something else.
    """
    from model_src.comp_graph.importers.onnx.rest import rest_behind

    model = rest_behind(found, _converted(found, halves), halves.batch)
    if check:
        _check(found, halves, model)
    return replace(found, rest=Rest(model))


def _converted(found: ImportedNetwork, halves: Halves) -> "onnx.ModelProto":
    """What comes behind the tensor, with a placeholder for the tensor."""
    start, shape = name_of_cut(halves.tensor), tensor_of(halves.graph, halves.tensor).shape.as_list()
    if halves.batch is None:
        shape = [None, *shape[1:]] if found.output_axes.startswith("N") else [None] * len(shape)
    ends = {name: f"{start}/{place}" for place, name in enumerate(halves.results)}
    part = type(halves.whole)(versions=halves.whole.versions)
    part.CopyFrom(halves.whole)
    for name, tensor in halves.results.items():
        part.node.append(identity(ends[name], tensor, tensor_of(halves.graph, tensor).dtype))
    for node in part.node:
        sources = [start if one == halves.tensor else one for one in data_inputs(node)]
        del node.input[:]
        node.input.extend(sources)
    part.node.append(placeholder(start, shape))
    return rest_in_onnx(with_constants(part, reached_from(part, start).union(ends.values())), start, ends)


def rest_in_onnx(graph_def: "tf.compat.v1.GraphDef", start: str, ends: Mapping[str, str]) -> "onnx.ModelProto":
    """A graph in ONNX, with results of names of their own.

    Args:
        graph_def: The graph.
        start: Its placeholder.
        ends: Per name of a result, the node that gives it.

    Raises:
        ValueError: tf2onnx cannot convert it.
    """
    tensors = {f"{node}:0": name for name, node in ends.items()}
    names = {name: f"{name}/inner" for name in ends} | tensors  # if it has a tensor that is called so
    model = converted(graph_def, [f"{start}:0"], list(tensors))
    graph = model.graph
    graph.ClearField("value_info")
    for node in graph.node:
        for field in (node.input, node.output):
            renamed = [names.get(name, name) for name in field]
            del field[:]
            field.extend(renamed)
    values: tuple[onnx.ValueInfoProto | onnx.TensorProto, ...] = (*graph.input, *graph.output, *graph.initializer)
    for value in values:
        value.name = names.get(value.name, value.name)
    return model


def _check(found: ImportedNetwork, halves: Halves, model: "onnx.ModelProto") -> None:
    """Compare all results but those of unknown size, which are not computed."""
    from onnx.utils import Extractor

    from model_src.comp_graph.importers.check import check_rest
    from model_src.comp_graph.importers.onnx.runtime import results_of

    compared = {name: one for name, one in halves.results.items() if producer(one) not in halves.hidden}
    if hidden := [name for name in halves.results if name not in compared]:
        text = "%s: not compared with the original, since their sizes depend on what is in an image: %s"
        logger.warning(text, found.graph.name, listed(hidden))
    if compared:
        model = Extractor(model).extract_model([model.graph.input[0].name], list(compared))

        def original(images: np.ndarray) -> list[np.ndarray]:
            return run(halves.whole, compared.values(), [(halves.image, images.transpose(0, 2, 3, 1))])

        check_rest(found, partial(results_of, model), original, halves.batch)
