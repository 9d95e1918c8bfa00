from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
tf = pytest.importorskip("tensorflow")

from model_src.comp_graph.graph_ops import same_topology  # noqa: E402
from model_src.comp_graph.importers.tensorflow.frozen import load_pb  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output import build_tf_network, cg_to_pb  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.comp_graph.twins import everything, outputs, window  # noqa: E402
from tests.conftest import conv, regular  # noqa: E402


def test_every_operation_computes_the_same_in_both():
    first, second = outputs(everything())
    assert first.shape == (2, 10)
    assert np.abs(first).max() > 0.05
    np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 2, 7), (3, 2, 8), (2, 2, 7), (5, 3, 8)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_windows_agree_at_the_borders(kernel, stride, size, padding):
    out = -(-size // stride) if padding == "same" else (size - kernel) // stride + 1
    pools = [
        regular(label, label, op, size, 3, out, **window(kernel, stride, padding))
        for label, op in (("maxpool", 12), ("avgpool", 13))
    ]
    convolution = conv("c", size, 3, 3, stride, kernel, padding=padding)
    nodes = [convolution, regular("i", "input", 1, size, 3), *pools, regular("o", "concat", 11, out, 9)]
    edges = [(1, 0), (1, 2), (1, 3), (0, 4), (2, 4), (3, 4)]
    first, second = outputs(ComputeGraph.from_nodes("w", (1, size, size, 3), nodes, edges), squeeze_output=False)
    assert first.shape == (2, 9, out, out)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_kernels_start_he_uniform_with_a_penalty_and_depthwise_too():
    network = build_tf_network(everything(), enable_bias=True)
    for name in ("op_conv_conv", "op_dw_depthwise"):
        layer = network.get_layer(name)
        assert layer.use_bias
        assert len(layer.losses) == 1
        np.testing.assert_allclose(layer.losses[0], 1e-5 * np.square(layer.get_weights()[0]).sum(), rtol=1e-5)
    bound = (6 / 27) ** 0.5
    assert 0.9 * bound < np.abs(network.get_layer("op_conv_conv").get_weights()[0]).max() < bound
    assert network.get_layer("op_bn_batchnorm").momentum == 0.99


def test_overrides_replace_operations():
    network = build_tf_network(everything(), op_overrides={"batchnorm": "identity"})
    assert type(network.get_layer("op_bn_identity")).__name__ == "Identity"


def test_what_does_not_fit_is_refused(tiny_graph):
    with pytest.raises(ValueError, match="larger than 1x1"):
        build_tf_network(tiny_graph)
    with pytest.raises(ValueError, match=r"node i .*it gets 2 input channels and needs 3"):
        build_tf_network(tiny_graph, squeeze_output=False, input_shape=(8, 8, 2))
    odd = ComputeGraph.from_nodes("odd", (1, 8, 8, 3), [regular("x", "spacetobatchnd", 20, 8, 3)], [])
    with pytest.raises(ValueError, match=r"node x .*no Keras network of .* is registered; there is: TensorFlow import"):
        build_tf_network(odd)


def test_several_outputs_are_a_list():
    nodes = [regular("i", "input", 1, 4, 3), regular("a", "relu", 6, 4, 3), regular("b", "tanh", 15, 4, 3)]
    network = build_tf_network(ComputeGraph.from_nodes("fork", (1, 4, 4, 3), nodes, [(0, 1), (0, 2)]))
    first, second = network(-np.ones((2, 4, 4, 3), np.float32))
    assert first.shape == second.shape == (2, 4, 4, 3)
    assert np.max(first) == 0
    assert np.max(second) == pytest.approx(np.tanh(-1))


def test_a_frozen_network_reads_back_as_the_same_graph(tmp_path):
    # Sums are operations in TensorFlow, so they become nodes first; a dilated convolution would become three.
    cg = everything()
    weighted = tuple(
        replace(node, metadata={key: value for key, value in node.metadata.items() if key != "dil_rate"})
        for node in cg.weighted_nodes
    )
    cg = correct_cg_for_downstream(replace(cg, weighted_nodes=weighted), 9, 9, 3)
    path = cg_to_pb(cg, tmp_path)
    assert path == tmp_path / "everything_output_net.pb"
    back = load_pb(path, normalisers=cg.normalisers)
    assert same_topology(cg, back)
    with pytest.raises(InputError, match=r"everything_output_net\.pb: exists already"):
        cg_to_pb(cg, tmp_path)


@pytest.mark.parametrize("name", ["two_path_best", "nb201_best"])
def test_published_networks_survive_freezing(reference, tmp_path, name):
    cg = load_cg(reference / "published" / "architectures" / f"{name}.pkl")
    path = cg_to_pb(cg, tmp_path)
    assert same_topology(load_pb(path, normalisers=cg.normalisers), cg)


def test_a_frozen_grouped_convolution_reads_back(tmp_path):
    nodes = [
        conv("g", 8, 4, 6, 2, groups=2, use_bias=True),
        regular("i", "input", 1, 8, 4),
        regular("o", "output", 2, 4, 6),
    ]
    cg = ComputeGraph.from_nodes("grouped", (1, 8, 8, 4), nodes, [(1, 0), (0, 2)])
    back = load_pb(cg_to_pb(cg, tmp_path, build_tf_network(cg, squeeze_output=False)))
    assert same_topology(cg, back)
    assert back.nodes[0].metadata["groups"] == 2


def test_a_frozen_network_keeps_the_weights_and_has_an_input_and_an_output(tmp_path, tiny_graph):
    network = build_tf_network(tiny_graph, squeeze_output=False)
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(cg_to_pb(tiny_graph, tmp_path, network).read_bytes())
    assert {"input", "output"} <= {node.name for node in graph_def.node}
    assert not any("Variable" in node.op or node.op == "Placeholder" for node in graph_def.node)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            result = session.run("output:0")
    np.testing.assert_allclose(result, network(np.ones((1, 8, 8, 3), np.float32)), atol=1e-6)
