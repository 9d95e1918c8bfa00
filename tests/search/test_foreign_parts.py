"""A search goes around parts that no predictor knows: sliced, shuffled and opaque ones stay, exact and with weights."""

import csv

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402

import autogo  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch  # noqa: E402
from model_src.comp_graph.load import load_network  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork  # noqa: E402
from tests.comp_graph.importers.test_opaque import Attention, Neighbours, Selected  # noqa: E402
from tests.comp_graph.importers.test_shapes import shuffled  # noqa: E402
from tests.comp_graph.importers.test_torch import conv_bn  # noqa: E402
from tests.test_autogo import arguments, result_folder  # noqa: E402

KEPT = ("opaque", "port", "slice", "shuffle")


class Halves(nn.Module):
    """Convolutions of one half of the channels, shuffled with the other."""

    def __init__(self, c: int):
        super().__init__()
        self.body = nn.Sequential(conv_bn(c // 2, c // 2, 3), conv_bn(c // 2, c // 2, 3))

    def forward(self, x):
        first, second = x.chunk(2, 1)
        return shuffled(torch.cat([first, self.body(second)], 1), 2)


def count(graph) -> dict[str, int]:
    names = [node.op_name for node in graph.nodes]
    return {name: names.count(name) for name in KEPT}


@pytest.mark.filterwarnings("ignore")
def test_a_search_goes_around_them(tmp_path):
    torch.manual_seed(0)
    blocks = (Neighbours(), Halves(12), conv_bn(12, 12, 3, 2), Attention(), Selected(), conv_bn(12, 12, 3))
    module = nn.Sequential(conv_bn(3, 12, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10)).eval()
    found = from_torch(module, torch.zeros(1, 3, 32, 32), "mixed")
    assert all(count(found.graph).values())
    found.save(tmp_path / "mixed.pkl")
    flags = {"model_path": tmp_path / "mixed.pkl", "model_family": "generic", "export": "onnx", "max_score_drop": 9}
    autogo.main(arguments(tmp_path, **flags, rescore_per_iter=20))
    folder = result_folder(tmp_path)
    assert count(load_network(folder / "input.pkl").graph) == count(found.graph)
    with (folder / "pareto.csv").open(newline="") as file:
        _, *results = csv.DictReader(file)
    assert results
    image = torch.randn(2, 3, 32, 32)
    for row in results:
        again = load_network(folder / row["file"])
        assert count(again.graph) == count(found.graph)
        network = TorchNetwork(again.graph).eval()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in again.state().items()})
        session = onnxruntime.InferenceSession(folder / row["file"].replace(".pkl", ".onnx"))
        with torch.inference_mode():
            expected = network(image)
        ours = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        (inside,) = (
            layer for name, layer in network.layers.items() if name.endswith("opaque") and hasattr(layer, "w0")
        )
        assert torch.equal(inside.w0, module[1].conv.weight)
