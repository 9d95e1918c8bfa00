import gc

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import induced_subgraph
from model_src.files import InputError
from model_src.predictor import scoring
from model_src.predictor.scoring import load_predictor
from model_src.predictor.settings import ModelConfig
from tests.predictor.helpers import (
    bounds_of,
    make_checkpoint,
    parts_of,
    random_graph,
    reference_networks,
    segments_of,
)


@pytest.fixture
def load(tmp_path):
    """A predictor with the weights that belong to a type."""

    def make(predictor_type, **fields):
        make_checkpoint(predictor_type, **fields).save(tmp_path / "p.pt")
        return load_predictor(tmp_path / "p.pt", predictor_type, "cpu")

    return make


def test_values_come_in_input_order_and_do_not_depend_on_the_batch(load):
    graphs = [random_graph(np.random.default_rng(seed), 5 + seed % 7) for seed in range(20)]
    alone = [load("GNN").score_graphs([graph])[0] for graph in graphs]
    predictor = load("GNN")
    assert predictor.score_graphs(graphs) == alone
    assert predictor.score_graphs(graphs[::-1] + graphs[:3]) == alone[::-1] + alone[:3]
    assert len(set(alone)) == len(alone)
    assert all(score == round(score, 9) for score in alone)


def test_large_inputs_are_cut_into_chunks(load, monkeypatch):
    graphs = [random_graph(np.random.default_rng(seed), 10) for seed in range(7)]
    expected = load("GNN").score_graphs(graphs)
    monkeypatch.setattr(scoring, "MAX_NODES", 25)
    packed = []
    original = scoring.pack_graphs
    monkeypatch.setattr(scoring, "pack_graphs", lambda graphs: packed.append(len(graphs)) or original(graphs))
    assert load("GNN").score_graphs(graphs) == expected
    assert packed == [2, 2, 2, 1]


def test_a_part_is_encoded_once(load, monkeypatch):
    encoded = []
    original = scoring.pack_graphs
    monkeypatch.setattr(scoring, "pack_graphs", lambda graphs: encoded.append(len(graphs)) or original(graphs))
    predictor = load("PSC_predictor")
    first, second, *targets = (random_graph(np.random.default_rng(seed), 6) for seed in range(10))
    scores = predictor.score_psc([(first, target, second) for target in targets])
    assert predictor.score_psc([(first, targets[3], second)]) == scores[3:4]
    assert predictor.score_psc([(second, targets[3], first)]) != scores[3:4]
    assert encoded == [10]
    del first, second, targets
    gc.collect()
    assert not predictor._embeddings


def test_nothing_to_score(load):
    assert load("GNN").score_graphs([]) == []
    assert load("PSC_predictor").score_psc([]) == []


def test_empty_graphs_are_named(load, tiny_graph):
    empty = induced_subgraph(tiny_graph, [])
    with pytest.raises(ValueError, match="split 1 of tiny: the segment has no nodes"):
        load("PSC_predictor").score_psc([(tiny_graph,) * 3, (tiny_graph, empty, tiny_graph)])
    with pytest.raises(ValueError, match="tiny: the graph has no nodes"):
        load("GNN").score_graphs([empty])


def test_a_predictor_scores_its_own_kind_of_input(load, tiny_graph):
    with pytest.raises(ValueError, match="a GNN predictor cannot score"):
        load("GNN").score_psc([(tiny_graph,) * 3])
    with pytest.raises(ValueError, match="a PSC_predictor predictor cannot score"):
        load("PSC_predictor").score_graphs([tiny_graph])


def test_z_scores_become_accuracies_where_the_family_is_known(load):
    predictor = load("PSC_predictor", target_normalisers={"nb101_5k": (0.9, 0.02)})
    assert predictor.accuracy(0.5, "nb101") == pytest.approx(0.91)
    assert predictor.accuracy(0.5, "nb201") is None
    assert load("GNN").accuracy(0.93, "generic") == 0.93


def test_no_accuracy_is_below_0_or_above_1(load):
    predictor = load("PSC_predictor", target_normalisers={"nb201": (0.89, 0.06)})
    assert [predictor.accuracy(score, "nb201") for score in (2.5, -20.0)] == [1.0, 0.0]
    assert [load("GNN").accuracy(score, "nb201") for score in (1.3, -0.2)] == [1.0, 0.0]


