"""What an importer gives: a graph and the weights with which its PyTorch network computes what the original does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_src.comp_graph.importers.channel_order import in_running_order
from model_src.comp_graph.networks.plan import plan_network
from model_src.comp_graph.rest import Rest
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.weights import WeightedGraph


class LeftOut(NamedTuple):
    """A function behind a graph's result.

    Attributes:
        function: "Softmax" or "LogSoftmax".
        axis: The axis of the original's result along which it works.
    """

    function: str
    axis: int


@dataclass(frozen=True)
class ImportedNetwork:
    """A graph and the weights that came with it.

    Attributes:
        graph: The graph.
        weights: Per node id, the parameters of its layer by PyTorch's names.
        operands: Per id of a concat node, the ids of the nodes that it joins, in the order that the weights know.
        output_axes: How the model lays out its result, see `Value.axes` of the ONNX reader.
        left_out: What the model does to its result in the end, and the graph does not.
        rest: What the model does behind the tensor at which the graph ends; None where that is its result.
    """

    graph: ComputeGraph
    weights: Mapping[str, Mapping[str, np.ndarray]]
    operands: Mapping[str, tuple[str, ...]]
    output_axes: str = "NCHW"
    left_out: LeftOut | None = None
    rest: Rest | None = None

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
        """Write the graph as a pickle, which `-model_path` takes, and its weights and the rest beside it.

        Raises:
            ValueError: See `state` and `Rest.model`, or the file's name does not end in `.pkl`; nothing is written.
        """
        if self.rest is not None:
            _ = self.rest.model  # which may be what fails
        self.weighted().save(path)
        if self.rest is not None:
            self.rest.save(path)
