import gzip
import itertools
import json

import pytest

torch = pytest.importorskip("torch")

from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.sizes import same_padding  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output_torch import (  # noqa: E402
    TorchNetwork,
    build_torch_network,
)
from tests.conftest import conv, regular  # noqa: E402


def graph(nodes, edges) -> ComputeGraph:
    return ComputeGraph.from_nodes("net", (1, 8, 8, 3), nodes, edges)


def single(node) -> TorchNetwork:
    return TorchNetwork(graph([node], []), squeeze_output=False).eval()


def pool(label, op, h, kernel, stride, padding="same"):
    return regular(
        "p",
        label,
        op,
        h,
        1,
        strides=(1, stride, stride, 1),
        metadata={"padding": padding, "ksize": (1, kernel, kernel, 1)},
    )


def test_state_dict_keys_come_from_node_ids(tiny_graph):
    assert list(TorchNetwork(tiny_graph, enable_bias=True).state_dict()) == [
        "layers.op_c/conv.weight",
        "layers.op_c/conv.bias",
    ]


def test_the_tiny_graph_adds_relu_and_convolution(tiny_graph):
    network = TorchNetwork(tiny_graph, squeeze_output=False)
    x = torch.randn(2, 3, 8, 8)
    y = torch.nn.functional.conv2d(x, network.layers["op_c/conv"].weight, padding=1)
    torch.testing.assert_close(network(x), y + y.relu())


