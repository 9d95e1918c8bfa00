import numpy as np
import pytest
import torch

from model_src.files import InputError
from model_src.predictor.data.packing import pack_graphs
from model_src.predictor.models import ACTIVATIONS, build_model, current_names, merge_linear_layers
from model_src.predictor.settings import ModelConfig
from tests.predictor.helpers import packed, random_graph


@pytest.mark.parametrize(("predictor_type", "count"), [("GNN", 24_287), ("PSC_predictor", 57_375)])
def test_published_numbers_of_parameters(predictor_type, count):
    model = build_model(predictor_type, ModelConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert len(model.state_dict()) == 42


def by_hand(weights, graph):
    """The published forward pass of GNN in plain tensor algebra."""
    w = {name: values.double() for name, values in weights.items()}
    rows = []
    for node in graph.nodes:
        scaled = torch.tensor(node.resolution).double() / torch.tensor([256, 256, 256, 256, 512, 512]).double()
        shape = w["embed_layer.shape_embed_layer.weight"] @ scaled + w["embed_layer.shape_embed_layer.bias"]
        if node.type_idx:
            kernel = [w["embed_layer.kernel_embed_layer.weight"][k] for k in node.shape[2:]]
            one_hot = torch.tensor([0.0, 1.0] if node.use_bias else [1.0, 0.0]).double()
            bias = w["embed_layer.bias_embed_layer.weight"] @ one_hot + w["embed_layer.bias_embed_layer.bias"]
            label = w["embed_layer.weighted_embed_layer.weight"][node.op_type_idx]
            rows.append(torch.cat([label, shape, *kernel, bias]))
        else:
            rows.append(torch.cat([w["embed_layer.regular_embed_layer.weight"][node.op_type_idx], shape]))
    x = torch.stack(rows)
    adjacency = torch.zeros(graph.n_nodes, graph.n_nodes).double()
    for source, target in graph.edge_pairs:
        adjacency[target, source] = 1
    for layer in range(6):
        rel, root = (w[f"encoder.gnn_layers.{layer}.lin_{kind}.weight"] for kind in ("rel", "root"))
        x = torch.tanh(adjacency @ x @ rel.T + w[f"encoder.gnn_layers.{layer}.lin_rel.bias"] + x @ root.T)
    h = x.mean(0)
    for layer in (0, 1, 3, 4):
        h = w[f"post_proj.{layer}.weight"] @ h + w[f"post_proj.{layer}.bias"]
        h = h.relu() if layer == 1 else h
    return float(w["regressor.weight"] @ h + w["regressor.bias"])


def test_forward_pass_by_hand(tiny_graph):
    graphs = [tiny_graph, random_graph(np.random.default_rng(1), 12)]
    model = build_model("GNN", ModelConfig()).double()
    with torch.no_grad():
        found = model(pack_graphs(graphs).batch().to(torch.device("cpu"), torch.float64))
    assert found.tolist() == pytest.approx([by_hand(model.state_dict(), graph) for graph in graphs], abs=1e-12)


def in_both_directions(weights, x, adjacency, n_layers):
    """The states of nodes after residual layers that hear predecessors and successors, in plain tensor algebra."""
    w = {name: values.double() for name, values in weights.items()}
    x = x @ w["first.weight"].T + w["first.bias"]
    for layer in range(n_layers):
        own = {name.split(f"gnn_layers.{layer}.")[-1]: values for name, values in w.items() if f"s.{layer}." in name}
        y = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        y = y * own["norm.weight"] + own["norm.bias"]
        heard = torch.cat([y, adjacency @ y, adjacency.T @ y], 1)
        x = x + (heard @ own["lin.weight"].T + own["lin.bias"]).relu()
    return torch.cat([x, (x @ w["last.weight"].T + w["last.bias"]).relu()], 1)


def both_ways(**sizes):
    return ModelConfig(gnn_type="BidirectionalConv", gnn_activ="relu", num_layers=3, **sizes)


def test_messages_run_along_edges_and_against_them(tiny_graph):
    model = build_model("GNN", both_ways(hidden_size=8, out_channels=12)).double()
    batch = pack_graphs([tiny_graph]).batch().to(torch.device("cpu"), torch.float64)
    adjacency = torch.zeros(tiny_graph.n_nodes, tiny_graph.n_nodes).double()
    for source, target in tiny_graph.edge_pairs:
        adjacency[target, source] = 1
    nodes = torch.rand(tiny_graph.n_nodes, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = in_both_directions(model.encoder.state_dict(), nodes, adjacency, 3)
        assert torch.allclose(model.encoder(nodes, batch.adjacency), expected, atol=1e-12)
    nodes.requires_grad_()
    weights = torch.rand(tiny_graph.n_nodes, 12, dtype=torch.float64)
    (found,) = torch.autograd.grad((model.encoder(nodes, batch.adjacency) * weights).sum(), nodes)
    plain = in_both_directions(model.encoder.state_dict(), nodes, adjacency, 3)
    (expected,) = torch.autograd.grad((plain * weights).sum(), nodes)
    assert torch.allclose(found, expected, atol=1e-12)


def test_layers_in_both_directions_are_for_whole_networks():
    with pytest.raises(InputError, match=r"BidirectionalConv: only for predictors of whole networks"):
        build_model("PSC_predictor", both_ways(out_channels=64))
    with pytest.raises(InputError, match=r"-out_channels 32: must be above -hidden_size, which is 32"):
        build_model("GNN", both_ways())


def test_unused_parameters_get_no_gradient(tiny_graph):
    model = build_model("PSC_predictor", ModelConfig())
    model(packed([tiny_graph], [[(1, 3)]], 6).batch().to(torch.device("cpu"), torch.float32)).sum().backward()
    without = {name.rsplit(".", 1)[0] for name, value in model.named_parameters() if value.grad is None}
    assert without == {"encoder.init_ff", *(name for name in without if name.startswith("aggregator."))}
    assert len(without) == 4


def test_an_activation_before_the_regressor_is_applied_once(tiny_graph):
    plain, active = (build_model("GNN", ModelConfig(reg_activ=name)) for name in (None, "relu"))
    active.load_state_dict(plain.state_dict())
    batch = pack_graphs([tiny_graph]).batch().to(torch.device("cpu"), torch.float32)
    with torch.no_grad():
        hidden = plain.post_proj(plain.embed(batch)).relu()
        assert torch.equal(active(batch), plain.regressor(hidden).squeeze(-1))


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("predictor_type", ["GNN", "PSC_predictor"])
def test_a_head_with_merged_layers_computes_the_same(predictor_type, activation):
    model = build_model(predictor_type, ModelConfig(reg_activ=activation)).double()
    parts = torch.randn(
        3 * 7, ModelConfig().out_channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        before = model.head(parts)
        merge_linear_layers(model)
        assert model.head(parts) == pytest.approx(before, rel=1e-12)
    n_linear = sum(isinstance(layer, torch.nn.Linear) for layer in (*model.post_proj, model.regressor))
    assert n_linear == (2 if activation is None else 3)


@pytest.mark.parametrize(
    ("predictor_type", "config", "message"),
    [
        ("MLP", ModelConfig(), "predictor type MLP: unknown; choose from GNN, PSC_predictor"),
        ("GNN", ModelConfig(gnn_type="__import__"), "-gnn_type __import__: unknown; choose from GATConv"),
        ("GNN", ModelConfig(gnn_activ="sin"), f"-gnn_activ sin: unknown; choose from {', '.join(ACTIVATIONS)}"),
        ("GNN", ModelConfig(in_channels=18), "-in_channels 18: node embeddings need at least 19"),
    ],
)
def test_unknown_names_are_refused(predictor_type, config, message):
    with pytest.raises(InputError, match=message):
        build_model(predictor_type, config)


def test_sizes_are_free():
    config = ModelConfig(in_channels=20, hidden_size=12, out_channels=7, num_layers=2)
    pack = packed([random_graph(np.random.default_rng(0), 15)], [[(3, 6), (6, 9)]], 2)
    assert build_model("PSC_predictor", config)(pack.batch().to(torch.device("cpu"), torch.float32)).shape == (2,)


def test_old_names_of_the_graph_layers():
    state = {"encoder.gnn_layers.0.lin_l.weight": 1, "encoder.gnn_layers.0.lin_r.weight": 2, "total_ops": 3}
    assert current_names(state) == {"encoder.gnn_layers.0.lin_rel.weight": 1, "encoder.gnn_layers.0.lin_root.weight": 2}
