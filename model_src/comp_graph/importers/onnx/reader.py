"""ONNX -> computation graph, with the weights with which its PyTorch network computes the same.

Every operation of a model becomes a node or a part of one; what cannot is refused with its name.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.importers.channel_order import in_running_order, out_of_order
from model_src.comp_graph.importers.onnx.builder import Builder
from model_src.comp_graph.importers.onnx.model import prepare
from model_src.comp_graph.importers.onnx.operations import convert_all
from model_src.comp_graph.importers.options import completed_normalisers, given_size
from model_src.comp_graph.networks.plan import plan_network
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import InputError

logger = logging.getLogger(__name__)

LARGEST_OPAQUE_SHARE = 0.1  # of the multiply-accumulates of a network whose scores mean something


@dataclass(frozen=True)
class ImportedNetwork:
    """A graph and the weights that came with it.

    Attributes:
        graph: The graph.
        weights: Per node id, the parameters of its layer by PyTorch's names.
        operands: Per id of a concat node, the ids of the nodes that it joins, in the order that the weights know.
        output_axes: How the model lays out its result, see `Value.axes`.
    """

    graph: ComputeGraph
    weights: Mapping[str, Mapping[str, np.ndarray]]
    operands: Mapping[str, tuple[str, ...]]
    output_axes: str = "NCHW"

    def state(self) -> dict[str, np.ndarray]:
        """The weights as the `load_state_dict` of the graph's `TorchNetwork` takes them, once they are tensors.

        Raises:
            ValueError: The network joins channels in another order, and the weights cannot make up for it.
        """
        return self.weighted().state()

    def weighted(self) -> WeightedGraph:
        """The graph and its weights in the order that its networks take.

        Raises:
            ValueError: See `state`.
        """
        weights = in_running_order(plan_network(self.graph), self.operands, self.weights)
        return WeightedGraph(self.graph, {node: own for node, own in weights.items() if own})

    def save(self, path: str | Path) -> None:
        """Write the graph as a pickle, which `-model_path` takes, and its weights beside it.

        Raises:
            ValueError: See `state`; or the file's name does not end in `.pkl`.
        """
        self.weighted().save(path)


def load_onnx(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
) -> ImportedNetwork:
    """Read an ONNX file; the graph is named after it. Arguments as for `importers.tensorflow.load_pb`.

    Raises:
        InputError: The file is missing, is no ONNX model, or has an operation that a graph cannot hold.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    try:
        model = onnx.load(path)
        if not model.graph.node:
            raise ValueError("not an ONNX model, or one without operations")
        return from_onnx(model, path.stem, size, normalisers)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX model, or cut short") from error
    except (ValueError, onnx.checker.ValidationError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error


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
    return ImportedNetwork(graph, builder.weights(), builder.operands(), axes)


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
