"""Classification, pose and segmentation networks without TensorFlow."""

import subprocess
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import constants  # noqa: E402
from model_src.comp_graph.exporters.trace import trace  # noqa: E402
from model_src.comp_graph.networks.tasks import (  # noqa: E402
    CONFIGS,
    SegmentationNetwork,
    TaskConfig,
    cg_class,
    cg_hpe,
    cg_seg,
    classification_graph,
    pose_graph,
    segmentation_graph,
)
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode  # noqa: E402
from model_src.files import InputError, save_pickle  # noqa: E402
from tests.conftest import conv, regular  # noqa: E402

SAMPLES = constants.ROOT / "architectures" / "samples"


def shapes(result) -> list[tuple[int, ...]]:
    return [tuple(one.shape) for one in (result if isinstance(result, list) else [result])]


def run(network, size: int, channels: int = 3) -> list[tuple[int, ...]]:
    with torch.inference_mode():
        return shapes(network.eval()(torch.zeros(1, channels, size, size)))


def test_the_networks_of_the_samples():
    resnet, vgg = SAMPLES / "resnet50" / "resnet50.pkl", SAMPLES / "vgg" / "vgg16_bn.pkl"
    assert run(cg_class(resnet), 224) == [(1, 1000)]
    network, channels = cg_hpe(resnet)
    assert channels == 2048
    assert run(network, 256) == [(1, 2048, 8, 8)]
    network, config = cg_seg(resnet)
    assert config == TaskConfig(2048, 2048, 1024, "relu")
    assert run(network, 233) == [(1, 2048, 30, 30), (1, 1024, 30, 30)]
    assert run(cg_hpe(vgg)[0], 64) == [(1, 512, 2, 2)]
    network = cg_seg(vgg)[0]
    assert run(network, 128) == [(1, 512, 16, 16), (1, 256, 16, 16)]
    assert run(network, 160) == [(1, 512, 20, 20), (1, 256, 20, 20)]  # no size is remembered


def test_the_graphs_of_resnet():
    cg = segmentation_graph(
        pose_graph(classification_graph(SAMPLES / "resnet50" / "resnet50.pkl")), CONFIGS["resnet50.pkl"]
    )
    assert (cg.n_nodes, cg.normalisers) == (151, constants.DOMAIN_NORMALISERS)
    assert (126, 150) in cg.edge_pairs
    assert list(cg.edge_pairs) == sorted(cg.edge_pairs)
    assert (cg.nodes[126].label, cg.nodes[126].resolution) == ("relu", (7, 7, 7, 7, 1024, 1024))
    new = cg.nodes[150]
    assert (new.str_id, new.label, new.op_type_idx) == ("new_output", "output_aux", 2)
    assert cg.name == "ResNet-V1-50"
    assert cg.nodes[149].label == "output"


