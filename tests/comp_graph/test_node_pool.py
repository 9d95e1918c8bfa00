import json

import pytest

from model_src.comp_graph.node_pool import GraphPool, NodePool
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from tests.conftest import conv, regular


def state_of(graph):
    """The JSON state form as a file gives it."""
    return json.loads(json.dumps(graph.state_dict()))


def graph_of(*nodes):
    """A chain."""
    return ComputeGraph.from_nodes("chain", (1, 8, 8, 8), nodes, [(i, i + 1) for i in range(len(nodes) - 1)])


def both_ways(pool, graph):
    """A graph taken in as a graph and as a state."""
    return pool.shared(graph), pool.graph_from_state(state_of(graph))


def test_equal_keys_share_a_number_and_the_node_made_first():
    pool, made = NodePool([conv("given", 8, 8, 8)]), []

    def make(label, number):
        made.append((label, number))
        return regular(str(number), label, 6, 8, 8)

    assert pool.numbers("abca", ["relu", "gelu", "tanh", "other"], make) == [1, 2, 3, 1]
    assert pool.numbers("cd", ["tanh", "relu6"], make) == [3, 4]
    assert made == [("relu", 1), ("gelu", 2), ("tanh", 3), ("relu6", 4)]
    assert [node.label for node in pool.nodes] == ["conv2d", "relu", "gelu", "tanh", "relu6"]


@pytest.mark.parametrize("name", ["hiaml", "nb101", "nb201", "inception", "two_path"])
def test_only_ids_change(family, name):
    pool = GraphPool()
    for graph in family(name)[:5]:
        expected = graph.state_dict()
        for kind in ("weighted_nodes", "regular_nodes"):
            first = 0 if kind == "weighted_nodes" else graph.n_weighted_nodes
            expected[kind] = [{**node, "str_id": str(i)} for i, node in enumerate(expected[kind], first)]
        for result in both_ways(pool, graph):
            assert result.state_dict() == expected
            assert [type(node) for node in result.nodes] == [type(node) for node in graph.nodes]


def test_equal_nodes_at_the_same_place_are_one_object():
    pool = GraphPool()
    relu = regular("first", "relu", 6, 8, 8)
    short, long = pool.shared(graph_of(relu)), pool.shared(graph_of(conv("a", 8, 8, 8), relu, relu))
    again = pool.shared(graph_of(conv("x", 8, 8, 8), regular("y", "relu", 6, 8, 8)))
    assert again.nodes[0] is long.nodes[0]
    assert again.nodes[1] is long.nodes[1]
    assert [node.str_id for node in (*short.nodes, *long.nodes)] == ["0", "0", "1", "2"]
    assert long.nodes[1] is not short.nodes[0]
    assert long.nodes[1].digest == short.nodes[0].digest


@pytest.mark.parametrize(
    "other",
    [
        conv("a", 8, 8, 8, kernel=5),
        conv("a", 8, 8, 8, stride=2),
        conv("a", 8, 8, 8, data_format="NCHW"),
        conv("a", 8, 8, 8, use_bias=True),
        regular("a", "relu", 6, 8, 8),
    ],
)
def test_different_nodes_stay_different(other):
    pool, first = GraphPool(), conv("a", 8, 8, 8)
    for graph in (graph_of(first), graph_of(other)):
        for result in both_ways(pool, graph):
            assert result.nodes[0].state_dict() == {**graph.nodes[0].state_dict(), "str_id": "0"}


@pytest.mark.parametrize("field", ["str_id", "label", "op_type_idx", "resolution", "strides"])
def test_a_state_that_lacks_something_is_refused(field):
    state = state_of(graph_of(conv("a", 8, 8, 8), regular("b", "relu", 6, 8, 8)))
    del state["regular_nodes"][0][field]
    with pytest.raises(ValueError, match=f"not a computation graph: KeyError '{field}'"):
        GraphPool().graph_from_state(state)
