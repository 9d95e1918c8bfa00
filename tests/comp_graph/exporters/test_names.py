"""Layers are called in files what they were called in the network that they came from."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402

from model_src.comp_graph.exporters.files import network_of  # noqa: E402
from model_src.comp_graph.exporters.names import attribute_names  # noqa: E402
from model_src.comp_graph.exporters.onnx import to_onnx  # noqa: E402
from model_src.comp_graph.exporters.torch import module_state  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream  # noqa: E402
from tests.comp_graph.exporters.test_files import check_exports, fork  # noqa: E402
from tests.conftest import conv  # noqa: E402


class Named(nn.Module):
    """Layers on their own and in blocks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.output = nn.Conv2d(4, 5, 1)

    def forward(self, x):
        return self.output(self.blocks(self.stem(x)))


def test_names_live_on():
    found = from_torch(Named(), torch.zeros(1, 3, 8, 8))
    for graph in (found.graph, correct_cg_for_downstream(found.graph, 8, 8, 3)):
        names = set(module_state(network_of(graph)))
        assert names == {
            f"{layer}.{name}" for layer in ("stem", "blocks_0", "output_layer") for name in ("weight", "bias")
        }
    weights = {one.name for one in to_onnx(found.graph, rebuild(found)).graph.initializer}
    assert weights == {
        f"{layer}.{name}" for layer in ("stem", "blocks.0", "output_layer") for name in ("weight", "bias")
    }
    check_exports(found.graph)


def test_names_that_python_or_pytorch_needs_are_no_attributes():
    ids = ["1|class.conv2d", "2|float.conv2d", "3|0.conv2d", "4|a b.conv2d", "5|twice.x", "6|twice.y"]
    nodes = [conv(name, 8, 3, 3) for name in ids]
    edges = [(at, at + 1) for at in range(len(ids) - 1)]
    graph = ComputeGraph.from_nodes("odd", (1, 8, 8, 3), nodes, edges)
    names = attribute_names(network_of(graph).plan)
    assert list(names.values()) == ["conv_class", "conv_float", "conv_0", "conv_4", "conv_5", "conv_6"]


def test_layers_without_names_are_called_by_operation_and_number():
    names = attribute_names(network_of(fork()).plan)
    assert {"op_k/conv": "conv_k", "op_d/matmul": "matmul_d"}.items() <= names.items()
