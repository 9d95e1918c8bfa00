import numpy as np
import pytest

from model_src.comp_graph.graph_ops import is_merge, part_of, topological_order
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.predictor.data.packing import edge_array
from model_src.predictor.data.splits import CutEffect, cut_effect, split_bounds, wire
from tests.conftest import regular
from tests.predictor.helpers import random_graph


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([3, 2, 4], [(1, 3), (3, 5), (5, 8)]),  # the first and the last node stay in P and C
        ([1, 2, 1], [(1, 1), (1, 3), (3, 3)]),  # which leaves segments of one node empty
        ([5], [(1, 4)]),
        ([], []),
    ],
)
def test_the_ends_stay_outside_of_the_segments(lengths, expected):
    assert split_bounds(lengths) == expected


def graph_of(labels, edges):
    """Regular nodes by label; the topological order of these graphs is their node order."""
    ops = {"relu": 6, "add": 9, "mul": 10}
    nodes = [regular(str(i), label, ops[label], 8, 8) for i, label in enumerate(labels)]
    return ComputeGraph.from_nodes("literal", (1, 8, 8, 8), nodes, edges)


def wiring_of(cg):
    merges = np.array([not node.type_idx and is_merge(node.label) for node in cg.nodes])
    return wire(edge_array(cg), np.array(topological_order(cg)), merges)


def test_a_cut_reaches_as_far_as_there_are_layers():
    chain = graph_of(["relu"] * 6, [(i, i + 1) for i in range(5)])
    assert cut_effect(wiring_of(chain), 2, hops=3) == CutEffect([2, 3, 4], [[], [2], [3]], [])


def test_nothing_changes_at_the_beginning():
    assert cut_effect(wiring_of(graph_of(["relu", "relu"], [(0, 1)])), 0, hops=6) == CutEffect([], [], [])


def test_a_merge_that_loses_one_of_two_inputs_is_bypassed():
    graph = graph_of(["relu", "relu", "relu", "add", "relu"], [(0, 1), (1, 2), (0, 3), (2, 3), (3, 4)])
    assert cut_effect(wiring_of(graph), 2, hops=6) == CutEffect([2, 4], [[], [2]], [3])


def test_a_merge_that_loses_all_its_inputs_stays():
    graph = graph_of(["relu", "relu", "add", "relu"], [(0, 1), (0, 2), (1, 2), (2, 3)])
    assert cut_effect(wiring_of(graph), 2, hops=6) == CutEffect([2, 3], [[], [2]], [])


def test_bypassing_can_make_further_merges_single():
    # After the cut at 2 the first add has only node 2; bypassed, it gives the mul that input a second time.
    graph = graph_of(
        ["relu", "relu", "relu", "add", "mul", "relu"], [(0, 1), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (4, 5)]
    )
    assert cut_effect(wiring_of(graph), 2, hops=6) == CutEffect([2, 5], [[], [2]], [3, 4])


def test_a_merge_with_one_input_in_the_whole_network_is_bypassed_everywhere():
    graph = graph_of(["relu", "add", "relu"], [(0, 1), (1, 2)])
    assert cut_effect(wiring_of(graph), 0, hops=6) == CutEffect([2], [[0]], [1])


@pytest.mark.parametrize("seed", range(30))
def test_cuts_agree_with_parts_cut_out_of_the_graph(seed):
    """With as many hops as nodes, copies are exactly the nodes with a changed ancestry."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(5, 40)))
    order, wiring = topological_order(graph), wiring_of(graph)
    for start in range(graph.n_nodes):
        cut = cut_effect(wiring, start, hops=graph.n_nodes)
        part = part_of(graph, order[start:])
        position = {graph.nodes[node].str_id: place for place, node in enumerate(order)}
        places = [position[node.str_id] for node in part.nodes]
        expected = {place: sorted(places[s] for s in part.predecessors[i]) for i, place in enumerate(places)}
        assert sorted({*range(start, graph.n_nodes)} - set(cut.bypassed)) == sorted(expected)
        sources = dict(zip(cut.copies, cut.sources, strict=True))
        found = {place: sources.get(place, sorted(wiring.sources[place])) for place in expected}
        assert found == expected