def test_seeded_weights_repeat_and_leave_the_global_generator_alone(tiny_graph):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (next(build_torch_network(tiny_graph, seed=seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_max_pooling_ignores_the_padding():
    assert single(pool("maxpool", 12, 2, 3, 1))(torch.full((1, 1, 2, 2), -1.14)).unique().tolist() == [
        pytest.approx(-1.14)
    ]
    # 5 pixels, window 2, stride 2: one pixel is padded behind.
    x = -torch.arange(1.0, 26).reshape(1, 1, 5, 5)
    expected = torch.tensor([[-1.0, -3, -5], [-11, -13, -15], [-21, -23, -25]])
    assert torch.equal(single(pool("maxpool", 12, 5, 2, 2))(x)[0, 0], expected)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(5, 3, 1), (5, 2, 2), (6, 3, 2), (5, 4, 3)])
def test_average_pooling_counts_real_pixels_only(size, kernel, stride):
    network = single(pool("avgpool", 13, size, kernel, stride))
    x = torch.randn(1, 1, size, size)
    ones = network(torch.ones(1, 1, size, size))
    torch.testing.assert_close(ones, torch.ones_like(ones))
    before, _ = same_padding(size, kernel, stride)
    torch.testing.assert_close(network(x)[0, 0, 0, 0], x[0, 0, : kernel - before, : kernel - before].mean())
    # In bfloat16 on a CPU it is computed in another way.
    brief = x.bfloat16()
    expected = network(brief.float())
    torch.testing.assert_close(network(brief).float(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"), list(itertools.product((7, 8), (1, 2, 3, 5), (1, 2, 3), (1, 2)))
)
def test_a_same_convolution_leaves_size_over_stride(size, kernel, stride, dilation):
    network = single(conv("c", size, 2, 4, stride, kernel, dil_rate=dilation))
    assert network(torch.zeros(1, 2, size, size)).shape == (1, 4, -(-size // stride), -(-size // stride))


def test_valid_padding_pads_nothing():
    assert single(conv("c", 8, 2, 4, padding="valid"))(torch.zeros(1, 2, 8, 8)).shape == (1, 4, 6, 6)


def test_depthwise_convolves_each_channel_by_itself():
    node = WeightedNode("d", "depthwise", 4, (8, 4, 8, 4, 6, 6), (1, 2, 2, 1), {"use_bias": True}, (6, 1, 3, 3))
    network = single(node)
    assert network.layers["op_d/depthwise"].weight.shape == (6, 1, 3, 3)
    assert network(torch.zeros(1, 6, 8, 8)).shape == (1, 6, 4, 4)
    with pytest.raises(ValueError, match=r"node d .* 6 input and 8 output channels"):
        single(WeightedNode("d", "depthwise", 4, (8, 8, 8, 8, 6, 8), shape=(6, 1, 3, 3)))


def test_dense_works_on_every_pixel():
    network = single(WeightedNode("m", "matmul", 8, (5, 5, 5, 5, 2, 3), shape=(2, 3, 0, 0)))
    x = torch.randn(1, 2, 5, 5)
    y = network(x)
    assert y.shape == (1, 3, 5, 5)
    torch.testing.assert_close(y[..., 4, 1], network.layers["op_m/matmul"](x[..., 4:, 1:2])[..., 0, 0])


def test_batch_normalisation_moves_by_one_percent():
    network = single(regular("b", "fusedbatchnormv3", 5, 8, 3)).train()
    network(torch.full((2, 3, 8, 8), 10.0))
    layer = network.layers["op_b/batchnorm"]
    assert layer.running_mean.tolist() == pytest.approx([0.1] * 3)
    assert layer.eps == 1e-3


@pytest.mark.parametrize(
    ("op", "label", "expected"),
    [
        (6, "relu", [0, 0.5, 8]),
        (7, "relu6", [0, 0.5, 6]),
        (14, "sigmoid", [0.26894, 0.62246, 0.99966]),
        (15, "tanh", [-0.76159, 0.46212, 1]),
        (16, "swish", [-0.26894, 0.31123, 7.99732]),
        (17, "gelu", [-0.15866, 0.34573, 8]),
        (25, "identity", [-1, 0.5, 8]),
        (26, "zero", [0, 0, 0]),
    ],
)
def test_pointwise_operations(op, label, expected):
    x = torch.tensor([-1, 0.5, 8]).reshape(1, 1, 1, 3)
    assert single(regular("x", label, op, 1, 1))(x).flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_padding_and_global_mean():
    padding = regular("p", "paddings", 18, 8, 1, metadata={"pad_h": (1, 2), "pad_w": (3, 0)})
    assert single(padding)(torch.ones(1, 1, 8, 8)).shape == (1, 1, 11, 11)
    for op, label in ((19, "mean"), (24, "global")):
        assert single(regular("m", label, op, 2, 1, 1))(torch.arange(4.0).reshape(1, 1, 2, 2)).tolist() == [[[[1.5]]]]


def merged(op, label, c_first, c_second):
    """The output of a merge of channels 0..c_first-1 and 0..c_second-1 of an input."""
    nodes = [
        regular("a", "identity", 25, 8, c_first),
        regular("b", "identity", 25, 8, c_second),
        regular("m", label, op, 8, max(c_first, c_second)),
    ]
    x = torch.arange(1.0, 17).reshape(1, 16, 1, 1).expand(1, 16, 8, 8)
    return TorchNetwork(graph(nodes, [(0, 2), (1, 2)]), squeeze_output=False)(x)[0, :, 0, 0].tolist()


def test_merges_cut_to_the_narrowest_and_concat_does_not():
    assert merged(9, "add", 2, 3) == [2, 4]
    assert merged(10, "mul", 3, 2) == [1, 4]
    assert merged(6, "relu", 2, 2) == [2, 4]  # several inputs of any other operation are summed first
    assert merged(11, "concat", 2, 3) == [1, 2, 1, 2, 3]


def test_one_wide_input_is_cut_and_a_narrow_one_is_refused():
    network = single(conv("c", 8, 4, 5))
    x = torch.randn(1, 8, 8, 8)
    assert torch.equal(network(x), network(x[:, :4]))
    with pytest.raises(ValueError, match=r"node c \(conv2d\): it gets 3 input channels and needs 4"):
        network(x[:, :3])


def test_several_outputs_are_a_list_and_never_squeezed():
    nodes = [regular("i", "input", 1, 1, 3), regular("a", "relu", 6, 1, 3), regular("b", "sigmoid", 14, 1, 3)]
    first, second = TorchNetwork(graph(nodes, [(0, 1), (0, 2)]))(torch.zeros(2, 3, 1, 1))
    assert first.shape == second.shape == (2, 3, 1, 1)
    assert first.max() == 0
    assert second.min() == 0.5


def test_squeezing():
    network = TorchNetwork(graph([regular("i", "input", 1, 1, 3)], []))
    assert network(torch.zeros(2, 3, 1, 1)).shape == (2, 3)
    with pytest.raises(ValueError, match="larger than 1x1"):
        network(torch.zeros(2, 3, 8, 8))


def test_unknown_operations_are_refused():
    with pytest.raises(ValueError, match=r"node x .*no PyTorch network of 'spacetobatchnd' is registered"):
        single(regular("x", "spacetobatchnd", 20, 8, 3))
    with pytest.raises(ValueError, match=r"node x .*unknown operation 'mish'"):
        single(regular("x", "mish", 16, 8, 3))


def test_overrides_replace_operations():
    node = regular("b", "fusedbatchnormv3", 5, 8, 3)
    network = TorchNetwork(graph([node], []), op_overrides={"batchnorm": "identity"})
    assert not list(network.parameters())


def test_anomaly_detection_stays_off():
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize("name", ["hiaml_best", "inception_best", "nb101_best", "nb201_best", "two_path_best"])
def test_published_inputs_give_ten_logits(reference, name):
    network = build_torch_network(load_cg(reference / "published" / "architectures" / f"{name}.pkl"), seed=0)
    with torch.inference_mode():
        assert network.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["vgg/vgg_autogo", "resnet50/autogo_arch1"])
def test_published_imagenet_networks_give_a_thousand(reference, name):
    network = build_torch_network(load_cg(reference / "published" / "architectures" / "samples" / f"{name}.pkl"))
    with torch.inference_mode():
        assert network.eval()(torch.randn(1, 3, 224, 224)).shape == (1, 1000)


def test_published_superresolution_network_keeps_its_map(reference):
    cg = load_cg(reference / "published" / "architectures" / "samples" / "edsr" / "autogo_arch1.pkl")
    with torch.inference_mode():
        assert TorchNetwork(cg, squeeze_output=False)(torch.randn(1, 64, 20, 18)).shape == (1, 64, 20, 18)


@pytest.mark.parametrize("family", ["hiaml", "inception", "nb101", "nb201", "two_path"])
def test_family_networks_give_ten_logits_of_the_recorded_sizes(reference, family):
    with gzip.open(reference / "families" / f"{family}.jsonl.gz") as lines:
        for line in itertools.islice(lines, 2):
            cg = ComputeGraph.from_state_dict(json.loads(line)["graph"])
            network = TorchNetwork(cg).eval()
            sizes = {}
            for step, layer in zip(network.plan.steps, network.layers.values(), strict=True):
                layer.register_forward_hook(lambda m, i, y, key=step.node.str_id, s=sizes: s.update({key: y.shape[1:]}))
            with torch.inference_mode():
                assert network(torch.randn(1, 3, 32, 32)).shape == (1, 10)
            for node in cg.nodes:
                h, w, c = node.out_shape
                assert sizes[node.str_id] == (c, h, w), node.str_id
