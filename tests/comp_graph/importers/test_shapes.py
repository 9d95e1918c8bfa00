"""Channels taken apart, ordered and normalised, and maps that meet in other sizes: in exactly, and out again."""

from functools import partial
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from model_src.comp_graph.exporters.files import export_network  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream  # noqa: E402
from tests.comp_graph.exporters.test_files import check_exports  # noqa: E402
from tests.comp_graph.importers.test_constructs import (  # noqa: E402
    Construct,
    Joined,
    check_same,
    imported,
    labels,
    net_of,
    of,
)


class Parts(nn.Module):
    """Convolutions of parts of a map, side by side in the order of the parts."""

    def __init__(self, split, sizes):
        super().__init__()
        self.split = split
        self.convs = nn.ModuleList([nn.Conv2d(size, 4, 1) for size in sizes])

    def forward(self, x):
        return torch.cat([conv(part) for conv, part in zip(self.convs, self.split(x), strict=True)], 1)


class Excited(nn.Module):
    """Squeeze-and-excite with dense layers, in several spellings."""

    def __init__(self, squeeze, widen, c: int = 12):
        super().__init__()
        self.squeeze, self.widen = squeeze, widen
        self.fc = nn.Sequential(nn.Linear(c, 3), nn.ReLU(), nn.Linear(3, c), nn.Sigmoid())

    def forward(self, x):
        return x * self.widen(self.fc(self.squeeze(x)), x)


class Gated(nn.Module):
    """A map and what a convolution of it to few channels says of every pixel or of all."""

    def __init__(self, join, c: int = 1, pooled: bool = False):
        super().__init__()
        self.conv, self.join = nn.Conv2d(12, c, 1), join
        self.pool = nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity()

    def forward(self, x):
        return self.join(x, torch.sigmoid(self.conv(self.pool(x))))


class Unlike(nn.Module):
    """A sum of two concatenations whose operands run in different orders."""

    def __init__(self):
        super().__init__()
        self.long = nn.Sequential(nn.Conv2d(12, 6, 1), nn.ReLU())
        self.short, self.whole = nn.Conv2d(12, 6, 1), nn.Conv2d(12, 12, 1)

    def forward(self, x):
        return torch.cat([self.long(x), self.short(x)], 1) + self.whole(x)


class Crossed(nn.Module):
    """A sum of two concatenations of the same operands in two orders."""

    def __init__(self):
        super().__init__()
        self.deep, self.short = nn.Sequential(nn.Conv2d(12, 6, 1), nn.ReLU()), nn.Conv2d(12, 6, 1)

    def forward(self, x):
        deep, short = self.deep(x), self.short(x)
        return torch.cat([deep, short], 1) + torch.cat([short, deep], 1)


class LastNorm(nn.Module):
    """A layer normalisation as ConvNeXt has it: channels last, with a dense layer and a scale of every channel."""

    def __init__(self, epsilon: float = 1e-6):
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(12, epsilon), nn.Linear(12, 12)
        self.gamma = nn.Parameter(torch.rand(12))

    def forward(self, x):
        y = self.gamma * F.gelu(self.fc(self.norm(x.permute(0, 2, 3, 1))))
        return x + y.permute(0, 3, 1, 2)


