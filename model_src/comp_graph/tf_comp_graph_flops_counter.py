"""Multiply-accumulate operations (MACs) of each kind of node, in plain arithmetic."""

from collections.abc import Callable

from model_src.comp_graph.tf_comp_graph import Node


def _output_size(node: Node) -> int:
    _, h_out, _, w_out, _, c_out = node.resolution
    return h_out * w_out * c_out


def _bias(node: Node) -> int:
    return _output_size(node) if node.use_bias else 0


def _conv(node: Node) -> int:
    _, h_out, _, w_out, c_in, c_out = node.resolution
    k_h, k_w = node.shape[2:]
    return k_h * k_w * c_in * c_out * h_out * w_out + _bias(node)


def _depthwise(node: Node) -> int:
    _, h_out, _, w_out, c_in, _ = node.resolution
    k_h, k_w = node.shape[2:]
    return k_h * k_w * c_in * h_out * w_out + _bias(node)


def _matmul(node: Node) -> int:
    h_in, _, w_in, _, c_in, c_out = node.resolution
    return h_in * w_in * c_in * c_out + c_out


def _batchnorm(node: Node) -> int:
    h_in, _, w_in, _, c_in, _ = node.resolution
    return 2 * h_in * w_in * c_in


_ELEMENTWISE = (
    "relu", "relu6", "sigmoid", "tanh", "swish", "avgpool", "maxpool", "mean", "global", "add", "mul",
)  # fmt: skip
MACS: dict[str, Callable[[Node], int]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "matmul": _matmul,
    "batchnorm": _batchnorm,
    **dict.fromkeys(_ELEMENTWISE, _output_size),
}


def node_macs(node: Node, op: str) -> int:
    """MACs of one node with one input; `op` is its label in the operation vocabulary. Unlisted operations cost 0."""
    counter = MACS.get(op)
    return counter(node) if counter else 0
