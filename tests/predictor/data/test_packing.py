from dataclasses import replace

import pytest

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.predictor.data.packing import checked_features, pack_graphs, stack_features
from model_src.predictor.settings import warn_of_large_kernels
from tests.conftest import conv, regular
from tests.predictor.helpers import bounds_of, packed, random_graph


def test_features_are_stacked_weighted_first(tiny_graph):
    features, rows = stack_features([checked_features(tiny_graph)] * 2)
    assert features.op.tolist() == [3, 3, 1, 6, 9, 2, 1, 6, 9, 2]
    assert features.kernel.tolist() == [[3, 3]] * 2
    assert features.bias.tolist() == [0, 0]
    assert features.resolution.shape == (10, 6)
    assert [own.tolist() for own in rows] == [[0, 2, 3, 4, 5], [1, 6, 7, 8, 9]]


def test_neighbouring_splits_share_the_cut_between_them(tiny_graph):
    pack = packed([tiny_graph], [bounds_of([2, 2, 1])], hops=6)  # order: input, conv, relu, add, output
    assert len(pack.parts) == 2
    assert pack.parts[0, 2, 3] == pack.parts[1, 1, 3]  # C of the first split and S of the second
    assert pack.parts[:, 0].tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 2, 0, 0, 0]]  # P needs no cut


def test_a_merge_is_not_counted_where_it_is_bypassed(tiny_graph):
    pack = packed([tiny_graph], [[(1, 2)]], hops=6)
    weights = pack.batch().pooling.to_dense()
    assert (weights > 0).sum(1).tolist() == [1, 1, 2]  # C is relu and output, without the add


def test_every_split_knows_its_network():
    import numpy as np

    graphs = [random_graph(np.random.default_rng(seed), 20) for seed in range(3)]
    pack = packed(graphs, [bounds_of([5, 5, 10]), [], bounds_of([20])], hops=6)
    assert pack.network.tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (regular("x", "relu", 40, 8, 8), r"node x .*unknown operation .relu. \(index 40\)"),
    ],
)
def test_what_predictors_do_not_know_is_named(tiny_graph, node, message):
    graph = ComputeGraph.from_nodes("big", (1, 8, 8, 3), [node], [], tiny_graph.normalisers)
    with pytest.raises(ValueError, match=message):
        pack_graphs([tiny_graph, graph])


@pytest.mark.parametrize(("kernel", "seen"), [(11, [7, 7]), ((1, 8), [1, 7]), (7, [7, 7])])
def test_large_kernels_are_seen_as_the_largest_known(tiny_graph, kernel, seen, caplog):
    node = conv("x", 8, 3, 8, kernel=kernel)
    graph = ComputeGraph.from_nodes("big", (1, 8, 8, 3), [node], [], tiny_graph.normalisers)
    assert checked_features(graph).kernel.tolist() == [seen]
    warn_of_large_kernels("big", graph.weighted_nodes)
    assert caplog.messages == [] if kernel == 7 else caplog.messages[0].startswith("big: kernels of up to")


def test_graphs_share_the_features_of_equal_nodes_under_equal_normalisers(tiny_graph):
    scaled = replace(tiny_graph, max_derived_H=64, max_derived_W=64)
    graphs = [tiny_graph, scaled, replace(tiny_graph, name="again")]
    pack = pack_graphs(graphs)
    assert len(pack.features.op) == 2 * tiny_graph.n_nodes
    start = 0
    for graph in graphs:
        own, expected = pack.rows[start : start + graph.n_nodes], checked_features(graph)
        assert pack.features.op[own].tolist() == expected.op.tolist()
        assert pack.features.resolution[own].tolist() == expected.resolution.tolist()
        assert pack.features.kernel[own[:1]].tolist() == expected.kernel.tolist()
        start += graph.n_nodes


def test_a_graph_needs_normalisers(tiny_graph):
    with pytest.raises(ValueError, match="tiny: the graph has no feature normalisers"):
        pack_graphs([replace(tiny_graph, name="fine"), replace(tiny_graph, max_derived_W=None)])
