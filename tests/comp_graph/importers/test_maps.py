"""Modules that change the sizes of maps or look at windows come in exactly, and go out again to every format."""

from functools import partial
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from model_src.comp_graph.exporters.files import export_network  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream  # noqa: E402
from tests.comp_graph.exporters.test_files import check_exports  # noqa: E402
from tests.comp_graph.importers.test_constructs import Construct, check_same, labels, net_of, of  # noqa: E402

up = partial(partial, nn.Upsample)
transposed = partial(partial, nn.ConvTranspose2d)

WINDOWS = {
    "dilated": Construct(partial(nn.Conv2d, 12, 12, 3, padding=2, dilation=2), ("conv2d",)),
    "dilated, strided, uneven": Construct(
        partial(nn.Conv2d, 12, 12, (3, 2), (2, 1), (3, 0), (3, 2)), ("conv2d", "paddings")
    ),
    "dilated depthwise": Construct(partial(nn.Conv2d, 12, 12, 3, padding=2, dilation=2, groups=12), ("depthwise",)),
    "padded by too much": Construct(partial(nn.Conv2d, 12, 12, 3, padding=3), ("conv2d", "paddings")),
    "maximum of negative numbers": Construct(partial(nn.MaxPool2d, 3, 2, 1), ("maxpool",)),
    "maximum, ceil": Construct(partial(nn.MaxPool2d, 3, 2, ceil_mode=True), ("maxpool",)),
    "maximum, ceil, padded": Construct(partial(nn.MaxPool2d, (3, 2), 2, (1, 0), ceil_mode=True), ("maxpool",)),
    "maximum, dilated": Construct(partial(nn.MaxPool2d, 3, 1, 1, dilation=2), ("maxpool",)),
    "average of real pixels": Construct(partial(nn.AvgPool2d, 3, 2, 1, count_include_pad=False), ("avgpool",)),
    "average with zeros": Construct(partial(nn.AvgPool2d, 3, 2, 1), ("avgpool", "paddings")),
    "average with zeros, ceil": Construct(
        partial(nn.AvgPool2d, (3, 2), 2, (1, 0), ceil_mode=True), ("avgpool", "paddings")
    ),
    "average, ceil": Construct(partial(nn.AvgPool2d, 2, 2, ceil_mode=True), ("avgpool",)),
    "average, ceil, padded": Construct(
        partial(nn.AvgPool2d, 3, 2, 1, ceil_mode=True, count_include_pad=False), ("avgpool",)
    ),
    "response normalisation": Construct(partial(nn.LocalResponseNorm, 5, 0.3, 0.6, 2.0), ("lrn",)),
    "maximum of all": Construct(of(lambda x: x * x.amax((2, 3), keepdim=True)), ("globalmax", "mul")),
    "maximum of all as a pool": Construct(
        of(lambda x: x + x * F.adaptive_max_pool2d(x, 1)), ("add", "globalmax", "mul")
    ),
}
PADS = {
    "zeros": Construct(of(lambda x: F.relu(F.pad(x, (1, 2, 0, 3)))), ("paddings", "relu")),
    "numbers": Construct(of(lambda x: F.pad(x, (1, 2, 0, 3), value=-0.7)), ("paddings",)),
    "reflect": Construct(partial(nn.ReflectionPad2d, (1, 2, 0, 3)), ("paddings",)),
    "replicate": Construct(partial(nn.ReplicationPad2d, (1, 2, 0, 3)), ("paddings",)),
    "circular": Construct(partial(nn.CircularPad2d, (1, 2, 0, 3)), ("paddings",)),
    "cropped": Construct(of(lambda x: F.relu(F.pad(x, (-1, 2, 1, -3)))), ("paddings", "relu")),
    "channels": Construct(of(lambda x: F.pad(x, (0, 0, 0, 0, 2, 3))), ("pad_channels",), 17),
    "channels and pixels": Construct(
        of(lambda x: F.relu(F.pad(x, (1, 0, 0, 1, 0, 4)))), ("pad_channels", "paddings", "relu"), 16
    ),
    "of a convolution": Construct(
        partial(nn.Conv2d, 12, 12, 3, padding=1, padding_mode="reflect"), ("conv2d", "paddings")
    ),
}
SIZES = {
    "nearest": Construct(up(scale_factor=2), ("resize",)),
    "nearest to a size": Construct(up(size=(13, 20)), ("resize",)),
    "nearest, smaller": Construct(up(size=(5, 4)), ("resize",)),
    "bilinear": Construct(up(scale_factor=2, mode="bilinear"), ("resize",)),
    "bilinear, corners": Construct(up(scale_factor=3, mode="bilinear", align_corners=True), ("resize",)),
    "bilinear to a size": Construct(up(size=(17, 6), mode="bilinear"), ("resize",)),
    "bicubic": Construct(up(scale_factor=2, mode="bicubic"), ("resize",)),
    "transposed": Construct(transposed(12, 9, 4, 2, 1), ("conv2d_transpose",), 9),
    "transposed without bias": Construct(transposed(12, 12, 3, 2, 1, 1, bias=False), ("conv2d_transpose",)),
    "transposed, uneven": Construct(transposed(12, 9, (2, 5), (3, 1), (0, 2), (2, 0)), ("conv2d_transpose",), 9),
    "transposed in groups": Construct(transposed(12, 8, 3, 2, 1, 1, groups=4), ("conv2d_transpose",), 8),
    "transposed, dilated": Construct(transposed(12, 12, 3, 1, 2, dilation=2), ("conv2d_transpose",)),
    "transposed, nothing left out": Construct(transposed(12, 12, 2, 2), ("conv2d_transpose",)),
    "pixel shuffle": Construct(partial(nn.PixelShuffle, 2), ("depthtospacend",), 3),
}
TRIED = WINDOWS | PADS | SIZES
ONLY_TORCH = {"bicubic", "transposed in groups", "dilated, strided, uneven"}


