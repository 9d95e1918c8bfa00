"""FLOPs, features and shape inference, on literal graphs and on the reference numbers."""

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode
from model_src.comp_graph.tf_comp_graph_utils import (
    compute_cg_flops,
    correct_cg_for_downstream,
    derived_normalisers,
    node_features,
)
from tests.conftest import conv, regular

FAMILIES = ("hiaml", "inception", "nb101", "nb201", "two_path")


def worked_example() -> ComputeGraph:
    """A small graph with most kinds of nodes, whose FLOPs are added up by hand."""
    s1, same, valid = (1, 1, 1, 1), {"padding": "same", "use_bias": True}, {"padding": "valid"}
    nodes = [
        WeightedNode("a", "conv2d", 3, (15, 8, 15, 8, 3, 8), (1, 2, 2, 1), same, (3, 8, 3, 3)),
        regular("b", "fusedbatchnorm", 5, 8, 8),
        regular("c", "relu", 6, 8, 8),
        RegularNode("p", "paddings", 18, (8, 10, 8, 10, 8, 8), None, {"pad_h": (1, 1), "pad_w": (1, 1)}),
        WeightedNode("d", "conv2d", 3, (10, 8, 10, 8, 8, 8), s1, valid, (8, 8, 3, 3)),
        WeightedNode("e", "depthwise", 4, (8, 8, 8, 8, 8, 8), s1, same, (8, 1, 3, 3)),
        regular("f", "concat", 11, 8, 8, c_out=16),
        RegularNode("g", "maxpool", 12, (8, 4, 8, 4, 16, 16), (1, 2, 2, 1), {"padding": "same", "ksize": (1, 2, 2, 1)}),
        regular("h", "mean", 19, 4, 16, h_out=1),
        WeightedNode("m", "matmul", 8, (1, 1, 1, 1, 16, 10), None, {"use_bias": True}, (16, 10, 0, 0)),
    ]
    edges = [(0, 1), (1, 2), (2, 3), (3, 4), (2, 5), (4, 6), (5, 6), (6, 7), (7, 8), (8, 9)]
    return ComputeGraph.from_nodes("example", (1, 15, 15, 3), nodes, edges)


def test_flops_of_the_worked_example(op2i):
    assert compute_cg_flops(worked_example(), op2i, div=1) == 116596


def test_a_two_input_add_counts_twice(op2i, tiny_graph):
    assert compute_cg_flops(tiny_graph, op2i, div=2) == 9 * 3 * 8 * 64 + 64 * 8 + 2 * 64 * 8


def test_a_graph_that_costs_nothing_is_an_error(op2i):
    graph = ComputeGraph.from_nodes("free", (1, 4, 4, 4), [regular("i", "identity", 25, 4, 4)], [])
    with pytest.raises(ValueError, match="free"):
        compute_cg_flops(graph, op2i)
    assert compute_cg_flops(graph, op2i, allow_zero=True) == 0


def test_features_are_scaled_by_the_normalisers(tiny_graph):
    features = node_features(tiny_graph)
    assert features.op.tolist() == [3, 1, 6, 9, 2]
    np.testing.assert_allclose(features.resolution[0], [8 / 256] * 4 + [3 / 512, 8 / 512])
    assert features.kernel.tolist() == [[3, 3]]
    assert features.bias.tolist() == [0]


def test_features_tell_height_from_width():
    node = conv("c", 8, 4, 16, (2, 1), (3, 5), w=20, use_bias=True)
    scale = {"max_hidden_size": 32, "max_kernel_size": 7, "max_derived_H": 16, "max_derived_W": 40}
    features = node_features(ComputeGraph.from_nodes("wide", (1, 8, 20, 4), [node], [], scale))
    np.testing.assert_allclose(features.resolution, [[8 / 16, 4 / 16, 20 / 40, 20 / 40, 4 / 32, 16 / 32]])
    assert features.kernel.tolist() == [[3, 5]]
    assert features.bias.tolist() == [1]


def test_correction_keeps_a_consistent_graph(op2i, tiny_graph):
    fixed = correct_cg_for_downstream(tiny_graph, 8, 8, 3)
    assert canonical_hash(fixed) == canonical_hash(tiny_graph)
    assert fixed.normalisers == {"max_hidden_size": 8, "max_kernel_size": 3, "max_derived_H": 8, "max_derived_W": 8}


def test_correction_infers_another_input_size(tiny_graph):
    fixed = correct_cg_for_downstream(tiny_graph, 16, 12, 3)
    assert fixed.input_shape == (1, 16, 12, 3)
    assert fixed.nodes[0].resolution == (16, 16, 12, 12, 3, 8)


def test_correction_slices_wide_inputs_and_refuses_narrow_ones(tiny_graph):
    wide = correct_cg_for_downstream(tiny_graph, 8, 8, 5)
    assert wide.nodes[0].resolution[4:] == (3, 8)
    assert wide.nodes[0].shape[:2] == (3, 8)
    with pytest.raises(ValueError, match="2 input channels, 3 needed"):
        correct_cg_for_downstream(tiny_graph, 8, 8, 2)