def affine(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return layer


def mean(x):
    return x.mean((2, 3))


def shuffled(x, groups: int):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


SLICES = {
    "chunk": Construct(
        partial(Parts, lambda x: x.chunk(2, 1), (6, 6)), ("slice",) * 2 + ("conv2d",) * 2 + ("concat",), 8
    ),
    "split": Construct(
        partial(Parts, lambda x: torch.split(x, [2, 7, 3], 1), (2, 7, 3)),
        ("slice",) * 3 + ("conv2d",) * 3 + ("concat",),
        12,
    ),
    "slice": Construct(of(lambda x: torch.cat([x[:, 4:], x[:, :4]], 1)), ("slice", "slice", "concat")),
    "every other channel": Construct(of(lambda x: x[:, 1::2]), ("slice",), 6),
    "crop": Construct(of(lambda x: x[:, :, 1:-1, 2:]), ("slice", "slice")),
    "every other pixel": Construct(of(lambda x: x[:, :, ::2, ::2]), ("slice", "slice")),
    "corner": Construct(of(lambda x: F.relu(x)[:, :8, :9]), ("relu", "slice", "slice"), 8),
    "reversed": Construct(of(lambda x: x.flip(1)), ("gather",)),
    "shuffled": Construct(of(partial(shuffled, groups=3)), ("shuffle",)),
    "shuffled back and forth": Construct(of(lambda x: shuffled(shuffled(x, 3), 4)), ("shuffle", "shuffle")),
    "halves swapped": Construct(of(lambda x: x.unflatten(1, (2, 6)).flip(1).flatten(1, 2)), ("gather",)),
    "chosen": Construct(of(lambda x: x.index_select(1, torch.tensor([3, 0, 0, 11]))), ("gather",), 4),
}
SQUEEZED = ("mean", "matmul", "relu", "matmul", "sigmoid", "mul")
GATES = {
    "excited by view": Construct(
        partial(Excited, lambda x: mean(x).view(len(x), -1), lambda s, x: s.view(len(x), 12, 1, 1)), SQUEEZED
    ),
    "excited by index": Construct(partial(Excited, mean, lambda s, x: s[:, :, None, None]), SQUEEZED),
    "excited by expand": Construct(
        partial(Excited, mean, lambda s, x: s.unsqueeze(2).unsqueeze(3).expand_as(x)), SQUEEZED
    ),
    "excited axis by axis": Construct(
        partial(Excited, lambda x: x.mean(3).mean(2), lambda s, x: s[..., None, None]), SQUEEZED
    ),
    "excited by squeezes": Construct(
        partial(
            Excited, lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1), lambda s, x: s[..., None, None]
        ),
        SQUEEZED,
    ),
    "gate of every pixel": Construct(
        partial(Gated, lambda x, gate: x * gate), ("conv2d", "sigmoid", "broadcast", "mul")
    ),
    "gate of one number": Construct(
        partial(Gated, lambda x, gate: gate * x, pooled=True), ("mean", "conv2d", "sigmoid", "broadcast", "mul")
    ),
    "sum with one pixel": Construct(
        partial(Gated, lambda x, gate: x + gate, 12, True), ("mean", "conv2d", "sigmoid", "broadcast", "add")
    ),
    "rows by columns": Construct(
        of(lambda x: x * torch.tanh(x[:, :, :1]) + x[:, :, :1] * x[:, :, :, :1]),
        ("slice",) * 3 + ("tanh",) + ("broadcast",) * 3 + ("mul", "mul", "add"),
    ),
    "softmax": Construct(of(lambda x: x * torch.softmax(x, 1)), ("softmax", "mul")),
    "clipped": Construct(of(lambda x: F.hardtanh(x, -0.5, 0.7)), ("clip",)),
    "clipped to a share": Construct(of(lambda x: x * torch.clamp(x + 0.5, 0, 1)), ("scale", "clip", "mul")),
    "square": Construct(of(lambda x: x + x**2), ("identity", "mul", "add")),
}
NORMS = {
    "layer norm": Construct(LastNorm, ("layernorm", "matmul", "gelu", "depthwise", "add")),
    "layer norm and its scale": Construct(partial(LastNorm, 0.1), ("layernorm", "matmul", "gelu", "depthwise", "add")),
    "group norm": Construct(lambda: affine(nn.GroupNorm(3, 12, 1e-3)), ("groupnorm",)),
    "instance norm": Construct(lambda: affine(nn.InstanceNorm2d(12, affine=True)), ("groupnorm",)),
}
ORDERS = {
    "channels of other groups": Construct(
        partial(Joined, 3),
        ("conv2d", "conv2d", "relu", "port", "port", "concat", "grouped_conv", "fusedbatchnormv3", "relu"),
    ),
    "operands in two orders": Construct(
        Crossed, ("conv2d", "conv2d", "relu") + ("port",) * 4 + ("concat", "concat", "add")
    ),
    "operands in other orders": Construct(Unlike, ("conv2d",) * 3 + ("relu", "port", "port", "concat", "add")),
}
CONSTRUCTS = SLICES | GATES | NORMS | ORDERS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["module", pytest.param("file", marks=pytest.mark.slow)])
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
