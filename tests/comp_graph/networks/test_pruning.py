"""Dilated triples become one node; labels are bypassed."""

import pytest

from model_src.comp_graph.networks.pruning import bypass_operations, merge_dilations
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode
from tests.conftest import regular


def dilated_triple(h: int, block: int) -> ComputeGraph:
    """input -> spacetobatchnd -> 3x3 convolution 4 -> 6 -> batchtospacend with bias -> output."""
    small = block + 2
    nodes = [
        WeightedNode(
            "c", "conv2d", 3, (small, block, small, block, 4, 6), (1, 1, 1, 1), {"padding": "valid"}, (4, 6, 3, 3)
        ),
        regular("i", "input", 1, h, 4),
        RegularNode("s", "spacetobatchnd", 20, (h, small, h, small, 4, 4)),
        RegularNode("b", "batchtospacend", 21, (block, h, block, h, 6, 6), None, {"use_bias": True}),
        regular("o", "output", 2, h, 6),
    ]
    return ComputeGraph.from_nodes("dilated", (1, h, h, 4), nodes, [(1, 2), (2, 0), (0, 3), (3, 4)])


@pytest.mark.parametrize(("h", "block", "rate"), [(16, 8, 2), (15, 8, 2), (13, 4, 4)])
def test_a_triple_becomes_one_dilated_convolution(h, block, rate):
    cg = merge_dilations(dilated_triple(h, block))
    assert [node.label for node in cg.nodes] == ["conv2d", "input", "output"]
    assert cg.edge_pairs == ((0, 2), (1, 0))
    assert cg.nodes[0].resolution == (h, h, h, h, 4, 6)
    assert cg.nodes[0].metadata == {"padding": "same", "dil_rate": rate, "use_bias": True}


def test_a_shared_block_is_left_alone():
    cg = dilated_triple(16, 8)
    both = ComputeGraph.from_nodes(cg.name, cg.input_shape, cg.nodes, [*cg.edge_pairs, (2, 3)])
    assert merge_dilations(both).edge_pairs == both.edge_pairs


def test_labels_are_bypassed_exactly(tiny_graph):
    cg = bypass_operations(tiny_graph, ["relu", "ad"])
    assert [node.label for node in cg.nodes] == ["conv2d", "input", "add", "output"]
    assert cg.edge_pairs == ((0, 2), (1, 0), (2, 3))
