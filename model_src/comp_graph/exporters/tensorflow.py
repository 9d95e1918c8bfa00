"""Computation graph -> files for TensorFlow, with the weights of the graph's PyTorch network."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from model_src.comp_graph.exporters.trace import check_network
from model_src.comp_graph.networks.keras_layers import layer_name
from model_src.comp_graph.ops import Backend
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output import build_tf_network
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.files import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np

# A layer's weights in the order and with the axes of Keras.
WEIGHTS: Registry[Callable[[Any], "list[np.ndarray]"]] = Registry(Backend.TF_EXPORT)


def tf_twin(cg: ComputeGraph, network: TorchNetwork) -> "keras.Model":
    """The Keras network of a graph (NHWC) with the weights of its PyTorch network.

    Raises:
        ValueError: See `check_network` and `build_tf_network`.
    """
    check_network(cg, network)
    twin = build_tf_network(cg, squeeze_output=network.squeeze_output)
    for step in network.plan.steps:
        if step.operation.has_parameters:
            twin.get_layer(layer_name(step)).set_weights(step.function_in(WEIGHTS)(network.layers[step.name]))
    return twin


def _arrays(*tensors: torch.Tensor | None) -> "list[np.ndarray]":
    return [tensor.detach().cpu().numpy() for tensor in tensors if tensor is not None]


@WEIGHTS.register("conv", "grouped_conv")
def _conv(layer: torch.nn.Conv2d) -> "list[np.ndarray]":
    kernel, *bias = _arrays(layer.weight, layer.bias)
    return [kernel.transpose(2, 3, 1, 0), *bias]


@WEIGHTS.register("depthwise")
def _depthwise(layer: torch.nn.Conv2d) -> "list[np.ndarray]":
    kernel, *bias = _arrays(layer.weight, layer.bias)
    return [kernel.transpose(2, 3, 0, 1), *bias]


@WEIGHTS.register("conv2d_transpose")
def _transposed(layer: torch.nn.ConvTranspose2d) -> "list[np.ndarray]":
    kernel, *bias = _arrays(layer.weight, layer.bias)
    return [kernel.transpose(2, 3, 1, 0), *bias]


@WEIGHTS.register("matmul")
def _matmul(layer: torch.nn.Linear) -> "list[np.ndarray]":
    return _arrays(layer.weight.T, layer.bias)


@WEIGHTS.register("prelu")
def _prelu(layer: torch.nn.PReLU) -> "list[np.ndarray]":
    return _arrays(layer.weight[None, None])


@WEIGHTS.register("batchnorm")
def _batchnorm(layer: torch.nn.BatchNorm2d) -> "list[np.ndarray]":
    return _arrays(layer.weight, layer.bias, layer.running_mean, layer.running_var)


@WEIGHTS.register("layernorm", "groupnorm")
def _norm(layer: torch.nn.LayerNorm | torch.nn.GroupNorm) -> "list[np.ndarray]":
    return _arrays(layer.weight, layer.bias)


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
