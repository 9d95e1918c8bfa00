"""What a PyTorch module may be made of: it comes in exactly, as a module or ONNX file, and goes out again."""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from model_src.comp_graph.exporters.files import export_network  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.importers.imported import ImportedNetwork  # noqa: E402
from model_src.comp_graph.importers.onnx.reader import load_onnx  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream  # noqa: E402
from model_src.comp_graph.validate import validate  # noqa: E402
from tests.comp_graph.exporters.test_files import check_exports  # noqa: E402
from tests.comp_graph.importers.test_torch import conv_bn, with_statistics  # noqa: E402


class Net(nn.Module):
    """Two convolutions with what is tried between them, on a map of `width` channels."""

    def __init__(self, tried, width: int = 12, width_after: int = 0):
        super().__init__()
        self.first = conv_bn(3, width, 3, act=nn.Identity)
        self.tried = tried
        self.last = nn.Sequential(conv_bn(width_after or width, 6, 1, act=nn.Identity), nn.Conv2d(6, 6, 3))

    def forward(self, x):
        return self.last(self.tried(self.first(x)))


class Joined(nn.Module):
    """A long and a short branch side by side, so that the graph's networks join them in another order."""

    def __init__(self, groups: int):
        super().__init__()
        self.long, self.short = nn.Sequential(nn.Conv2d(12, 6, 1), nn.ReLU()), nn.Conv2d(12, 6, 1)
        self.grouped = conv_bn(12, 12, 3, groups=groups)

    def forward(self, x):
        return self.grouped(torch.cat([self.long(x), self.short(x)], 1))


@dataclass(frozen=True)
class Construct:
    """What is tried, and what the graph holds for it.

    Attributes:
        make: Makes the module.
        found: Labels of the nodes between the two convolutions, in any order.
        width_after: Channels that it leaves, if not 12.
    """

    make: "partial[nn.Module] | type[nn.Module]"
    found: tuple[str, ...]
    width_after: int = 0


GROUPED = {
    "grouped": Construct(partial(nn.Conv2d, 12, 12, 3, padding=1, groups=3), ("grouped_conv",)),
    "grouped without bias": Construct(partial(nn.Conv2d, 12, 18, 1, groups=6, bias=False), ("grouped_conv",), 18),
    "grouped, strided": Construct(partial(nn.Conv2d, 12, 8, 5, 2, 2, groups=4), ("grouped_conv", "paddings"), 8),
    "grouped, dilated": Construct(
        partial(nn.Conv2d, 12, 24, 3, padding=2, dilation=2, groups=2), ("grouped_conv",), 24
    ),
    "channel multiplier": Construct(partial(nn.Conv2d, 12, 24, 3, padding=1, groups=12), ("grouped_conv",), 24),
    "whole groups in another order": Construct(
        partial(Joined, 4), ("conv2d", "conv2d", "relu", "concat", "grouped_conv", "fusedbatchnormv3", "relu")
    ),
}


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def prelu(n: int) -> nn.Module:
    layer = nn.PReLU(n)
    nn.init.uniform_(layer.weight, -0.5, 0.5)
    return layer


def gelu_by_hand(x):
    return 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


ACTIVATIONS = {
    "leaky relu": Construct(partial(nn.LeakyReLU, 0.1), ("leakyrelu",)),
    "leaky relu of a negative slope": Construct(partial(Function, lambda x: F.leaky_relu(x, -0.3)), ("leakyrelu",)),
    "prelu": Construct(partial(prelu, 12), ("prelu",)),
    "prelu of one slope": Construct(partial(prelu, 1), ("prelu",)),
    "elu": Construct(nn.ELU, ("elu",)),
    "elu with a scale": Construct(partial(nn.ELU, 0.7), ("elu",)),
    "hard swish": Construct(nn.Hardswish, ("hardswish",)),
    "hard swish by relu6": Construct(partial(Function, lambda x: x * F.relu6(x + 3.0) / 6.0), ("hardswish",)),
    "hard swish by hard sigmoid": Construct(partial(Function, lambda x: x * F.hardsigmoid(x)), ("hardswish",)),
    "hard sigmoid": Construct(nn.Hardsigmoid, ("hardsigmoid",)),
    "selu": Construct(nn.SELU, ("elu", "scale")),
    "hard sigmoid by relu6": Construct(partial(Function, lambda x: F.relu6(x + 3) / 6), ("hardsigmoid",)),
    "swish": Construct(nn.SiLU, ("swish",)),
    "swish by sigmoid": Construct(partial(Function, lambda x: x * torch.sigmoid(x)), ("swish",)),
    "gelu": Construct(nn.GELU, ("gelu",)),
    "gelu by tanh": Construct(partial(nn.GELU, approximate="tanh"), ("gelu_tanh",)),
    "gelu by tanh, by hand": Construct(partial(Function, gelu_by_hand), ("gelu_tanh",)),
}


class Constants(nn.Module):
    """A function of a map and of constants, one for each of its 12 channels."""

    def __init__(self, function, c_in: int = 12):
        super().__init__()
        self.function = function
        self.a, self.b = (nn.Parameter(torch.rand(c_in, 1, 1) + 0.5) for _ in "ab")

    def forward(self, x):
        return self.function(x, self.a, self.b)


class FoldedNorm(nn.Sequential):
    """A convolution, and its normalisation as a product and a sum."""

    def __init__(self):
        super().__init__(nn.Conv2d(12, 12, 3, padding=1), Constants(lambda x, a, b: x * a + b), nn.ReLU())


def of(function) -> "partial[nn.Module]":
    return partial(Function, function)


def by_channel(function) -> "partial[nn.Module]":
    return partial(Constants, function)


