"""ONNX -> computation graph, with the weights with which its PyTorch network computes the same.

Every operation of a model becomes a node or a part of one; what cannot is refused with its name.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.importers.channel_order import out_of_order
from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.builder import Builder
from model_src.comp_graph.importers.onnx.cut import cut_at
from model_src.comp_graph.importers.onnx.limits import read_model
from model_src.comp_graph.importers.onnx.model import prepare
from model_src.comp_graph.importers.onnx.operations import convert_all
from model_src.comp_graph.importers.onnx.order import put_in_order
from model_src.comp_graph.importers.onnx.precision import in_single_precision
from model_src.comp_graph.importers.onnx.rest import rest_behind
from model_src.comp_graph.importers.options import completed_normalisers, given_size
from model_src.comp_graph.networks.plan import plan_network
from model_src.comp_graph.rest import Rest
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.files import InputError

logger = logging.getLogger(__name__)

LARGEST_OPAQUE_SHARE = 0.1  # of the multiply-accumulates of a network whose scores mean something


def load_onnx(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
    check: bool = True,
    output_node: str | None = None,
) -> ImportedNetwork:
    """Read an ONNX file; the graph is named after it. Arguments as for `importers.tensorflow.load_pb`.

    With an `output_node`, a tensor or the operation that gives it, the graph ends there, and what comes behind becomes
    the `rest`; the model may have several outputs then.

    Raises:
        InputError: The file is missing, is no ONNX model, has an operation that a graph cannot hold, the graph does not
            compute what the model does, or the model cannot be cut there.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    try:
        model = _loaded(path, tells=True)
        if output_node is not None:
            return _read_part(path, model, output_node, size, normalisers, check)
        found = from_onnx(model, path.stem, size, normalisers)
        if check:
            from model_src.comp_graph.importers.check import check_same
            from model_src.comp_graph.importers.onnx.runtime import OnnxRun

            original = OnnxRun(_loaded(path), found.graph.input_shape[1:])
            check_same(found, original, original.batch)
        return found
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX model, or cut short") from error
    except (ValueError, onnx.checker.ValidationError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error


def _loaded(path: Path, tells: bool = False) -> onnx.ModelProto:
    """A model in a topological order and in single precision; whether it was of half precision may be told."""
    model = read_model(path)
    if not model.graph.node:
        raise ValueError("not an ONNX model, or one without operations")
    put_in_order(model.graph)
    if in_single_precision(model) and tells:
        logger.info("%s: of half precision; it is read in single precision, and so are its results", path)
    return model


def _read_part(
    path: Path,
    model: onnx.ModelProto,
    output_node: str,
    size: Shape | None,
    normalisers: Mapping[str, int | None] | None,
    check: bool,
) -> ImportedNetwork:
    """Read a model up to a tensor; what comes behind goes along."""
    from model_src.comp_graph.importers.check import check_rest, check_same
    from model_src.comp_graph.importers.onnx.runtime import OnnxRun, results_of

    halves, copy = cut_at(model, output_node, size), onnx.ModelProto()
    copy.CopyFrom(halves.front)
    found = from_onnx(halves.front, path.stem, size, normalisers)
    part, batch = OnnxRun(copy, found.graph.input_shape[1:]), 1 if halves.is_fixed else None
    rest = rest_behind(found, halves.rest, part.batch or batch)
    if check:
        check_same(found, part, part.batch)
        if len(rest.graph.input) > 1:
            logger.warning("%s: what comes behind has inputs of its own, so that it is not checked", path)
        else:
            whole = OnnxRun(model, found.graph.input_shape[1:])
            check_rest(found, partial(results_of, rest), whole.results, part.batch or batch)
    return replace(found, rest=Rest(rest))


def from_onnx(
    model: onnx.ModelProto,
    name: str,
    input_size: Shape | None = None,
    normalisers: Mapping[str, int | None] | None = None,
) -> ImportedNetwork:
    """Build the graph of an ONNX model as it runs at inference.

    Args:
        model: The model; it is changed.
        name: Architecture name.
        input_size: (H, W, C); None takes what the model says.
        normalisers: As for `importers.tensorflow.load_pb`, but derived from the graph if not given.

    Raises:
        ValueError: There is not one image and one output, a size is unknown, or an operation cannot be represented.
    """
    prepared = prepare(model, input_size)
    builder = Builder(prepared)
    convert_all(builder, prepared.ops)
    builder.end()
    graph = _in_order(builder, name)
    _tell_of_opaque_nodes(graph)
    graph = graph.with_normalisers(completed_normalisers(graph, normalisers))
    axes = builder.values[prepared.output_name].axes
    return ImportedNetwork(graph, builder.weights(), builder.operands(), axes, builder.left_out)


def _tell_of_opaque_nodes(graph: ComputeGraph) -> None:
    """Warn where scores mean little, since predictors do not see what a good part of a network does."""
    hidden = sum(node.operation.macs(node) for node in graph.nodes if node.op_name == "opaque")
    share = hidden / max(graph_macs(graph), 1)
    if share > LARGEST_OPAQUE_SHARE:
        text = "%s: %.0f %% of its multiply-accumulates are in opaque nodes, whose inside no predictor sees: %s"
        logger.warning(text, graph.name, 100 * share, "scores mean little")


def _in_order(builder: Builder, name: str) -> ComputeGraph:
    """The graph, whose concat nodes keep the order of their operands where weights cannot make up for another one."""
    graph = builder.graph(name)
    while concats := out_of_order(plan_network(graph), builder.operands()):
        builder.keep_order(concats)
        graph = builder.graph(name)
    return graph