@pytest.mark.parametrize(
    ("node", "refused"),
    [
        (conv("x", 8, 16, 16, w=6), True),
        (WeightedNode("x", "depthwise", 4, (8, 8, 6, 6, 16, 16), (1, 1, 1, 1), None, (16, 1, 3, 3)), True),
        (WeightedNode("x", "matmul", 8, (8, 8, 6, 6, 16, 10), None, None, (16, 10, 0, 0)), True),
        (regular("x", "fusedbatchnorm", 5, 8, 16, w=6), True),
        (regular("x", "relu", 6, 8, 16, w=6), False),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_correction_refuses_fewer_channels_than_parameters_were_made_for(node, refused):
    nodes = [regular("i", "input", 1, 8, 3, w=6), conv("c", 8, 3, 8, w=6), node]
    graph = ComputeGraph.from_nodes("thin", (1, 8, 6, 3), nodes, [(0, 1), (1, 2)])
    if refused:
        with pytest.raises(ValueError, match="8 input channels, 16 needed"):
            correct_cg_for_downstream(graph, 8, 6, 3)
    else:
        assert correct_cg_for_downstream(graph, 8, 6, 3).nodes[-1].resolution == (8, 8, 6, 6, 8, 8)


def test_correction_on_a_map_that_is_not_square():
    """A stride and a window along one axis each, then a pool of both."""
    pool = {"strides": (1, 2, 3, 1), "metadata": {"padding": "valid", "ksize": (1, 2, 3, 1)}}
    nodes = [
        regular("i", "input", 1, 8, 3), conv("c", 8, 3, 8, (1, 2), (3, 1)), regular("p", "maxpool", 12, 8, 8, **pool),
        regular("m", "mean", 19, 4, 8, 1), conv("v", 8, 3, 8, kernel=(3, 1), padding="valid"),
    ]  # fmt: skip
    graph = ComputeGraph.from_nodes("wide", (1, 8, 8, 3), nodes, [(0, 1), (1, 2), (2, 3), (0, 4)])
    fixed = {node.label: node.resolution for node in correct_cg_for_downstream(graph, 10, 36, 3).nodes[1:]}
    assert fixed == {
        "conv2d": (10, 8, 36, 36, 3, 8),  # the second one: valid, three rows
        "input": (10, 10, 36, 36, 3, 3),
        "maxpool": (10, 5, 18, 6, 8, 8),
        "mean": (5, 1, 6, 1, 8, 8),
    }


@pytest.mark.parametrize("stride", [(1, 2), (2, 1)])
def test_maps_that_differ_along_one_axis_are_not_joined(stride):
    nodes = [regular("i", "input", 1, 8, 3, w=6), conv("c", 8, 3, 4, stride, w=6)]
    nodes.append(regular("k", "concat", 11, 8, 3, c_out=7, w=6))
    graph = ComputeGraph.from_nodes("odd", (1, 8, 6, 3), nodes, [(0, 1), (0, 2), (1, 2)])
    with pytest.raises(ValueError, match=r"node k \(concat\): inputs of different sizes"):
        correct_cg_for_downstream(graph, 8, 6, 3)


def test_normalisers_are_the_largest_sizes_along_every_axis():
    """H and W are largest behind a padding, kernels are largest along one axis each."""
    padding = {"pad_h": (1, 2), "pad_w": (3, 2)}
    nodes = [regular("i", "input", 1, 8, 3, w=20), conv("c", 8, 3, 16, kernel=(7, 1), w=20)]
    nodes += [conv("d", 8, 24, 3, kernel=(1, 5), w=20)]
    nodes += [regular("p", "paddings", 18, 8, 90, h_out=11, w=20, w_out=25, metadata=padding)]
    graph = ComputeGraph.from_nodes("sizes", (1, 8, 20, 3), nodes, [])
    sizes = {"max_hidden_size": 24, "max_kernel_size": 7, "max_derived_H": 11, "max_derived_W": 25}
    assert derived_normalisers(graph) == sizes


def test_correction_makes_implicit_sums_explicit():
    nodes = [conv("c", 8, 3, 8), conv("d", 8, 3, 4), regular("i", "input", 1, 8, 3), regular("r", "relu", 6, 8, 8)]
    graph = ComputeGraph.from_nodes("sum", (1, 8, 8, 3), nodes, [(2, 0), (2, 1), (0, 3), (1, 3)])
    fixed = correct_cg_for_downstream(graph, 8, 8, 3)
    assert [node.label for node in fixed.nodes] == ["conv2d", "conv2d", "input", "relu", "addn"]
    assert fixed.nodes[4].resolution[4:] == (4, 4)  # sliced to the narrowest


def test_correction_refuses_fractional_strides(tiny_graph):
    state = tiny_graph.state_dict()
    state["weighted_nodes"][0]["strides"] = (1, 1.5, 1.5, 1)
    with pytest.raises(ValueError, match="whole numbers"):
        correct_cg_for_downstream(ComputeGraph.from_state_dict(state), 8, 8, 3)