@pytest.mark.parametrize("name", TRIED)
def test_it_comes_in_exactly_and_costs_what_it_does(name):
    construct = TRIED[name]
    module, image = net_of(construct)
    found = from_torch(module, image, "net")
    around = ["conv2d"] * 3 + ["fusedbatchnormv3"] * 2 + ["input", "output"]
    assert labels(found.graph) == sorted([*around, *construct.found])
    check_same(module, found, image)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(image[:1])
    biases = sum(
        node.out_shape[0] * node.out_shape[1] * node.out_shape[2] * node.use_bias for node in found.graph.nodes
    )
    ours = sum(node.operation.macs(node) for node in found.graph.weighted_nodes) - biases
    assert 2 * ours == counter.get_total_flops()


@pytest.mark.parametrize("name", TRIED)
def test_it_goes_out_again(name, tmp_path):
    found = from_torch(*net_of(TRIED[name]), "net")
    check_exports(found.graph)
    (path,) = export_network(found.graph, tmp_path / "net", ["onnx"], rebuild(found))
    assert canonical_hash(load_cg(path)) == canonical_hash(found.graph)
    assert canonical_hash(correct_cg_for_downstream(found.graph, 10, 9, 3)) == canonical_hash(found.graph)


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
@pytest.mark.parametrize("name", TRIED)
def test_it_is_the_same_in_tensorflow(name):
    from model_src.comp_graph.exporters.tensorflow import tf_twin

    module, image = net_of(TRIED[name])
    found = from_torch(module, image, "net")
    if name in ONLY_TORCH:
        with pytest.raises(ValueError, match=r"^node .*TensorFlow"):
            tf_twin(found.graph, rebuild(found))
        return
    with torch.inference_mode():
        theirs = module.eval()(image)
    ours = tf_twin(found.graph, rebuild(found))(image.permute(0, 2, 3, 1).numpy(), training=False)
    ours = torch.from_numpy(ours.numpy()).permute(0, 3, 1, 2)
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_windows_that_begin_behind_the_map_are_refused():
    with pytest.raises(ValueError, match=r"\(AveragePool\): a window begins behind the map, .* without ceil_mode"):
        from_torch(*net_of(Construct(partial(nn.AvgPool2d, 2, 2, 1, ceil_mode=True), ())), "net")
