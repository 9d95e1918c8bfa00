"""PyTorch modules come in with their structure, FLOPs and weights."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.importers.onnx.reader import load_onnx  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream  # noqa: E402


def conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, act: type = nn.ReLU) -> nn.Sequential:
    padding = (kernel - 1) // 2
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), act())


class Residual(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(conv_bn(c_in, c_out, 3, stride), conv_bn(c_out, c_out, 3, act=nn.Identity))
        self.skip = conv_bn(c_in, c_out, 1, stride, act=nn.Identity) if stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


def resnet18_like() -> nn.Module:
    widths = [(8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 24, 2), (24, 24, 1)]
    stem = nn.Sequential(conv_bn(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(
        stem, *(Residual(*w) for w in widths), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(24, 10)
    )


class InvertedResidual(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        wide = 4 * c_in
        self.body = nn.Sequential(
            conv_bn(c_in, wide, 1, act=nn.ReLU6),
            conv_bn(wide, wide, 3, stride, wide, nn.ReLU6),
            conv_bn(wide, c_out, 1, act=nn.Identity),
        )
        self.adds = c_in == c_out and stride == 1

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


class MobileNetLike(nn.Module):
    def __init__(self):
        super().__init__()
        blocks = [InvertedResidual(8, 8, 1), InvertedResidual(8, 12, 2), InvertedResidual(12, 12, 1)]
        self.features = nn.Sequential(conv_bn(3, 8, 3, 2, act=nn.ReLU6), *blocks)
        self.classifier = nn.Linear(12, 10)

    def forward(self, x):
        return F.softmax(self.classifier(self.features(x).mean((2, 3))), 1)


class InceptionLike(nn.Module):
    """Branches of different depth, so that their results come in another order than they are joined in."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 8, 3)
        self.deep = nn.Sequential(nn.Conv2d(8, 4, 1), nn.Conv2d(4, 6, (1, 3), padding="same"), nn.ReLU())
        self.short = nn.Conv2d(8, 5, 1)
        self.pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(8, 3, 1))
        self.norm = nn.BatchNorm2d(14)
        self.depthwise = nn.Conv2d(14, 14, 3, padding=1, groups=14)
        self.last = nn.Conv2d(28, 16, 3, 2)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        x = self.norm(torch.cat([self.deep(x), self.short(x), self.pooled(x)], 1))
        x = torch.cat([self.depthwise(x), F.max_pool2d(F.relu(x), 3, 1, 1)], 1)
        return self.head(self.last(x).mean((2, 3)))


class VggLike(nn.Module):
    """A dense layer on the flattened map."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(3, 3))
        self.classifier = nn.Sequential(nn.Linear(6 * 5 * 5, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 4))

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class Activations(nn.Module):
    """Everything that the other networks do not use."""

    def __init__(self):
        super().__init__()
        self.dilated = nn.Conv2d(3, 6, 3, padding=2, dilation=2)
        self.shifted = nn.Conv2d(6, 6, 4, 2, padding=1)
        self.dense = nn.Linear(6, 6, bias=False)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 6, 1), nn.Sigmoid())

    def forward(self, x):
        x = self.shifted(F.pad(self.dilated(x), (1, 2, 0, 1)))
        x = F.gelu(x) * torch.tanh(x) + F.silu(x)
        x = x + x
        x = self.dense(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()
        x = x * self.gate(x)
        return F.max_pool2d(F.avg_pool2d(x.clamp(0, 6), 3, 2, ceil_mode=True), 3, 1, 1)


def with_statistics(module: nn.Module) -> nn.Module:
    """Normalisations that change something, some of them with a variance near zero."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(1e-4, 2)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return module


def labels(cg: ComputeGraph) -> list[str]:
    return [node.label for node in cg.nodes]


NETWORKS = {
    "resnet18": (resnet18_like, (3, 65, 64)),
    "mobilenet": (MobileNetLike, (3, 32, 32)),
    "inception": (InceptionLike, (3, 17, 16)),
    "vgg": (VggLike, (3, 30, 30)),
    "activations": (Activations, (3, 15, 18)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def imported(request):
    """(module, example, what became of them)."""
    torch.manual_seed(0)
    kind, shape = NETWORKS[request.param]
    module, example = with_statistics(kind()), torch.randn(2, *shape)
    return module, example, from_torch(module, example)


def test_a_rebuilt_network_computes_the_same(imported):
    module, example, found = imported
    assert module.training
    with torch.inference_mode():
        ours = rebuild(found)(example)
        theirs = module.eval()(example)
        module.train()
    assert theirs.abs().max() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_flops_agree_with_pytorchs_own_count(imported):
    """PyTorch counts convolutions and dense layers without their biases, for the whole batch."""
    module, example, found = imported
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module.eval()(example)
    module.train()
    ours = 0
    for node in found.graph.weighted_nodes:
        h, w, c = node.out_shape
        bias = c if node.label == "matmul" else c * h * w * node.use_bias  # as a graph counts it
        ours += 2 * len(example) * (node.operation.macs(node) - bias)
    assert ours == counter.get_total_flops()


def test_a_convolution_padded_like_same_is_same_and_others_get_a_padding_node():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 5, padding=2))
    cg = from_torch(module, torch.zeros(1, 3, 15, 15), "padded").graph
    assert labels(cg) == ["conv2d", "conv2d", "conv2d", "input", "paddings", "output"]
    assert [node.padding for node in cg.weighted_nodes] == ["same", "valid", "same"]
    assert cg.nodes[4].metadata == {"pad_h": (1, 0), "pad_w": (1, 0)}
    assert cg.nodes[1].resolution == (9, 4, 9, 4, 4, 4)


