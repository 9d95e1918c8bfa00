"""One trace gives the graph that two give; where it cannot, the usual way is gone."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.importers import tracing  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402


class Residual(nn.Module):
    """Everything in place, as in most published networks."""

    def __init__(self, scale: bool = True):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8, affine=scale))
        self.body = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU6(True))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        stem = self.stem(x)
        body = self.body(stem)  # which changes the stem's result, too
        body += stem
        return self.head(F.silu(body, inplace=True))


class SharedWithAView(nn.Module):
    """A tensor that is changed behind the back of a view of it."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.conv(x)
        view = x.view(x.shape)
        return self.head(F.relu_(x) + view)


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.ndim == 1:
            nn.init.uniform_(value.data, 0.5 if "var" in name else -0.5, 1.5)
    return module.eval()


@pytest.fixture
def ways(monkeypatch) -> list[str]:
    """The ways that were gone, in order."""
    gone = []
    usual = tracing.__dict__["_exported"]

    def noted(module, example, *forms, **options):
        gone.append("usual" if isinstance(module, nn.Module) else "one trace")
        return usual(module, example, *forms, **options)

    translated = tracing._translated
    monkeypatch.setattr(tracing, "_exported", noted)
    monkeypatch.setattr(tracing, "_translated", lambda program: gone.append("translated") or translated(program))
    return gone


def test_one_trace_gives_the_same_graph_and_numbers(ways, monkeypatch):
    module, example = randomised(Residual()), torch.zeros(1, 3, 16, 16)
    found = from_torch(module, example)
    assert ways == ["translated"]
    monkeypatch.setattr(tracing, "_by_one_trace", None)
    assert canonical_hash(from_torch(module, example).graph) == canonical_hash(found.graph)
    assert ways == ["translated", "usual"]

    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(rebuild(found)(images), module(images), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("module", [SharedWithAView(), Residual(scale=False)], ids=["a view sees it", "no scale"])
def test_what_one_trace_cannot_tell_goes_the_usual_way(ways, module):
    module, images = randomised(module), torch.randn(2, 3, 16, 16)
    found = from_torch(module, torch.zeros(1, 3, 16, 16))
    assert ways[-1] == "usual"
    with torch.no_grad():
        torch.testing.assert_close(rebuild(found)(images), module(images), rtol=1e-6, atol=1e-6)


class After(nn.Module):
    """A convolution, and a function behind it."""

    def __init__(self, function, by_the_usual_way=False):
        super().__init__()
        self.conv, self.function, self.changes_a_view = nn.Conv2d(3, 8, 3), function, by_the_usual_way

    def forward(self, x):
        x = self.conv(x)
        return self.function(F.relu_(x) + x.view(x.shape) if self.changes_a_view else x)


@pytest.mark.parametrize("by_the_usual_way", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        F.logsigmoid,
        lambda x: F.avg_pool2d(x, 2, divisor_override=3),
        lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0), divisor_override=5),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    ],
)
def test_what_pytorch_itself_writes_wrongly_is_written_right(function, by_the_usual_way):
    module, images = After(function, by_the_usual_way).eval(), 255 * torch.rand(2, 3, 16, 16)
    network = rebuild(from_torch(module, torch.zeros(1, 3, 16, 16), check=False))
    with torch.no_grad():
        wanted = module(images)
        assert wanted.isfinite().all()
        torch.testing.assert_close(network(images), wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: F.dropout(x, 0.5), r"the module \(aten\.dropout\.default\): it drops numbers by chance"),
        (
            lambda x: F.interpolate(x, scale_factor=1.7, mode="nearest-exact"),
            "no whole number of pixels; give it sizes",
        ),
        (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, divisor_override=5), "ceil_mode and a divisor of its own"),
        (lambda x: x / x.abs().max(), "it may make one number of all images together"),
        (lambda x: x * x.sum(), "it may make one number of all images together"),
    ],
)
def test_what_would_become_something_else_is_refused_without_a_check(function, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        from_torch(After(function), torch.zeros(1, 3, 16, 16), check=False)
    assert "\n" not in str(caught.value)


def test_the_place_of_what_is_refused_is_named():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(After(nn.Identity()), nn.ReLU()))
    module[1][0] = nn.AvgPool2d(3, 2, ceil_mode=True, divisor_override=5)
    with pytest.raises(ValueError, match=r"^1\.0 \(aten\.avg_pool2d"):
        from_torch(module, torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("function", "label"),
    [(lambda x: x[:, [2, 1, 0]], "gather"), (lambda x: x[:, :, [1, 1, -1]], "opaque"), (lambda x: x[[0]], None)],
)
def test_numbers_chosen_along_one_axis_are_read(function, label):
    module, images = After(function).eval(), torch.rand(1, 3, 8, 8)
    found = from_torch(module, images)
    assert label is None or label in [node.op_name for node in found.graph.nodes]
    with torch.no_grad():
        torch.testing.assert_close(rebuild(found)(images), module(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mask", [[True] * 4 + [False] * 4, [[0, 1], [2, 3]]])
def test_numbers_chosen_otherwise_are_refused(mask):
    with pytest.raises(ValueError, match="'index' "):
        from_torch(After(lambda x: x[:, mask].flatten(1)), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("wrapped", [lambda x: {"out": x}, lambda x: [x], lambda x: (x, None)])
def test_one_tensor_may_be_in_a_list_or_dictionary(wrapped):
    module, images = After(wrapped).eval(), torch.rand(2, 3, 8, 8)
    network = rebuild(from_torch(module, images))
    with torch.no_grad():
        torch.testing.assert_close(network(images), module.conv(images), rtol=0, atol=1e-6)


def test_what_is_no_module_or_no_batch_is_refused_in_one_line():
    module, images = nn.Conv2d(3, 4, 3).eval(), torch.zeros(1, 3, 8, 8)
    program = torch.export.export(module, (images,)).module()
    for given, example, reason in [
        (module.forward, images, "a torch.nn.Module, not a method"),
        (program, images, "the module of an exported program"),
        (nn.Conv2d(3, 4, 3, device="meta"), images, "on the device `meta`"),
        (module, images[0], r"a batch of images \(N, C, H, W\) as its example; it is of shape \(3, 8, 8\)"),
        (module, None, "as its example; it is a NoneType"),
    ]:
        with pytest.raises(ValueError, match=reason):
            from_torch(given, example)


class Attention(nn.Module):
    """What becomes an opaque node with weights."""

    def __init__(self):
        super().__init__()
        self.conv, self.attention = nn.Conv2d(3, 8, 3), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.conv(x)
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)


def test_chance_goes_on_as_if_nothing_had_been_read():
    module, before = Attention().eval(), torch.get_rng_state()
    from_torch(module, torch.zeros(1, 3, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)
