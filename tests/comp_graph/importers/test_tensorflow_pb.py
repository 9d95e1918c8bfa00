"""Frozen graphs come in with their weights: as the published importer sees them, or exactly, or not at all."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")
import torch

from model_src.comp_graph.exporters.files import export_network, network_of
from model_src.comp_graph.graph_ops import same_topology
from model_src.comp_graph.importers.tensorflow import frozen, load_pb, rebuild
from model_src.comp_graph.importers.tensorflow.graph_def import freeze
from model_src.comp_graph.importers.tensorflow.strict import FrozenNetwork
from model_src.comp_graph.load import load_cg, load_network
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from tests.comp_graph.importers.keras_models import LIMIT, L, between
from tests.conftest import conv, regular

ACTIVATIONS = ("relu", "relu6", "sigmoid", "tanh", "swish", "gelu", "gelu_tanh", "leakyrelu", "elu", "hardswish",
               "hardsigmoid", "prelu")  # fmt: skip


def with_activation(op2i, name: str) -> ComputeGraph:
    nodes = [
        conv("c", 8, 3, 6, 1, use_bias=True),
        conv("d", 8, 6, 4, 2),
        regular("i", "input", 1, 8, 3),
        regular("a", name, op2i[name], 8, 6),
        regular("o", "output", 2, 4, 4),
    ]
    return ComputeGraph.from_nodes("net", (1, 8, 8, 3), nodes, [(2, 0), (0, 3), (3, 1), (1, 4)])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_exported_activations_come_back_exactly(tmp_path, op2i, name):
    cg = with_activation(op2i, name)
    network = network_of(cg)
    export_network(cg, tmp_path / "net", ["tf"], network)
    for found in (load_pb(tmp_path / "net.pb"), load_network(tmp_path / "net_savedmodel")):
        if hasattr(found, "operands"):
            images = torch.randn(2, 3, 8, 8)
            with torch.inference_mode():
                torch.testing.assert_close(rebuild(found)(images).permute(0, 3, 1, 2), network(images))
        if name != "prelu":  # which TensorFlow computes of others
            assert sorted(node.operation.name for node in found.graph.nodes) == sorted(
                node.operation.name for node in cg.nodes
            )


def written(path, model):
    path.write_bytes(freeze(lambda x: model(x, training=False), model.input_shape[1:]).SerializeToString())
    return path


def test_where_both_readers_agree_the_published_nodes_come_with_weights(tmp_path):
    path = written(tmp_path / "net.pb", between(L.BatchNormalization()))
    found, published = load_network(path), frozen.load_pb(path)
    assert (found.graph.nodes, found.graph.edge_pairs) == (published.nodes, published.edge_pairs)
    assert found.weights.keys() == {node.str_id for node in published.nodes if node.operation.has_parameters}
    assert load_cg(path, check=False).nodes == published.nodes


def test_where_the_published_reader_is_wrong_the_strict_one_counts(tmp_path):
    model = between(lambda x: L.Subtract()([x, L.ReLU()(x)]))
    path = written(tmp_path / "net.pb", model)
    found = load_pb(path)
    assert not same_topology(found.graph, frozen.load_pb(path))
    images = np.random.default_rng(0).standard_normal((2, 16, 16, 3), np.float32)
    wanted = np.asarray(model(images, training=False))
    got = rebuild(found)(torch.from_numpy(images).permute(0, 3, 1, 2)).detach().numpy()
    assert np.abs(got - wanted).max() <= LIMIT * np.abs(wanted).max()


def test_what_is_refused_can_be_read_as_published_with_a_warning(tmp_path, caplog):
    path = written(tmp_path / "net.pb", between(L.PReLU(name="odd")))
    try:
        load_cg(path)
    except InputError as error:
        refusal = str(error)
    else:
        pytest.skip("slopes of every number are held")
    assert "net.pb: node 'net_1/odd_1/mul' (Mul): " in refusal
    assert refusal.endswith("-lenient_pb reads the graph alone, as published")
    found = load_network(path, lenient_pb=True)
    assert found.graph.nodes == frozen.load_pb(path).nodes
    assert found.weights is None
    assert "net.pb: read as published: weights are missing" in caplog.text


def test_a_graph_that_computes_something_else_is_an_error(tmp_path, monkeypatch):
    path = written(tmp_path / "net.pb", between(L.ReLU()))
    run = FrozenNetwork._run
    monkeypatch.setattr(FrozenNetwork, "_run", lambda self, images: run(self, images) * 1.01)
    with pytest.raises(InputError, match=r"net\.pb: it was read wrongly: .* differs by 9\.\de-03 of .* \(1e-04 is"):
        load_cg(path)
    assert load_cg(path, check=False).n_nodes == 5