def test_every_part_is_left_in_the_mode_that_it_was_in():
    module = nn.Sequential(conv_bn(3, 4, 3), nn.Dropout())
    module.train()
    module[0][1].eval()  # a frozen batch normalisation in a network that is being trained
    modes = [part.training for part in module.modules()]
    from_torch(module, torch.zeros(1, 3, 8, 8))
    assert [part.training for part in module.modules()] == modes
    assert set(modes) == {True, False}


def test_only_biases_that_are_parameters_are_biases():
    module = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, groups=4, bias=False))
    nn.init.zeros_(module[1].bias)
    cg = from_torch(module, torch.zeros(1, 3, 4, 4)).graph
    assert [node.use_bias for node in cg.weighted_nodes] == [False, True, False]


def test_the_structure_of_the_small_networks():
    cg = from_torch(MobileNetLike(), torch.zeros(1, 3, 32, 32)).graph
    assert cg.name == "MobileNetLike"
    assert cg.input_shape == (1, 32, 32, 3)
    found = labels(cg)
    assert [found.count(label) for label in ("depthwise", "conv2d", "relu6", "add", "mean", "matmul")] == [
        3, 7, 7, 2, 1, 1,
    ]  # fmt: skip
    assert "paddings" in found
    assert "identity" not in found
    assert "input" in found
    dense = from_torch(VggLike(), torch.zeros(1, 3, 30, 30)).graph.weighted_nodes[1]
    assert (dense.label, dense.shape, dense.padding) == ("conv2d", (6, 12, 5, 5), "valid")
    assert cg.normalisers == {"max_hidden_size": 48, "max_kernel_size": 3, "max_derived_H": 33, "max_derived_W": 33}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["inception", "vgg"])
def test_files_of_pytorchs_own_exporter_with_open_sizes(tmp_path, name):
    """It folds normalisations into convolutions, so the graph is another, but the result is not."""
    torch.manual_seed(0)
    kind, shape = NETWORKS[name]
    module, image = with_statistics(kind()).eval(), torch.randn(1, *shape)
    open_sizes = ({0: torch.export.Dim("n"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    path = tmp_path / "net.onnx"
    torch.onnx.export(module, (torch.cat([image, image]),), path, dynamic_shapes=open_sizes, verbose=False)
    c, h, w = shape
    found = load_onnx(path, h, w, c)
    with torch.inference_mode():
        expected = module(image)
        torch.testing.assert_close(rebuild(found)(image), expected, rtol=1e-4, atol=1e-5)


def test_a_gated_network_can_be_corrected():
    cg = from_torch(Activations(), torch.zeros(1, 3, 15, 18)).graph
    assert canonical_hash(correct_cg_for_downstream(cg, 15, 18, 3)) == canonical_hash(cg)


class Wraps(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.conv = function, nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.function(self.conv(x))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (F.celu, r"node 'celu' \(Celu\): it cannot be represented"),
        (lambda x: F.relu(x) + torch.ones(2, 4, 1, 1), r"\(Add\): a constant of shape \(2, 4, 1, 1\); only one number"),
        (lambda x: x.flatten(2), r"\(Reshape\): it turns \(1, 4, 8, 8\) into \(1, 4, 64\)"),
        (lambda x: x.mean(3), r"\(ReduceMean\): it averages axes"),
        (lambda x: F.pad(x, (0, 0, 0, 0, 1, 1), value=2.0), r"\(Pad\): it adds channels of 2.0; only those of zeros"),
        (lambda x: (x, F.relu(x)), r"expected one output, found .*-output_node"),
        (lambda x: x if x.sum() > 0 else -x, r"torch.export cannot trace the module"),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(function, reason):
    with pytest.raises(ValueError, match=reason) as error:
        from_torch(Wraps(function), torch.zeros(1, 3, 8, 8))
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own
@pytest.mark.parametrize(
    "end",
    [
        nn.Identity(),
        nn.AdaptiveAvgPool2d(1),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Flatten(),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7)),
    ],
    ids=["a map", "a map of one pixel", "a vector", "a flattened map", "classes"],
)
def test_a_rebuilt_network_has_the_originals_shape(end, tmp_path):
    torch.manual_seed(0)
    module, image = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), end).eval(), torch.randn(2, 3, 7, 6)
    path = tmp_path / "net.onnx"
    torch.onnx.export(module, (image,), path, verbose=False)
    with torch.inference_mode():
        for found in (from_torch(module, image), load_onnx(path)):
            torch.testing.assert_close(rebuild(found)(image), module(image))
