"""Vocabulary, nodes and graphs as values."""

import pickle

import pytest

from model_src.comp_graph.load import CG_CLASSES
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph, RegularNode
from model_src.files import load_pickle, save_pickle
from tests.conftest import conv


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("Conv2D", 3), ("conv2d_transpose", 3), ("FusedBatchNormV3", 5), ("addv2", 9), ("concatv2", 11), ("relu6", 7),
        ("reserved2", 28), ("identity_3", 25), ("max_pool", 0), ("foo", 0), ("mish", 0), ("reserved12", 0),
    ],
)  # fmt: skip
def test_the_vocabulary_compares_whole_names(op2i, label, index):
    assert op2i[label] == index
    assert (label in op2i) == (index != 0)


def test_a_vocabulary_of_ones_own(tmp_path):
    (tmp_path / "ops.txt").write_text(" Tanh \n\nconv\n<OOV>\nwarp")
    op2i = OP2I().build_from_file(tmp_path / "ops.txt")
    assert [op2i[label] for label in ("tanh", "conv2d", "warp", "relu")] == [1, 2, 3, 0]


def test_vocabulary_size_and_inverse(op2i):
    assert len(op2i) == 32
    assert op2i.query_op(4) == "depthwise"
    assert "<oov>" in op2i


def test_nodes_come_weighted_first_and_edges_sorted(tiny_graph):
    assert [node.str_id for node in tiny_graph.nodes] == ["c", "i", "r", "a", "o"]
    assert tiny_graph.edge_pairs == ((0, 2), (0, 3), (1, 0), (2, 3), (3, 4))
    assert tiny_graph.input_index == 1
    assert tiny_graph.output_index == 4
    assert tiny_graph.predecessors[3] == (0, 2)
    assert tiny_graph.src_id2dst_ids_dict == {"c": {"r", "a"}, "i": {"c"}, "r": {"a"}, "a": {"o"}}


def test_lists_and_tuples_give_equal_nodes():
    node = conv("c", 8, 3, 8)
    state = {**node.state_dict(), "resolution": list(node.resolution), "strides": [1.0, 1.0, 1.0, 1.0]}
    state["metadata"] = {"data_format": "NHWC", "dilations": [1, 1, 1, 1], "padding": "SAME"}
    copy = object.__new__(type(node))
    copy.__setstate__(state)
    assert copy == node
    assert copy.digest == node.digest


def test_pickled_form_is_the_published_one(tiny_graph, tmp_path):
    state = tiny_graph.__getstate__()
    assert set(state) == {
        "name", "input_shape", "edge_pairs", "regular_nodes", "weighted_nodes", "n_regular_nodes", "n_weighted_nodes",
        "max_hidden_size", "max_kernel_size", "max_derived_H", "max_derived_W",
    }  # fmt: skip
    assert set(tiny_graph.weighted_nodes[0].__getstate__()) == {
        "str_id", "label", "type_idx", "op_type_idx", "resolution", "strides", "metadata", "shape",
    }  # fmt: skip
    save_pickle(tiny_graph, tmp_path / "g.pkl")
    loaded = load_pickle(tmp_path / "g.pkl", CG_CLASSES)
    assert loaded.state_dict() == tiny_graph.state_dict()


def test_stale_counts_and_stray_attributes_are_tolerated(tiny_graph):
    state = {**tiny_graph.__getstate__(), "n_weighted_nodes": 0, "n_weight_nodes": 1, "parent": None}
    del state["max_derived_W"]
    graph = object.__new__(ComputeGraph)
    graph.__setstate__(state)
    assert graph.n_weighted_nodes == 1
    assert graph.max_derived_W is None


def test_channels_divided_by_512_are_restored(tiny_graph):
    state = tiny_graph.state_dict()
    state["weighted_nodes"][0]["shape"] = [3 / 512, 8 / 512, 3, 3]
    assert ComputeGraph.from_state_dict(state).weighted_nodes[0].shape == (3, 8, 3, 3)


def test_malformed_states_are_value_errors(tiny_graph):
    state = tiny_graph.state_dict()
    with pytest.raises(ValueError, match="not a computation graph"):
        ComputeGraph.from_state_dict({**state, "regular_nodes": [{"str_id": "x"}]})
    with pytest.raises(ValueError, match="edge"):
        ComputeGraph.from_state_dict({**state, "edge_pairs": [(0, 99)]})


def test_nodes_cannot_be_changed():
    node = RegularNode("r", "relu", 6, (1, 1, 1, 1, 1, 1))
    with pytest.raises(AttributeError):
        node.label = "tanh"


def test_a_one_node_graph_is_its_own_input_and_output():
    graph = ComputeGraph.from_nodes("one", (1, 8, 8, 3), [conv("c", 8, 3, 3)], [])
    assert graph.input_index == graph.output_index == 0
    assert pickle.loads(pickle.dumps(graph)).n_nodes == 1
