import numpy as np
import pytest
import torch

from model_src.predictor.data.packing import pack_graphs
from model_src.predictor.models import GRAPH_LAYERS, build_model
from model_src.predictor.settings import ModelConfig
from tests.predictor.helpers import bounds_of, packed, parts_of, random_graph, reference_bounds, reference_networks

CPU = torch.device("cpu")
FAMILIES = ("hiaml", "two_path", "nb101", "nb201", "inception")


def test_a_batch_of_whole_graphs(tiny_graph):
    batch = pack_graphs([tiny_graph, tiny_graph]).batch()
    assert batch.rows.tolist() == [0, 1, 2, 3, 4] * 2  # equal nodes share a row of the features
    assert batch.features.op[batch.rows].tolist() == [3, 1, 6, 9, 2] * 2
    adjacency = batch.adjacency.to_dense()
    assert adjacency[:5, :5].equal(adjacency[5:, 5:])
    assert not adjacency[:5, 5:].any()
    assert not adjacency[5:, :5].any()
    assert [(s, t) for t, s in adjacency[:5, :5].nonzero().tolist()] == [(1, 0), (0, 2), (0, 3), (2, 3), (3, 4)]
    assert batch.pooling.to_dense().tolist() == [[0.2] * 5 + [0] * 5, [0] * 5 + [0.2] * 5]


def test_items_can_be_picked_in_any_order(tiny_graph):
    graphs = [random_graph(np.random.default_rng(seed), 9) for seed in range(3)] + [tiny_graph]
    model = build_model("GNN", ModelConfig()).double()
    pack = pack_graphs(graphs)
    with torch.no_grad():
        everything = model(pack.batch().to(CPU, torch.float64))
        picked = model(pack.batch(np.array([3, 1, 1])).to(CPU, torch.float64))
    assert picked == pytest.approx(everything[[3, 1, 1]], abs=1e-14)


def separate(model, graphs, bounds):
    """Predictions when every part is encoded as a graph of its own."""
    triples = [triple for graph, own in zip(graphs, bounds, strict=True) for triple in parts_of(graph, own)]
    embedded = model.embed(pack_graphs([part for triple in triples for part in triple]).batch().to(CPU, torch.float64))
    return model.head(embedded)


def shared(model, graphs, bounds, dtype=torch.float64, items=slice(None)):
    """Predictions from the batch in which parts share nodes."""
    hops = len(model.encoder.gnn_layers)
    return model.to(dtype)(packed(graphs, bounds, hops).batch(items).to(CPU, dtype))


@pytest.mark.parametrize("gnn_type", GRAPH_LAYERS)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_shared_nodes_equal_separate_parts_for_every_layer(gnn_type, num_layers):
    rng = np.random.default_rng(num_layers)
    graphs = [random_graph(rng, 30) for _ in range(5)]
    bounds = [bounds_of(rng.multinomial(30 - 8, [1 / 8] * 8) + 1) for _ in graphs]
    model = build_model("PSC_predictor", ModelConfig(gnn_type=gnn_type, num_layers=num_layers)).double().eval()
    with torch.no_grad():
        assert shared(model, graphs, bounds) == pytest.approx(separate(model, graphs, bounds), abs=1e-12)


def test_too_few_hops_would_be_noticed():
    graph = random_graph(np.random.default_rng(0), 40)
    bounds = [bounds_of([10, 5, 25])]
    model = build_model("PSC_predictor", ModelConfig()).double()
    with torch.no_grad():
        short = model(packed([graph], bounds, hops=2).batch().to(CPU, torch.float64))
        assert not torch.allclose(short, separate(model, [graph], bounds), atol=1e-9)


def test_gradients_equal_those_of_separate_parts():
    rng = np.random.default_rng(7)
    graphs = [random_graph(rng, 25) for _ in range(3)]
    bounds = [bounds_of([4, 1, 6, 9, 5])] * 3
    model = build_model("PSC_predictor", ModelConfig()).double()
    gradients = []
    for predict in (shared, separate):
        model.zero_grad()
        predict(model, graphs, bounds).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_nodes_equal_separate_parts_on_reference_networks(reference, family):
    networks = reference_networks(reference, family)[:3]
    graphs, bounds = [graph for graph, _ in networks], [reference_bounds(entry)[:40] for _, entry in networks]
    model = build_model("PSC_predictor", ModelConfig()).double()
    with torch.no_grad():
        expected = separate(model, graphs, bounds)
        some = np.arange(0, sum(map(len, bounds)), 7)
        assert shared(model, graphs, bounds) == pytest.approx(expected, abs=1e-12)
        assert shared(model, graphs, bounds, items=some) == pytest.approx(expected[some], abs=1e-12)
        assert shared(model, graphs, bounds, torch.float32) == pytest.approx(expected.float(), abs=1e-5)
