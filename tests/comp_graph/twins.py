"""The PyTorch and the TensorFlow network of a graph with the same weights."""

import numpy as np
import torch

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output import build_tf_network, layer_name
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork, build_torch_network


def with_random_statistics(network: TorchNetwork) -> TorchNetwork:
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
    return network.eval()


def copy_weights(source: TorchNetwork, target) -> None:
    for step in source.plan.steps:
        layer = source.layers[step.name]
        weights = [parameter.detach().numpy() for parameter in layer.parameters()]
        if step.op in ("conv", "depthwise"):
            weights[0] = weights[0].transpose((2, 3, 1, 0) if step.op == "conv" else (2, 3, 0, 1))
        elif step.op == "matmul":
            weights[0] = weights[0].T
        elif step.op == "batchnorm":
            weights += [layer.running_mean.numpy(), layer.running_var.numpy()]
        target.get_layer(layer_name(step)).set_weights(weights)


def outputs(cg: ComputeGraph, n_images: int = 2, **options) -> tuple[np.ndarray, np.ndarray]:
    """What both networks make of the same images with the same weights."""
    network = with_random_statistics(build_torch_network(cg, seed=0, **options))
    twin = build_tf_network(cg, **options)
    copy_weights(network, twin)
    _, h, w, c = cg.input_shape
    images = torch.randn(n_images, c, h, w, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        first = network(images).numpy()
    second = np.asarray(twin(images.permute(0, 2, 3, 1).numpy(), training=False))
    return first, second if second.ndim == 2 else second.transpose(0, 3, 1, 2)
