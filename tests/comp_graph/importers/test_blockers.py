"""What stands in the way of reading a network is told at once; what only looks as if it did is read."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from onnx import ModelProto, parser  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from model_src.comp_graph.importers.onnx import from_onnx  # noqa: E402
from model_src.comp_graph.importers.onnx.op import Refusal  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402


class Blocked(nn.Module):
    """Four operations that no graph holds, one of which reads what another gives."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.CELU(), nn.Conv2d(4, 2, 1), nn.CELU())

    def forward(self, x):
        x = F.celu(self.stem(x)) + torch.cumsum(self.stem(x), 2)
        return self.head(x)


def test_all_blockers_are_told_at_once_with_their_places():
    with pytest.raises(Refusal) as error:
        from_torch(Blocked(), torch.zeros(1, 3, 8, 8))
    found = [(blocker.node, blocker.type) for blocker in error.value.blockers]
    assert [kind for _, kind in found] == ["Celu", "CumSum", "Celu", "Celu"]
    assert [node for node, kind in found if kind == "Celu"] == ["celu", "head.0.celu_1", "head.2.celu_2"]
    text = str(error.value)
    assert text.startswith("4 operations cannot be held: node 'celu', 'head.0.celu_1', 'head.2.celu_2' (Celu)")
    assert "\n" not in text


def test_many_of_a_kind_are_counted():
    with pytest.raises(
        Refusal, match=r"^12 op.*: node '1.celu', '2.celu_1', '3.celu_2' and 9 more \(Celu\): it cannot"
    ):
        from_torch(nn.Sequential(nn.Conv2d(3, 4, 1), *(nn.CELU() for _ in range(12))), torch.zeros(1, 3, 8, 8))


def model(body: str, opset: int = 17, more: str = "") -> ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> net (float[N,4,8,8] x) => (float[] y) {more} {{ {body} }}'
    return parser.parse_model(text)


def test_a_remedy_is_told_where_there_is_one():
    with pytest.raises(Refusal, match=r"\(QuantizeLinear\): it belongs to a quantised network; bring .* before"):
        from_onnx(model("a = QuantizeLinear(x, s) y = DequantizeLinear(a, s)", 17, "<float s = {0.5}>"), "net")


def labels(cg) -> list[str]:
    return [node.label for node in cg.nodes]


def test_a_module_without_operations_is_refused():
    with pytest.raises(ValueError, match="its output is its input; there is no operation to read"):
        from_torch(nn.Identity(), torch.zeros(1, 3, 8, 8))


def test_what_cannot_be_traced_is_told_in_one_short_line(capfd):
    class Chooses(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"cannot trace the module: what it does depends on the values in") as error:
        from_torch(Chooses(), torch.zeros(1, 3, 8, 8))
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


class Standardised(nn.Conv2d):
    def forward(self, x):
        mean, deviation = (f(self.weight, (1, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
        return F.conv2d(x, (self.weight - mean) / (deviation + 1e-5), self.bias)


@pytest.mark.parametrize("kind", ["norm", "standardisation"])
def test_weights_that_are_computed_of_weights_are_constants(kind):
    torch.manual_seed(0)
    convolution = Standardised(3, 4, 3) if kind == "standardisation" else nn.Conv2d(3, 4, 3)
    if kind == "norm":
        convolution = nn.utils.parametrizations.weight_norm(convolution)
        convolution.parametrizations.weight.original0.data.uniform_(0.5, 2)
    module, image = nn.Sequential(convolution, nn.ReLU(), nn.Conv2d(4, 4, 1)).eval(), torch.randn(2, 3, 8, 8)
    found = from_torch(module, image)
    assert labels(found.graph) == ["conv2d", "conv2d", "input", "relu", "output"]
    with torch.inference_mode():
        torch.testing.assert_close(rebuild(found)(image), module(image), rtol=0, atol=1e-6)


def test_constants_are_computed_by_the_rules_of_the_models_opset():
    """Before opset 13 the axes of Unsqueeze were an attribute; a result that is like an integer is one."""
    weights = "<float[3,4] w = {1,2,3,4,1,2,3,4,1,2,3,4}>"
    found = from_onnx(model("k = Unsqueeze<axes=[2,3]>(w) y = Conv(x, k)", 9, weights), "net")
    assert labels(found.graph) == ["conv2d", "input", "output"]
    body = "n = Cast<to=1>(two) l = CastLike(n, one) s = Add(l, one) p = Concat<axis=0>(o, s) y = Pad(x, p)"
    numbers = "<int64[1] one = {1}, int64[1] two = {2}, int64[7] o = {0,0,1,0,0,0,0}>"
    found = from_onnx(model(body, 17, numbers), "net")
    assert found.graph.nodes[1].metadata == {"pad_h": (1, 0), "pad_w": (0, 3)}


def test_a_dropout_whose_places_nobody_reads_and_an_old_model_are_read():
    old = model("a, m = Dropout(x) y = Relu(a)", 7)
    assert labels(from_onnx(old, "net").graph) == ["input", "relu", "output"]
    old = model("y = Conv(x, k)", 7, "<float[2,4,1,1] k = {1,2,3,4,5,6,7,8}>")
    old.ir_version = 3
    assert np.array_equal(from_onnx(old, "net").weights["1|#0"]["weight"].ravel(), range(1, 9))
