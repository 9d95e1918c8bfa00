"""Changed segments, also for equal and list-born graphs."""

import json

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.changes import changed_segments
from tests.conftest import regular

OPS = {"relu": 6, "tanh": 15, "sigmoid": 14, "add": 9}


def chain(*labels):
    nodes = [regular(str(i), label, OPS[label], 4, 4) for i, label in enumerate(labels)]
    graph = ComputeGraph.from_nodes("chain", (1, 4, 4, 4), nodes, [(i, i + 1) for i in range(len(nodes) - 1)])
    return graph, [[i] for i in range(len(nodes))]


def test_equal_graphs_have_no_change():
    graph, groups = chain("relu", "tanh", "relu")
    copy = ComputeGraph.from_state_dict(json.loads(json.dumps(graph.state_dict())))
    assert changed_segments(graph, groups, copy, groups) == []


def test_a_replaced_segment_is_marked_and_the_rest_is_found_again():
    source = chain("relu", "tanh", "sigmoid", "relu")
    mutant = chain("relu", "add", "sigmoid", "relu")
    assert changed_segments(*source, *mutant) == [1]


def test_without_a_later_match_all_the_rest_is_changed():
    assert changed_segments(*chain("relu", "tanh"), *chain("relu", "sigmoid", "add")) == [1, 2]


def test_segments_left_over_are_changed():
    assert changed_segments(*chain("relu"), *chain("relu", "tanh")) == [1]
    assert changed_segments(*chain("relu", "tanh"), *chain("relu")) == []
