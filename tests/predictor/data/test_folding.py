from itertools import pairwise

import numpy as np
import pytest
import torch

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.predictor.data import folding
from model_src.predictor.data.folding import FoldedBatch, _distinct, fold
from model_src.predictor.data.packing import pack_graphs
from model_src.predictor.models import build_model
from model_src.predictor.settings import ModelConfig
from tests.conftest import regular
from tests.predictor.helpers import bounds_of, packed, parts_of, random_graph, reference_bounds, reference_networks

CPU = torch.device("cpu")
OPS = {"input": 1, "relu": 6, "add": 9, "output": 2}
FAMILIES = ("hiaml", "two_path", "nb101", "nb201", "inception")


@pytest.fixture(autouse=True)
def fold_small_batches(monkeypatch):
    monkeypatch.setattr(folding, "MIN_NODES", 0)


def embedded(model, pack, items=slice(None)):
    """The parts' embeddings with a row for every node, and with a row for every colour."""
    folded = fold(pack, len(model.encoder.gnn_layers), items, model.is_bidirectional)
    return [model.embed(batch.to(CPU, torch.float64)) for batch in (pack.batch(items), folded)]


def n_rows(graphs, hops):
    """Rows of every layer."""
    batch = fold(pack_graphs(graphs), hops)
    return [len(batch.rows), *(len(step.own) for step in batch.steps)]


@pytest.mark.parametrize("num_layers", [1, 3, 6])
def test_nothing_changes(num_layers):
    graphs = [random_graph(np.random.default_rng(seed % 7), 5 + seed) for seed in range(20)]
    model = build_model("GNN", ModelConfig(num_layers=num_layers)).double()
    with torch.no_grad():
        plain, folded = embedded(model, pack_graphs(graphs))
    assert folded == pytest.approx(plain, abs=1e-14)


@pytest.mark.parametrize("least", [0, 10**6])
def test_nothing_changes_where_messages_go_both_ways(least, monkeypatch):
    monkeypatch.setattr(folding, "MIN_NODES", least)
    graphs = [random_graph(np.random.default_rng(seed % 7), 5 + seed) for seed in range(20)]
    model = build_model("GNN", ModelConfig(gnn_type="BidirectionalConv", num_layers=4, out_channels=64)).double()
    pack = pack_graphs([*graphs, *graphs[:3]])
    batch = model.eval().batch(pack)
    assert isinstance(batch, FoldedBatch)
    assert (len(batch.rows) < len(pack.rows) / 4) == (least == 0)
    with torch.no_grad():
        plain, folded = embedded(model, pack)
    assert folded == pytest.approx(plain, abs=1e-14)


def test_what_comes_after_a_node_tells_it_apart_where_messages_go_both_ways():
    graphs = [chain_of("input", "relu", "relu", "add"), chain_of("input", "relu", "relu", "output")]
    both = fold(pack_graphs(graphs), 1, is_bidirectional=True)
    along = fold(pack_graphs(graphs), 1)
    assert [len(batch.steps[0].own) for batch in (along, both)] == [5, 6]


def test_what_is_heard_and_what_is_told_are_not_the_same():
    graphs = [chain_of("relu", "add", "output"), chain_of("output", "add", "relu")]
    assert len(fold(pack_graphs(graphs), 1, is_bidirectional=True).steps[0].own) == 6


def test_small_batches_keep_a_row_for_every_node(monkeypatch):
    graphs = [random_graph(np.random.default_rng(seed), 9) for seed in range(3)] * 2
    monkeypatch.setattr(folding, "MIN_NODES", 55)
    assert n_rows(graphs, 3) == [54] * 4
    assert max(n_rows([*graphs, chain_of("input")], 3)) < 35
    model = build_model("GNN", ModelConfig()).double()
    with torch.no_grad():
        plain, folded = embedded(model, pack_graphs(graphs))
    assert folded == pytest.approx(plain, abs=1e-14)


def test_nothing_changes_for_splits_and_for_some_of_them():
    rng = np.random.default_rng(0)
    graphs = [random_graph(rng, 30) for _ in range(5)]
    pack = packed(graphs, [bounds_of(rng.multinomial(22, [1 / 8] * 8) + 1) for _ in graphs], hops=6)
    model = build_model("PSC_predictor", ModelConfig()).double()
    with torch.no_grad():
        for items in (slice(None), np.array([3, 17, 3, 30])):
            plain, folded = embedded(model, pack, items)
            assert folded == pytest.approx(plain, abs=1e-14)


@pytest.mark.parametrize("family", FAMILIES)
def test_reference_networks_and_their_parts_share_most_rows(reference, family):
    networks = reference_networks(reference, family)[:3]
    parts = [
        part for graph, entry in networks for triple in parts_of(graph, reference_bounds(entry)[:9]) for part in triple
    ]
    pack = pack_graphs(parts)
    model = build_model("GNN", ModelConfig()).double()
    with torch.no_grad():
        plain, folded = embedded(model, pack)
    assert folded == pytest.approx(plain, abs=1e-14)
    assert max(n_rows(parts, 6)) < 0.4 * len(pack.rows)


def test_gradients_do_not_change():
    graphs = [random_graph(np.random.default_rng(seed), 20) for seed in range(3)] * 2
    model = build_model("GNN", ModelConfig()).double()
    gradients = []
    for embeddings in embedded(model, pack_graphs(graphs)):
        model.zero_grad()
        embeddings.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-12, rtol=1e-9)


def chain_of(*labels):
    """Operations one after the other."""
    nodes = [regular(str(place), label, OPS[label], 8, 16) for place, label in enumerate(labels)]
    return ComputeGraph.from_nodes("chain", (1, 8, 8, 16), nodes, pairwise(range(len(labels))), DOMAIN_NORMALISERS)


def fan_of(width):
    """An input, so many activations of it, and their sum."""
    nodes = [
        regular(str(place), label, OPS[label], 8, 16) for place, label in enumerate(["input", *["relu"] * width, "add"])
    ]
    edges = [edge for place in range(1, width + 1) for edge in ((0, place), (place, width + 1))]
    return ComputeGraph.from_nodes("fan", (1, 8, 8, 16), nodes, edges, DOMAIN_NORMALISERS)


def test_layers_tell_apart_what_reaches_them_and_no_more():
    assert n_rows([chain_of("input", "relu", "relu", "relu", "output")] * 5, 3) == [3, 4, 5, 5]


def test_a_message_counts_as_often_as_it_comes():
    assert n_rows([fan_of(1), fan_of(2)], 2) == [3, 4, 4]  # the two sums differ, the activations do not


def test_no_message_is_not_a_message_of_the_first_row():
    assert n_rows([chain_of("input"), chain_of("input", "input")], 1) == [1, 2]


def test_colours_that_meet_in_a_slot_stay_apart():
    colours = np.array([5, 2**63, 7, 5, 2**63 + 1, 2**63], dtype=np.uint64)
    chosen, place = _distinct(colours)
    assert (colours[chosen][place] == colours).all()
    assert len(chosen) >= 4


def test_layers_of_other_kinds_and_dropout_take_every_node(tiny_graph):
    pack = pack_graphs([tiny_graph])
    assert isinstance(build_model("GNN", ModelConfig()).batch(pack), FoldedBatch)
    assert not isinstance(build_model("GNN", ModelConfig(gnn_type="SAGEConv")).batch(pack), FoldedBatch)
    model = build_model("GNN", ModelConfig(dropout_prob=0.1))
    assert not isinstance(model.batch(pack), FoldedBatch)
    assert isinstance(model.eval().batch(pack), FoldedBatch)