@pytest.mark.parametrize(
    ("name", "key"), [("resnet50/autogo_arch1", "resnet50.pkl"), ("vgg/vgg_autogo", "vgg16_bn.pkl")]
)
def test_published_mutants_name_their_original(reference, name, key):
    path = reference / "published" / "architectures" / "samples" / f"{name}.pkl"
    c = CONFIGS[key].pose_channels
    assert run(cg_hpe(path, key)[0], 64) == [(1, c, 2, 2)]
    assert [shape[:2] for shape in run(cg_seg(path, key)[0], 128)] == [(1, c), (1, c // 2)]
    with pytest.raises(InputError, match=r"no configuration .*; give config_name, one of resnet50.pkl"):
        cg_hpe(path)


@pytest.mark.slow
def test_segmentation_at_the_published_size():
    assert run(cg_seg(SAMPLES / "resnet50" / "resnet50.pkl")[0], 713) == [(1, 2048, 90, 90), (1, 1024, 90, 90)]


def small_classifier() -> ComputeGraph:
    """14x14: convolution of stride 2, pool, mean, dense; a padding node in front."""
    nodes = [
        conv("c", 14, 3, 8, stride=2, use_bias=True),
        WeightedNode("d", "matmul", 8, (1, 1, 1, 1, 8, 5), None, {"use_bias": True}, (8, 5, 0, 0)),
        regular("i", "input", 1, 14, 3),
        regular("p", "paddings", 18, 14, 3, metadata={"pad_h": (0, 0), "pad_w": (0, 0)}),
        regular("r", "relu", 6, 7, 8),
        regular("t", "tanh", 15, 7, 8),
        regular("m", "mean", 19, 7, 8, 1),
        regular("o", "output", 2, 1, 5),
    ]
    edges = [(2, 3), (3, 0), (0, 4), (4, 5), (5, 6), (6, 1), (1, 7)]
    return ComputeGraph.from_nodes("small", (1, 14, 14, 3), nodes, edges)


def test_pose_cuts_behind_the_last_map(tmp_path):
    save_pickle(small_classifier(), tmp_path / "small.pkl")
    cg = pose_graph(classification_graph(tmp_path / "small.pkl"))
    assert [node.label for node in cg.nodes] == ["conv2d", "input", "relu", "tanh", "output"]
    assert cg.input_shape == (1, 224, 224, 3)
    assert cg.nodes[0].resolution == (224, 112, 224, 112, 3, 8)
    flat = replace(
        small_classifier(), weighted_nodes=(), regular_nodes=(regular("i", "input", 1, 1, 3),), edge_pairs=()
    )
    with pytest.raises(ValueError, match="no map is larger than 1x1"):
        pose_graph(flat)


@pytest.mark.parametrize(
    ("h", "stride", "kept_stride", "dilation"),
    [(40, 1, 1, 1), (19, 1, 1, 2), (9, 1, 1, 4), (40, 2, 2, 1), (38, 2, 1, 2), (18, 2, 1, 4)],
)
def test_small_convolutions_dilate_instead_of_striding(h, stride, kept_stride, dilation):
    node = conv("c", h, 2, 2, stride, padding="valid")
    (layer,) = SegmentationNetwork(ComputeGraph.from_nodes("n", (1, h, h, 2), [node], [])).layers.values()
    assert (layer.stride, layer.dilation) == ((kept_stride,) * 2, (dilation,) * 2)
    assert layer.window.same == (dilation > 1)


def test_weights_of_the_classifier_fit_the_other_networks():
    path = SAMPLES / "vgg" / "vgg16_bn.pkl"
    classifier, pose, segmentation = cg_class(path), cg_hpe(path)[0], cg_seg(path)[0]
    missing = pose.load_state_dict(classifier.state_dict(), strict=False)
    assert not missing.missing_keys
    assert len(missing.unexpected_keys) == 2
    segmentation.load_state_dict(pose.state_dict())


@pytest.mark.parametrize(("kernel", "size"), [(4, 16), (3, 16), (2, 16)])
def test_transposed_convolutions_double_the_map(kernel, size):
    node = WeightedNode("t", "conv2d_transpose", 3, (8, 16, 8, 16, 2, 3), (1, 2, 2, 1), {}, (2, 3, kernel, kernel))
    network = SegmentationNetwork(ComputeGraph.from_nodes("n", (1, 8, 8, 2), [node], []))
    assert run(network, 8, 2) == [(1, 3, size, size)]


def test_odd_nodes():
    dense = WeightedNode("d", "conv2d", 3, (40, 40, 40, 40, 2, 3), None, {}, (2, 3, 0, 0))
    assert run(SegmentationNetwork(ComputeGraph.from_nodes("n", (1, 40, 40, 2), [dense], [])), 40, 2) == [
        (1, 3, 40, 40)
    ]
    resized = regular("r", "identity", 25, 8, 2, metadata={"align_corners": True})
    odd = replace(dense, label="conv2d_transpose", shape=(2, 3, 5, 5))
    for node, reason in ((resized, "node r .*resized maps"), (odd, "node d .*kernel 5; known are 2, 3 and 4")):
        with pytest.raises(ValueError, match=reason):
            SegmentationNetwork(ComputeGraph.from_nodes("n", (1, 8, 8, 2), [node], []))


def test_only_plain_networks_can_be_exported():
    network = SegmentationNetwork(ComputeGraph.from_nodes("n", (1, 8, 8, 2), [conv("c", 8, 2, 2)], []))
    with pytest.raises(ValueError, match="a SegmentationNetwork is more than its graph"):
        trace(ComputeGraph.from_nodes("n", (1, 8, 8, 2), [conv("c", 8, 2, 2)], []), network)


def test_a_graph_without_the_auxiliary_map_is_refused(tmp_path):
    save_pickle(small_classifier(), tmp_path / "small.pkl")
    with pytest.raises(InputError, match=r"small\.pkl: no relu with 1024 channels"):
        cg_seg(tmp_path / "small.pkl", "resnet50.pkl")


def test_tensorflow_is_not_needed():
    code = "import sys, model_src.comp_graph.networks.tasks; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=constants.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_regular_node_is_copied_for_the_output():
    cg = pose_graph(small_classifier())
    assert isinstance(cg.nodes[-1], RegularNode)
    assert cg.nodes[-1].resolution == (112, 112, 112, 112, 8, 8)
