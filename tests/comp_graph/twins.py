"""A graph of every operation; the PyTorch and the TensorFlow network of a graph with the same weights."""

import numpy as np
import torch

from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork, build_torch_network
from tests.conftest import conv, regular


def window(kernel: int, stride: int, padding: str = "same") -> dict:
    return {"strides": (1, stride, stride, 1), "metadata": {"padding": padding, "ksize": (1, kernel, kernel, 1)}}


def everything() -> ComputeGraph:
    """Every operation once, odd sizes, a sum in front of a relu, and a sliced input."""
    nodes = {
        "in": regular("in", "input", 1, 9, 3),
        "conv": conv("conv", 9, 3, 8, stride=2, use_bias=True),
        "bn": regular("bn", "fusedbatchnormv3", 5, 5, 8),
        "relu": regular("relu", "relu", 6, 5, 8),
        "relu6": regular("relu6", "relu6", 7, 5, 8),
        "max": regular("max", "maxpool", 12, 5, 8, 3, **window(2, 2)),
        "avg": regular("avg", "avgpool", 13, 5, 8, 3, **window(2, 2)),
        "dw": WeightedNode(
            "dw",
            "depthwise",
            4,
            (3, 3, 3, 3, 8, 8),
            (1, 1, 1, 1),
            {"padding": "same", "dilations": (1, 1, 1, 1)},
            (8, 1, 3, 3),
        ),
        "dilated": conv("dilated", 3, 4, 8, dil_rate=2),
        "grouped": conv("grouped", 3, 8, 8, use_bias=True, groups=4),
        "sigmoid": regular("sigmoid", "sigmoid", 14, 3, 8),
        "mul": regular("mul", "mul", 10, 3, 8),
        "zero": regular("zero", "zero", 26, 3, 8),
        "gelu": regular("gelu", "gelu", 17, 3, 8),
        "swish": regular("swish", "swish", 16, 3, 8),
        "tanh": regular("tanh", "tanh", 15, 3, 8),
        "add": regular("add", "add", 9, 3, 8),
        "concat": regular("concat", "concat", 11, 3, 8, c_out=24),
        "identity": regular("identity", "identity", 25, 3, 24),
        "pad": regular("pad", "paddings", 18, 3, 24, 5, metadata={"pad_h": (0, 2), "pad_w": (1, 1)}),
        "mean": regular("mean", "mean", 19, 5, 24, 1),
        "fc": WeightedNode("fc", "matmul", 8, (1, 1, 1, 1, 24, 10), None, {"use_bias": True}, (24, 10, 0, 0)),
        "out": regular("out", "output", 2, 1, 10),
    }
    edges = (
        "in conv, conv bn, bn relu, relu relu6, conv relu6, relu6 max, relu avg, max dw, avg dilated, dw sigmoid, "
        "sigmoid mul, dilated mul, mul zero, mul gelu, zero add, gelu swish, dw tanh, tanh add, dilated add, "
        "avg grouped, grouped add, swish concat, add concat, avg concat, concat identity, identity pad, pad mean, "
        "mean fc, fc out"
    )
    names = list(nodes)
    pairs = [tuple(map(names.index, edge.split())) for edge in edges.split(", ")]
    return ComputeGraph.from_nodes("everything", (1, 9, 9, 3), list(nodes.values()), pairs)


def with_random_statistics(network: TorchNetwork) -> TorchNetwork:
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
    return network.eval()


def copy_weights(source: TorchNetwork, target) -> None:
    from model_src.comp_graph.tf_comp_graph_output import layer_name

    for step in source.plan.steps:
        layer = source.layers[step.name]
        weights = [parameter.detach().numpy() for parameter in layer.parameters()]
        if step.op in ("conv", "grouped_conv", "depthwise"):
            weights[0] = weights[0].transpose((2, 3, 0, 1) if step.op == "depthwise" else (2, 3, 1, 0))
        elif step.op == "matmul":
            weights[0] = weights[0].T
        elif step.op == "batchnorm":
            weights += [layer.running_mean.numpy(), layer.running_var.numpy()]
        target.get_layer(layer_name(step)).set_weights(weights)


def outputs(cg: ComputeGraph, n_images: int = 2, **options) -> tuple[np.ndarray, np.ndarray]:
    """What both networks make of the same images with the same weights."""
    from model_src.comp_graph.tf_comp_graph_output import build_tf_network

    network = with_random_statistics(build_torch_network(cg, seed=0, **options))
    twin = build_tf_network(cg, **options)
    copy_weights(network, twin)
    _, h, w, c = cg.input_shape
    images = torch.randn(n_images, c, h, w, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        first = network(images).numpy()
    second = np.asarray(twin(images.permute(0, 2, 3, 1).numpy(), training=False))
    return first, second if second.ndim == 2 else second.transpose(0, 3, 1, 2)
