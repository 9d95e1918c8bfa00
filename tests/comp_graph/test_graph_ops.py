"""Order, hash, cutting and pruning."""

from dataclasses import replace

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import (
    bypass,
    canonical_hash,
    induced_subgraph,
    part_of,
    prune_merges,
    same_topology,
    topological_order,
)
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph, node_from_state
from tests.conftest import regular


def renumbered(cg: ComputeGraph, seed: int) -> ComputeGraph:
    order = np.random.default_rng(seed).permutation(cg.n_nodes).tolist()
    position = {index: new for new, index in enumerate(order)}
    states = [{**cg.nodes[index].state_dict(), "str_id": f"x{index}"} for index in order]
    nodes = [node_from_state(state, "shape" in state) for state in states]
    edges = [(position[s], position[t]) for s, t in cg.edge_pairs]
    return ComputeGraph.from_nodes("other name", cg.input_shape, nodes, edges, cg.normalisers)


def test_topological_order_is_by_generations(tiny_graph):
    assert topological_order(tiny_graph) == [1, 0, 2, 3, 4]


def test_topological_order_of_a_long_chain_needs_no_recursion():
    n = 3000
    nodes = [regular(str(i), "relu", 6, 4, 4) for i in range(n)]
    chain = ComputeGraph.from_nodes("chain", (1, 4, 4, 4), nodes, [(i + 1, i) for i in range(n - 1)])
    assert topological_order(chain) == list(range(n - 1, -1, -1))


def test_a_cycle_is_an_error():
    nodes = [regular("a", "relu", 6, 4, 4), regular("b", "relu", 6, 4, 4)]
    with pytest.raises(ValueError, match="cycle"):
        topological_order(ComputeGraph.from_nodes("ring", (1, 4, 4, 4), nodes, [(0, 1), (1, 0)]))


def test_hash_ignores_numbering_names_and_labels(tiny_graph):
    for seed in range(5):
        other = renumbered(tiny_graph, seed)
        assert canonical_hash(other) == canonical_hash(tiny_graph)
        assert same_topology(other, tiny_graph)


@pytest.mark.parametrize("use_bias", [False, 0, None])
def test_hash_does_not_see_whether_a_missing_bias_is_recorded(tiny_graph, use_bias):
    state = tiny_graph.state_dict()
    first = state["weighted_nodes"][0]
    state["weighted_nodes"][0] = {**first, "metadata": {**first["metadata"], "use_bias": use_bias}}
    other = ComputeGraph.from_state_dict(state)
    assert canonical_hash(other) == canonical_hash(tiny_graph)
    assert same_topology(other, tiny_graph)


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": (8, 8, 8, 8, 3, 16)},
        {"strides": (1, 2, 2, 1)},
        {"shape": (3, 8, 5, 5)},
        {"op_type_idx": 4, "label": "depthwise"},
        {"metadata": {"padding": "valid"}},
        {"metadata": {"padding": "same", "use_bias": True}},
    ],
)
def test_hash_sees_every_attribute(tiny_graph, change):
    state = tiny_graph.state_dict()
    state["weighted_nodes"][0] = {**state["weighted_nodes"][0], **change}
    assert canonical_hash(ComputeGraph.from_state_dict(state)) != canonical_hash(tiny_graph)


def test_hash_sees_distant_order():
    """Two chains that hold the same operations in another order."""

    def chain(labels):
        ops = {"relu": 6, "tanh": 15}
        nodes = [regular(str(i), label, ops[label], 4, 4) for i, label in enumerate(labels)]
        return ComputeGraph.from_nodes("c", (1, 4, 4, 4), nodes, [(i, i + 1) for i in range(len(nodes) - 1)])

    first, second = ["relu"] * 9 + ["tanh"] + ["relu"] * 20, ["relu"] * 10 + ["tanh"] + ["relu"] * 19
    assert canonical_hash(chain(first)) != canonical_hash(chain(second))


