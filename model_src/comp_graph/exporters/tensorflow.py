"""Computation graph -> files for TensorFlow, with the weights of the graph's PyTorch network."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from model_src.comp_graph.networks.plan import Step
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output import build_tf_network, layer_name
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.files import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np


def tf_twin(cg: ComputeGraph, network: TorchNetwork) -> "keras.Model":
    """The Keras network of a graph (NHWC) with the weights of its PyTorch network.

    Raises:
        ValueError: See `build_tf_network`.
    """
    twin = build_tf_network(cg, squeeze_output=network.squeeze_output)
    for step in network.plan.steps:
        twin.get_layer(layer_name(step)).set_weights(_weights(step, network.layers[step.name]))
    return twin


def _weights(step: Step, layer: torch.nn.Module) -> "list[np.ndarray]":
    """A layer's weights in the order and the axes of Keras."""
    weights = [value.detach().cpu().numpy() for value in layer.parameters()]
    if step.op in ("conv", "depthwise"):
        weights[0] = weights[0].transpose((2, 3, 1, 0) if step.op == "conv" else (2, 3, 0, 1))
    elif step.op == "matmul":
        weights[0] = weights[0].T
    elif step.op == "batchnorm":
        weights += [value.detach().cpu().numpy() for value in (layer.running_mean, layer.running_var)]
    return weights


def save_saved_model(network: "keras.Model", folder: str | Path) -> Path:
    """Write a Keras network as a SavedModel with the signature `serve`; an older SavedModel there is replaced.

    Returns:
        The folder.

    Raises:
        InputError: The folder exists and holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "saved_model.pb").is_file():
        raise InputError(f"{folder}: exists and is no SavedModel")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new = Path(temporary) / folder.name
        network.export(new, format="tf_saved_model", verbose=False)
        if folder.exists():
            shutil.rmtree(folder)
        new.replace(folder)
    return folder
