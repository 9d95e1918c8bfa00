"""The weights that a graph came with, in a file beside the graph's own: numbers by the id of their node."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from model_src.comp_graph.networks.plan import plan_network
from model_src.comp_graph.rest import SUFFIX as REST
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, atomic_write, beside, naming, regular_file, save_pickle

SUFFIX = ".safetensors"

LayerWeights = Mapping[str, np.ndarray]  # by PyTorch's name of the parameter
NodeWeights = Mapping[str, LayerWeights]  # by the id of the node


class WeightedGraph(NamedTuple):
    """A graph, and the parameters of its layers where it came with any.

    Attributes:
        graph: The graph.
        weights: By node id, for the order in which the graph's networks join channels; None where there are none.
    """

    graph: ComputeGraph
    weights: NodeWeights | None = None

    def state(self) -> dict[str, np.ndarray]:
        """The weights as `TorchNetwork.load_state_dict` takes them, once they are tensors."""
        weights = self.weights or {}
        return {
            f"layers.{step.name}.{name}": value
            for step in plan_network(self.graph).steps
            for name, value in weights.get(step.node.str_id, {}).items()
        }

    def save(self, path: str | Path) -> None:
        """Write the graph as a pickle, which `-model_path` takes, and its weights beside it; those of another one go.

        Raises:
            ValueError: The file's name does not end in `.pkl`.
        """
        path = Path(path)
        if path.suffix != ".pkl":
            raise ValueError(f"{path}: the name of a graph's file must end in .pkl")
        beside(path, REST).unlink(missing_ok=True)
        if self.weights is None:
            beside(path, SUFFIX).unlink(missing_ok=True)
        save_pickle(self.graph, path)
        if self.weights is not None:
            save_state(self.state(), path)


def save_state(state: Mapping[str, np.ndarray], path: Path) -> None:
    """Write weights by the names of a `TorchNetwork` beside a graph's file; an interruption leaves the old file."""
    with atomic_write(path.with_suffix(SUFFIX)) as file:
        file.write(save({name: np.asarray(one, order="C") for name, one in state.items()}))


def load_weights(path: Path, graph: ComputeGraph) -> NodeWeights | None:
    """The weights beside a graph's file; None where there are none.

    Raises:
        InputError: The file is damaged, or holds weights of another graph, of other shapes or that are no numbers.
    """
    path = beside(path, SUFFIX)
    if not path.exists():
        return None
    try:
        state = load_file(regular_file(path))
    except InputError:
        raise
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:  # types that NumPy lacks
        raise InputError(f"{path}: {error}") from error
    nodes = {f"layers.{step.name}": step.node.str_id for step in plan_network(graph).steps}
    weights: dict[str, dict[str, np.ndarray]] = {}
    for key, values in state.items():
        layer, _, name = key.rpartition(".")
        if layer not in nodes:
            raise InputError(f"{path}: has weights of {layer!r}, which the graph beside it does not have")
        if np.iscomplexobj(values) or not np.isfinite(values).all():
            raise InputError(f"{path}: {key} is not all real numbers")
        weights.setdefault(nodes[layer], {})[name] = values
    with naming(path):
        check_shapes(state, _shapes(graph))
    return weights


def _shapes(graph: ComputeGraph) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's parameters by their names; it is built without memory for them."""
    import torch

    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network

    with torch.device("meta"):
        return {name: tuple(one.shape) for name, one in build_torch_network(graph, 0).state_dict().items()}


def check_shapes(state: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Hold weights against the shapes that a network has.

    Raises:
        ValueError: One has another shape, or the network has none of this name.
    """
    for name, values in state.items():
        if wanted.get(name) != values.shape:
            own = wanted.get(name, "no such parameter")
            raise ValueError(f"the weights of {name} have shape {values.shape}, the network has {own}")