def test_hash_sees_who_reads_a_result():
    """Two relus that are told apart by nothing but their readers: a tanh and a sigmoid, both of them the same one's."""
    nodes = [regular("i", "input", 1, 4, 4), *(regular(name, "relu", 6, 4, 4) for name in "rs")]
    nodes += [regular("t", "tanh", 15, 4, 4), regular("g", "sigmoid", 14, 4, 4)]
    shared = ComputeGraph.from_nodes("one", (1, 4, 4, 4), nodes, [(0, 1), (0, 2), (1, 3), (1, 4)])
    split = ComputeGraph.from_nodes("each", (1, 4, 4, 4), nodes, [(0, 1), (0, 2), (1, 3), (2, 4)])
    assert canonical_hash(shared) != canonical_hash(split)
    assert not same_topology(shared, split)


def test_hash_ignores_the_order_of_branches_on_a_map_that_is_not_square():
    """input -> relu, tanh, sigmoid -> add -> output: every branch is a neighbour on both sides."""
    labels = {"relu": 6, "tanh": 15, "sigmoid": 14}
    nodes = [regular("i", "input", 1, 4, 2, w=6), *(regular(name, name, op, 4, 2, w=6) for name, op in labels.items())]
    nodes += [regular("a", "add", 9, 4, 2, w=6), regular("o", "output", 2, 4, 2, w=6)]
    edges = [(0, branch) for branch in (1, 2, 3)] + [(branch, 4) for branch in (1, 2, 3)] + [(4, 5)]
    graph = ComputeGraph.from_nodes("fan", (1, 4, 6, 2), nodes, edges)
    assert {canonical_hash(renumbered(graph, seed)) for seed in range(8)} == {canonical_hash(graph)}
    turned = [replace(node, resolution=(*node.resolution[2:4], *node.resolution[:2], 2, 2)) for node in nodes]
    assert canonical_hash(ComputeGraph.from_nodes("fan", (1, 6, 4, 2), turned, edges)) != canonical_hash(graph)


def test_hash_agrees_with_isomorphism_on_reference_graphs(reference):
    paths = sorted((reference / "published" / "architectures").rglob("*.pkl"))
    graphs = [load_cg(path) for path in paths]
    hashes = [canonical_hash(graph) for graph in graphs]
    assert len(set(hashes)) == len(graphs) == 15
    for graph, text in zip(graphs, hashes, strict=True):
        assert canonical_hash(renumbered(graph, 7)) == text


def test_bypass_connects_neighbours(tiny_graph):
    without_relu = bypass(tiny_graph, [2])
    assert [node.str_id for node in without_relu.nodes] == ["c", "i", "a", "o"]
    assert without_relu.edge_pairs == ((0, 2), (1, 0), (2, 3))


def test_merges_with_one_input_are_pruned_and_others_stay(tiny_graph):
    assert prune_merges(tiny_graph) is tiny_graph
    pruned = prune_merges(bypass(tiny_graph, [2]))
    assert [node.str_id for node in pruned.nodes] == ["c", "i", "o"]


def test_merges_without_an_input_are_pruned_where_nothing_comes_from_outside():
    nodes = [regular("a", "add", 9, 8, 8), regular("r", "relu", 6, 8, 8)]
    graph = ComputeGraph.from_nodes("sum", (1, 8, 8, 8), nodes, [(0, 1)])
    assert prune_merges(graph) is graph
    assert [node.str_id for node in prune_merges(graph, fewest=0).nodes] == ["r"]


def test_a_part_loses_merges_whose_other_input_is_outside(tiny_graph):
    inside = induced_subgraph(tiny_graph, [2, 3, 4])
    assert [node.str_id for node in inside.nodes] == ["r", "a", "o"]
    assert inside.input_shape == ((1, 8, 8, 8),)
    part = part_of(tiny_graph, [2, 3, 4])
    assert [node.str_id for node in part.nodes] == ["r", "o"]
    assert part.edge_pairs == ((0, 1),)
    alone = part_of(tiny_graph, [3])
    assert [node.str_id for node in alone.nodes] == ["a"]
