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

    def noted(module, example, **options):
        gone.append("usual" if isinstance(module, nn.Module) else "one trace")
        return usual(module, example, **options)

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