def test_the_map_size_of_the_training_is_used(load, tiny_graph):
    changed = tiny_graph.with_normalisers({**tiny_graph.normalisers, "max_derived_H": 32, "max_derived_W": 32})
    plain, scaled = (load("GNN", config=ModelConfig(map_size=size)) for size in (None, 32))
    assert scaled.score_graphs([tiny_graph]) == plain.score_graphs([changed]) != plain.score_graphs([tiny_graph])


def test_unknown_devices_are_named(tmp_path):
    make_checkpoint("GNN").save(tmp_path / "p.pt")
    assert str(load_predictor(tmp_path / "p.pt", "GNN", "cpu").device) == "cpu"
    with pytest.raises(InputError, match="-device_str abacus"):
        load_predictor(tmp_path / "p.pt", "GNN", "abacus")


@pytest.fixture
def networks():
    """Networks of 9 to 44 nodes in segments; the first and the last segment of some make no split."""
    rng = np.random.default_rng(0)
    graphs = [random_graph(rng, n_nodes, f"net{n_nodes}") for n_nodes in (9, 44, 20, 9, 31)]
    lengths = [[1, 2, 3, 3], [10, 1, 1, 20, 12], [19, 1], [1, 7, 1], [6, 6, 6, 6, 6, 1]]
    return [(graph, segments_of(graph, own)) for graph, own in zip(graphs, lengths, strict=True)]


@pytest.mark.parametrize(
    "config", [ModelConfig(), ModelConfig(num_layers=2, map_size=32), ModelConfig(gnn_type="SAGEConv")]
)
def test_the_score_of_a_network_is_the_mean_over_its_splits(load, networks, config):
    predictor = load("PSC_predictor", config=config)
    expected = [
        np.mean(predictor.score_psc(parts_of(graph, bounds_of([len(nodes) for nodes in segments]))))
        for graph, segments in networks
    ]
    assert len(set(expected)) == len(networks)
    assert predictor.score_networks(networks) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("predictor_type", ["GNN", "PSC_predictor"])
def test_networks_are_scored_whatever_else_is_scored(load, networks, predictor_type, monkeypatch):
    predictor = load(predictor_type)
    together = predictor.score_networks(networks)
    assert predictor.score_networks(networks[::-1]) == together[::-1]
    monkeypatch.setattr(scoring, "MAX_SPLIT_NODES", 50)
    assert predictor.score_networks(networks) == together
    assert predictor.score_networks([]) == []


def test_a_gnn_scores_a_network_as_a_graph(load, networks):
    predictor = load("GNN")
    assert predictor.score_networks(networks) == predictor.score_graphs([graph for graph, _ in networks])


def test_segments_that_do_not_fit_are_named(load, networks):
    graph, segments = networks[0]
    predictor = load("PSC_predictor")
    with pytest.raises(ValueError, match="net9: its segments have 6 nodes, the graph has 9"):
        predictor.score_networks([(graph, segments[:-1])])
    pair = induced_subgraph(graph, segments[1])
    with pytest.raises(ValueError, match="net9: no segment lies between"):
        predictor.score_networks([(pair, [[0, 1]])])
    with pytest.raises(ValueError, match="net9: the graph has no nodes"):
        load("GNN").score_networks([(induced_subgraph(graph, []), [])])


@pytest.mark.parametrize("family", ["hiaml", "two_path", "inception", "nb101", "nb201"])
def test_the_published_predictor_on_whole_networks(reference, family):
    """The mean of the published predictions, where all pieces of the published tokenizer are given."""
    pairs = reference_networks(reference, family)
    networks = [(graph, _in_order(entry["topological_order"], entry["pieces"])) for graph, entry in pairs]
    expected = [
        np.mean([split["prediction"] for split in entry["psc"] if split["prediction"] is not None])
        for _, entry in pairs
    ]
    predictor = load_predictor(reference / "published" / "saved_models" / "psc_chkpt.pt")
    assert predictor.score_networks(networks) == pytest.approx(expected, abs=1e-5)


def _in_order(order, lengths):
    ends = np.cumsum(lengths).tolist()
    return [order[max(end - length, 0) : end] for end, length in zip(ends, lengths, strict=True)]
