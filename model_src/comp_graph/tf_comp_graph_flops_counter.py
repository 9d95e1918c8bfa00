"""What one node costs: multiply-accumulate operations (MACs) and parameters, in plain arithmetic.

Every row of the table of operations names one rule for each. As published, an operation costs the same for every input,
a dense layer always adds its bias, and pools do not pay for the size of their window.
"""

from typing import TYPE_CHECKING

from model_src.comp_graph.region import region_of

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import Node


def node_macs(node: "Node", n_inputs: int = 1) -> int:
    """MACs of a node in its place: its operation's for every distinct input; a merge of a single one is free.

    Args:
        node: The node.
        n_inputs: Its distinct inputs; for 0, of a node whose inputs are outside of its graph, it is counted once.

    Raises:
        ValueError: Nobody registered the node's operation, so its cost is not known.
    """
    operation = node.operation
    if operation.reads_apart:
        return operation.macs(node)
    return 0 if n_inputs == 1 and operation.is_merge else operation.macs(node) * (n_inputs or 1)


def free(node: "Node") -> int:
    """Nothing."""
    return 0


def output_macs(node: "Node") -> int:
    """One MAC per number of the result."""
    _, h_out, _, w_out, _, c_out = node.resolution
    return h_out * w_out * c_out


def _bias_macs(node: "Node") -> int:
    return output_macs(node) if node.use_bias else 0


def conv_macs(node: "Node") -> int:
    """A window over all input channels for every number of the result."""
    _, h_out, _, w_out, c_in, c_out = node.resolution
    k_h, k_w = node.kernel[2:]
    return k_h * k_w * c_in * c_out * h_out * w_out + _bias_macs(node)


def grouped_macs(node: "Node") -> int:
    """A window over the input channels of one group for every number of the result."""
    return (conv_macs(node) - _bias_macs(node)) // node.groups + _bias_macs(node)


def transposed_macs(node: "Node") -> int:
    """A kernel over all output channels of a group for every number of the input."""
    h_in, _, w_in, _, c_in, c_out = node.resolution
    k_h, k_w = node.kernel[2:]
    return k_h * k_w * c_in * c_out // node.groups * h_in * w_in + _bias_macs(node)


def depthwise_macs(node: "Node") -> int:
    """A window over one channel for every number of the result."""
    _, h_out, _, w_out, c_in, _ = node.resolution
    k_h, k_w = node.kernel[2:]
    return k_h * k_w * c_in * h_out * w_out + _bias_macs(node)


def matmul_macs(node: "Node") -> int:
    """A dense layer on every pixel, its bias counted once."""
    h_in, _, w_in, _, c_in, c_out = node.resolution
    return h_in * w_in * c_in * c_out + c_out


def batchnorm_macs(node: "Node") -> int:
    """A scale and a shift for every number."""
    h_in, _, w_in, _, c_in, _ = node.resolution
    return 2 * h_in * w_in * c_in


def conv_parameters(node: "Node") -> int:
    """A kernel for every pair of channels, and the bias."""
    *_, c_in, c_out = node.resolution
    k_h, k_w = node.kernel[2:]
    return k_h * k_w * c_in * c_out + node.use_bias * c_out


def grouped_parameters(node: "Node") -> int:
    """A kernel for every pair of channels of a group, and the bias."""
    *_, c_in, c_out = node.resolution
    k_h, k_w = node.kernel[2:]
    return k_h * k_w * c_in * c_out // node.groups + node.use_bias * c_out


def depthwise_parameters(node: "Node") -> int:
    """A kernel for every channel, and the bias."""
    *_, c_in, c_out = node.resolution
    k_h, k_w = node.kernel[2:]
    return k_h * k_w * c_in + node.use_bias * c_out


def matmul_parameters(node: "Node") -> int:
    """A weight for every pair of channels and a bias, which a dense layer always has."""
    *_, c_in, c_out = node.resolution
    return c_in * c_out + c_out


def batchnorm_parameters(node: "Node") -> int:
    """A scale and a shift per channel."""
    return 2 * node.resolution[4]


def recorded_macs(node: "Node") -> int:
    """Those that the node says.

    Raises:
        ValueError: It says none.
    """
    macs = (node.metadata or {}).get("macs", 0)
    if type(macs) is not int or macs < 0:
        raise node.error(f"its macs {macs!r} are no number")
    return macs


def region_parameters(node: "Node") -> int:
    """The weights of the region that a node holds.

    Raises:
        ValueError: It holds none.
    """
    return region_of(node).n_weights


def slope_parameters(node: "Node") -> int:
    """A slope per channel."""
    return node.resolution[4]
