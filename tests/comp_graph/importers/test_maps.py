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
from tests.comp_graph.importers.test_constructs import Construct, Function, check_same, labels, net_of, of  # noqa: E402

up = partial(partial, nn.Upsample)
transposed = partial(partial, nn.ConvTranspose2d)

TO_CHANNELS = ("paddings", "spacetodepthnd")


def blocks_apart(*order: int) -> "partial[nn.Module]":
    """Channels become blocks of 2 x 2 pixels."""
    return of(lambda x: x.view(len(x), 2, 2, 3, 10, 9).permute(order).reshape(len(x), 3, 20, 18))


def blocks_joined(*order: int) -> "partial[nn.Module]":
    """Blocks of 2 x 2 pixels become channels."""
    return of(lambda x: F.pad(x, (0, 1)).view(len(x), 12, 5, 2, 5, 2).permute(order).reshape(len(x), 48, 5, 5))


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
    "average to a size": Construct(partial(nn.AdaptiveAvgPool2d, (5, 3)), ("avgpool",)),
    "average to more pixels": Construct(partial(nn.AdaptiveAvgPool2d, (20, 18)), ("resize",)),
    "average of windows that overlap": Construct(partial(nn.AdaptiveAvgPool2d, 7), ("opaque",)),
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
    "joined zeros": Construct(
        of(lambda x: torch.cat([torch.zeros_like(x), F.relu(x), x.new_zeros(len(x), 3, 10, 9)], 1)),
        ("pad_channels", "relu"),
        27,
    ),
    "of a convolution": Construct(
        partial(nn.Conv2d, 12, 12, 3, padding=1, padding_mode="reflect"), ("conv2d", "paddings")
    ),
}
SIZES = {
    "nearest": Construct(up(scale_factor=2), ("resize",)),
    "nearest to a size": Construct(up(size=(13, 20)), ("resize",)),
    "nearest, smaller": Construct(up(size=(5, 4)), ("resize",)),
    "nearest to the middle": Construct(up(size=(13, 20), mode="nearest-exact"), ("resize",)),
    "nearest to the middle, by a factor": Construct(up(scale_factor=1.5, mode="nearest-exact"), ("resize",)),
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
    "pixel shuffle by hand": Construct(blocks_apart(0, 3, 4, 1, 5, 2), ("depthtospacend",), 3),
    "pixel shuffle, channels in another order": Construct(
        blocks_apart(0, 3, 4, 2, 5, 1), ("depthtospacend", "gather"), 3
    ),
    "pixels to channels": Construct(of(lambda x: F.pixel_unshuffle(F.pad(x, (0, 1)), 2)), TO_CHANNELS, 48),
    "pixels to channels by hand": Construct(blocks_joined(0, 3, 5, 1, 2, 4), TO_CHANNELS, 48),
    "pixels to channels in another order": Construct(blocks_joined(0, 5, 3, 1, 2, 4), (*TO_CHANNELS, "gather"), 48),
}
TRIED = WINDOWS | PADS | SIZES
ONLY_TORCH = {
    "average of windows that overlap",
    "bicubic",
    "transposed in groups",
    "dilated, strided, uneven",
}


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
        with pytest.raises(ValueError, match=r"^node .*(TensorFlow|Keras)"):
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


REFUSED = {
    "activation that no graph has": (nn.CELU(), r"^node '1\.celu' \(Celu\): it cannot be represented"),
    "maximum of windows that overlap": (
        nn.AdaptiveMaxPool2d(7),
        r"^torch.export cannot trace the module: .*max_pool2d",
    ),
    "minus infinity as a mask": (
        Function(lambda x: x.masked_fill(x < 0, -torch.inf)),
        r"\(Less\): .*'val_2' of .* cannot be kept",
    ),
    "smoothed in front of a resize": (
        Function(lambda x: F.interpolate(x, (5, 5), mode="bilinear", antialias=True)),
        r"\(Resize\): a resize that PyTorch does not have .*antialias 1",
    ),
    "resize that cuts pixels": (nn.Upsample(scale_factor=1.3, mode="bilinear"), r"\(Resize\): by factors of .* give"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_held_is_refused_in_a_line(name):
    tried, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason) as refusal:
        from_torch(nn.Sequential(nn.Conv2d(3, 12, 3), tried, nn.Conv2d(12, 4, 1)), torch.zeros(1, 3, 18, 18))
    assert "\n" not in str(refusal.value)
