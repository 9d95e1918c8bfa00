"""What every operation costs, on maps and with kernels that are not square."""

import pytest

from model_src.comp_graph.ops import OPERATIONS
from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from tests.conftest import conv, regular


def weighted(label, index, resolution, shape, strides=None, **metadata) -> WeightedNode:
    return WeightedNode("n", label, index, resolution, strides, metadata, shape)


WIDE = {"h": 6, "c": 4, "w": 10}  # 240 numbers
SAME_SIZE = {"relu": 6, "relu6": 7, "add": 9, "mul": 10, "sigmoid": 14, "tanh": 15, "swish": 16}
FREE = {"input": 1, "output": 2, "concat": 11, "gelu": 17, "paddings": 18, "identity": 25, "zero": 26}
CASES = [
    (conv("n", 6, 4, 8, (2, 1), (3, 5), w=10), 15 * 4 * 8 * 30),
    (conv("n", 6, 4, 8, (2, 1), (3, 5), w=10, use_bias=True), 15 * 4 * 8 * 30 + 240),
    (weighted("depthwise", 4, (6, 6, 10, 5, 4, 4), (4, 1, 5, 3), (1, 1, 2, 1)), 15 * 4 * 30),
    (weighted("depthwise", 4, (6, 6, 10, 5, 4, 4), (4, 1, 5, 3), (1, 1, 2, 1), use_bias=True), 15 * 4 * 30 + 120),
    (weighted("matmul", 8, (2, 2, 3, 3, 16, 10), (16, 10, 0, 0)), 6 * 160 + 10),
    (regular("n", "fusedbatchnorm", 5, **WIDE), 2 * 240),
    *((regular("n", label, index, **WIDE), 240) for label, index in SAME_SIZE.items()),
    (regular("n", "maxpool", 12, 6, 4, 3, w=10, w_out=5), 60),
    (regular("n", "avgpool", 13, 6, 4, 3, w=10, w_out=5), 60),
    (regular("n", "mean", 19, 6, 4, 1, w=10), 4),
    (regular("n", "global", 24, 6, 4, 1, w=10), 4),
    *((regular("n", label, index, **WIDE), 0) for label, index in FREE.items()),
]


@pytest.mark.parametrize(("node", "macs"), CASES, ids=lambda value: getattr(value, "label", None))
def test_cost_of_one_node(op2i, node, macs):
    graph = ComputeGraph.from_nodes("one", (1, 6, 10, 4), [node], [])
    assert compute_cg_flops(graph, op2i, div=2, allow_zero=True) == macs


def test_every_operation_that_a_network_computes_is_among_them():
    published = {row.index for row in OPERATIONS if row.seen_as == row.name}
    assert published - {node.op_type_idx for node, _ in CASES} == {20, 21, 22, 23}  # moves between pixels and channels
