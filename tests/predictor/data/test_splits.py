import numpy as np
import pytest

from model_src.comp_graph.graph_ops import part_of, topological_order
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.predictor.data.packing import edge_array
from model_src.predictor.data.splits import Wiring, find_cuts, ranges, split_bounds
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


def test_ranges_are_written_one_after_the_other():
    assert ranges(np.array([2, 7, 5]), np.array([4, 8, 5])).tolist() == [2, 3, 7]
    assert ranges(np.array([], dtype=int), np.array([], dtype=int)).tolist() == []


def graph_of(labels, edges):
    """Regular nodes by label; the topological order of these graphs is their node order."""
    ops = {"relu": 6, "add": 9, "mul": 10}
    nodes = [regular(str(i), label, ops[label], 8, 8) for i, label in enumerate(labels)]
    return ComputeGraph.from_nodes("literal", (1, 8, 8, 8), nodes, edges)


def wiring_of(*graphs):
    first = np.cumsum([0, *(cg.n_nodes for cg in graphs)])
    edges, merges = [], []
    for cg, start in zip(graphs, first, strict=False):
        order = topological_order(cg)
        edges.append(np.argsort(order)[edge_array(cg)] + start)
        merges += [cg.nodes[node].operation.is_merge for node in order]
    return Wiring(first, np.concatenate(edges, axis=1), np.array(merges))


def cut_at(cg, start, hops):
    """Copies, their predecessors, bypassed merges; all by position."""
    cuts = find_cuts(wiring_of(cg), np.array([start]), hops)
    return cut_number(cuts, 0, cg.n_nodes)


def cut_number(cuts, number, n_nodes, first=0):
    """Likewise, of one of several cuts; counted in the nodes of its network, which begins at `first`."""
    own = np.flatnonzero(cuts.copy_cut == number)
    positions = np.concatenate([np.arange(n_nodes), cuts.copies]) - first
    sources = [sorted(positions[cuts.sources[cuts.targets == copy]].tolist()) for copy in own]
    return positions[n_nodes + own].tolist(), sources, (cuts.bypassed[cuts.bypassed_cut == number] - first).tolist()


def test_a_cut_reaches_as_far_as_there_are_layers():
    chain = graph_of(["relu"] * 6, [(i, i + 1) for i in range(5)])
    assert cut_at(chain, 2, hops=3) == ([2, 3, 4], [[], [2], [3]], [])


def test_nothing_changes_at_the_beginning():
    assert cut_at(graph_of(["relu", "relu"], [(0, 1)]), 0, hops=6) == ([], [], [])


def test_a_merge_that_loses_one_of_two_inputs_is_bypassed():
    graph = graph_of(["relu", "relu", "relu", "add", "relu"], [(0, 1), (1, 2), (0, 3), (2, 3), (3, 4)])
    assert cut_at(graph, 2, hops=6) == ([2, 4], [[], [2]], [3])


def test_a_merge_that_loses_all_its_inputs_stays():
    graph = graph_of(["relu", "relu", "add", "relu"], [(0, 1), (0, 2), (1, 2), (2, 3)])
    assert cut_at(graph, 2, hops=6) == ([2, 3], [[], [2]], [])


def test_bypassing_can_make_further_merges_single():
    # After the cut at 2 the first add has only node 2; bypassed, it gives the mul that input a second time.
    graph = graph_of(
        ["relu", "relu", "relu", "add", "mul", "relu"], [(0, 1), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (4, 5)]
    )
    assert cut_at(graph, 2, hops=6) == ([2, 5], [[], [2]], [3, 4])


def test_a_merge_with_one_input_in_the_whole_network_is_bypassed_everywhere():
    graph = graph_of(["relu", "add", "relu"], [(0, 1), (1, 2)])
    assert cut_at(graph, 0, hops=6) == ([2], [[0]], [1])


@pytest.mark.parametrize("seed", range(30))
def test_cuts_agree_with_parts_cut_out_of_the_graph(seed):
    """With as many hops as nodes, copies are exactly the nodes with a changed ancestry."""
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, int(rng.integers(5, 40))) for _ in range(3)]
    wiring = wiring_of(*graphs)
    n_nodes = len(wiring.is_merge)
    cuts = find_cuts(wiring, np.arange(n_nodes), hops=n_nodes)
    for number in range(n_nodes):
        of_network = int(np.searchsorted(wiring.first, number, side="right")) - 1
        graph, first = graphs[of_network], int(wiring.first[of_network])
        order, start = topological_order(graph), number - first
        part = part_of(graph, order[start:])
        position = {graph.nodes[node].str_id: place for place, node in enumerate(order)}
        places = [position[node.str_id] for node in part.nodes]
        expected = {place: sorted(places[s] for s in part.predecessors[i]) for i, place in enumerate(places)}
        copies, sources, bypassed = cut_number(cuts, number, n_nodes, first)
        assert sorted({*range(start, graph.n_nodes)} - set(bypassed)) == sorted(expected)
        changed = dict(zip(copies, sources, strict=True))
        plain = {place: sorted(order.index(s) for s in graph.predecessors[order[place]]) for place in expected}
        assert {place: changed.get(place, plain[place]) for place in expected} == expected
