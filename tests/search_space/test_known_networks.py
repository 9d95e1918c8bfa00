"""Networks for full-size images, and their files."""

import pytest
import torch

import constants
from model_src.comp_graph.graph_ops import canonical_hash, same_topology
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, correct_cg_for_downstream, parameter_count
from model_src.search_space import known_networks
from model_src.search_space.known_networks import SAMPLES, edsr_encoder, fsrcnn, resnet, vgg16_bn


@pytest.mark.parametrize(("name", "build"), [("resnet50/resnet50", lambda: resnet(50)), ("vgg/vgg16_bn", vgg16_bn)])
def test_isomorphic_with_the_published_file(reference, name, build):
    published = load_cg(reference / "published" / "architectures" / "samples" / f"{name}.pkl")
    cg = build()
    assert same_topology(cg, published)
    assert (cg.name, cg.input_shape, cg.normalisers) == (published.name, published.input_shape, published.normalisers)


def test_the_found_superresolution_networks_start_like_ours(reference):
    """The published file of the input is lost; what a search has left of it in a result is the first 12 blocks."""
    found = load_cg(reference / "published" / "architectures" / "samples" / "edsr" / "autogo_arch1.pkl")
    cg = edsr_encoder()
    assert cg.input_shape == found.input_shape
    ours, theirs = ([(n.label.split("_")[0].rstrip("n"), n.digest) for n in g.regular_nodes] for g in (cg, found))
    assert ours[:25] == theirs[:25]  # input, and relu and add of 12 blocks
    assert [node.digest for node in cg.weighted_nodes[:24]] == [node.digest for node in found.weighted_nodes[:24]]


@pytest.mark.parametrize(
    ("name", "nodes", "mflops", "millions"),
    [
        ("edsr/edsr.pkl", 67, 140739.3792, 1.219),
        ("fsrcnn/fsrcnn_m3.pkl", 15, 1323.8784, 0.011),
        ("fsrcnn/fsrcnn_m4.pkl", 17, 1475.9424, 0.013),
        ("resnet101/resnet101.pkl", 322, 13785.516368, 43.131),
        ("resnet50/resnet50.pkl", 152, 6306.482512, 24.113),
        ("unet/unet.pkl", 39, 3208.085504, 0.467),
        ("vgg/vgg16_bn.pkl", 48, 30805.729232, 15.236),
    ],
)
def test_sizes_and_shipped_files(op2i, name, nodes, mflops, millions):
    cg = SAMPLES[name]()
    assert cg.n_nodes == nodes
    assert compute_cg_flops(cg, op2i) == pytest.approx(mflops, rel=1e-9)
    assert parameter_count(cg) / 1e6 == pytest.approx(millions, abs=1e-3)
    assert canonical_hash(correct_cg_for_downstream(cg, *cg.input_shape[1:])) == canonical_hash(cg)
    shipped = load_cg(constants.ROOT / "architectures" / "samples" / name)
    assert shipped.state_dict() == cg.state_dict()


def test_a_transposed_convolution_enlarges_the_map():
    """What is left out at its ends is what PyTorch leaves out of the same layer."""
    graph, kernel = fsrcnn(3), torch.randn(56, 1, 9, 9)
    network = build_torch_network(graph, seed=0, squeeze_output=False).eval()
    layer = next(one for one in network.modules() if isinstance(one, torch.nn.ConvTranspose2d))
    layer.weight.data, x = kernel, torch.randn(1, 56, 8, 6)
    full = torch.nn.functional.conv_transpose2d(x, kernel, layer.bias, 2)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), full[:, :, 3:-4, 3:-4])
        assert network(torch.randn(1, 1, 8, 6)).shape == (1, 1, 16, 12)


def test_the_script_writes_the_files(tmp_path):
    assert known_networks.main(["-output_dir", str(tmp_path)]) == 0
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pkl")) == sorted(SAMPLES)


def test_other_depths_are_refused():
    with pytest.raises(ValueError, match="depth 18; known are 50, 101"):
        resnet(18)