CONSTANTS = {
    "factor": Construct(of(lambda x: F.relu(x) * 0.17), ("relu", "scale")),
    "offset": Construct(of(lambda x: F.relu(x) + 3), ("relu", "scale")),
    "factor and offset": Construct(of(lambda x: F.relu(x) * 2 - 0.3), ("relu", "scale")),
    "quotient": Construct(of(lambda x: F.relu(x) / 255), ("relu", "scale")),
    "negative": Construct(of(lambda x: -x), ("scale",)),
    "from a number": Construct(of(lambda x: 1 - x), ("scale",)),
    "nothing": Construct(of(lambda x: (F.relu(x) * 1 + 0) / 1 - 0), ("relu",)),
    "offset of what is read twice": Construct(of(lambda x: torch.cat([x * 1 + 2, x], 1)), ("scale", "concat"), 24),
    "sum of a list": Construct(of(lambda x: sum([F.relu(x), torch.tanh(x)])), ("relu", "tanh", "add")),
    "scaled branch": Construct(of(lambda x: x + 0.1 * F.relu(x)), ("relu", "scale", "add")),
    "difference": Construct(of(lambda x: x - 2 * torch.tanh(x)), ("tanh", "scale", "scale", "add")),
    "ratio": Construct(of(lambda x: x / (1 + torch.sigmoid(x))), ("sigmoid", "scale", "reciprocal", "mul")),
    "number by a map": Construct(of(lambda x: 3 / (1 + torch.sigmoid(x))), ("sigmoid", "scale", "reciprocal", "scale")),
    "factors": Construct(by_channel(lambda x, a, b: F.relu(x) * a), ("relu", "depthwise")),
    "factors and offsets": Construct(by_channel(lambda x, a, b: F.relu(x) * a + b), ("relu", "fusedbatchnormv3")),
    "normalised": Construct(by_channel(lambda x, a, b: (F.relu(x) - a) / b), ("relu", "depthwise", "depthwise")),
    "from numbers": Construct(by_channel(lambda x, a, b: a - F.relu(x)), ("relu", "depthwise")),
    "folded normalisation": Construct(FoldedNorm, ("conv2d", "fusedbatchnormv3", "relu")),
}
CONSTRUCTS = GROUPED | ACTIVATIONS | CONSTANTS


def imported(module: nn.Module, image: torch.Tensor, way: str, folder: Path) -> ImportedNetwork:
    """What becomes of a module by way of `module` or an ONNX `file`."""
    if way == "module":
        return from_torch(module, image, "net")
    path = folder / "net.onnx"
    torch.onnx.export(module.eval(), (image,), path, dynamo=True, optimize=False, verbose=False)
    return load_onnx(path, normalisers=None)


def check_same(module: nn.Module, found: ImportedNetwork, image: torch.Tensor) -> None:
    """Both images of a batch give the same in both networks, and each something else."""
    with torch.inference_mode():
        theirs, ours = module.eval()(image), rebuild(found)(image)
    scale = theirs.abs().max()
    assert ours.shape == theirs.shape
    assert (theirs[0] - theirs[1]).abs().max() > 1e-3 * scale
    assert (ours - theirs).abs().max() <= 1e-6 * scale


def labels(cg: ComputeGraph) -> list[str]:
    return sorted(node.label for node in cg.nodes)


def net_of(construct: Construct) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return with_statistics(Net(construct.make(), width_after=construct.width_after)), torch.randn(2, 3, 10, 9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["module", "file"])
@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_comes_in_exactly(name, way, tmp_path):
    construct = CONSTRUCTS[name]
    module, image = net_of(construct)
    found = imported(module, image, way, tmp_path)
    around = ["conv2d"] * 3 + ["fusedbatchnormv3"] * 2 + ["input", "output"]
    assert labels(found.graph) == sorted([*around, *construct.found])
    check_same(module, found, image)


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_goes_out_again(name, tmp_path):
    found = from_torch(*net_of(CONSTRUCTS[name]), "net")
    check_exports(found.graph)
    (path,) = export_network(found.graph, tmp_path / "net", ["onnx"], rebuild(found))
    assert canonical_hash(load_cg(path)) == canonical_hash(found.graph)
    assert canonical_hash(correct_cg_for_downstream(found.graph, 10, 9, 3)) == canonical_hash(found.graph)


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_is_the_same_in_tensorflow(name):
    from model_src.comp_graph.exporters.tensorflow import tf_twin

    module, image = net_of(CONSTRUCTS[name])
    found = from_torch(module, image, "net")
    with torch.inference_mode():
        theirs = module.eval()(image)
    ours = tf_twin(found.graph, rebuild(found))(image.permute(0, 2, 3, 1).numpy(), training=False)
    ours = torch.from_numpy(ours.numpy()).permute(0, 3, 1, 2)
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_a_normalised_image_comes_in_exactly():
    torch.manual_seed(0)
    module = nn.Sequential(Constants(lambda x, a, b: (x / 255 - a) / b, 3), with_statistics(Net(nn.ReLU()))).eval()
    image = 255 * torch.rand(2, 3, 8, 8)
    found = from_torch(module, image)
    found_labels = [one for one in labels(found.graph) if one in ("scale", "depthwise")]
    assert found_labels == ["depthwise", "depthwise", "scale"]
    check_same(module, found, image)


def test_a_clip_that_ends_at_the_largest_number_comes_in():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardtanh(0.5, torch.finfo(torch.float32).max))
    found = from_torch(module, torch.zeros(1, 3, 8, 8))
    (clip,) = (node for node in found.graph.nodes if node.op_name == "clip")
    assert clip.metadata == {"min": 0.5, "max": torch.finfo(torch.float32).max}
    validate(found.graph)
