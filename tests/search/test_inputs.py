"""A search at another size of image than its input was made for."""

import pytest
import torch
from torch import nn

import autogo
import constants
from model_src.comp_graph.importers.torch import from_torch
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork, build_torch_network
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.comp_graph.validate import validate
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import InputError
from model_src.search.inputs import at_size
from tests.test_autogo import arguments, result_folder, table_of


def network_of(found: WeightedGraph) -> TorchNetwork:
    network = TorchNetwork(found.graph)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in found.state().items()})
    return network.eval()


def test_the_same_size_changes_nothing(source):
    given = WeightedGraph(source)
    assert at_size(given, (32, 32, 3), "net") is given


def test_sizes_are_inferred_anew(source):
    found = at_size(WeightedGraph(source), (64, 48, 3), "net").graph
    validate(found)
    assert found.input_shape == (1, 64, 48, 3)
    assert graph_macs(found) == pytest.approx(3 * graph_macs(source), rel=0.01)


def test_weights_stay():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).eval()
    found = at_size(from_torch(module, torch.zeros(1, 3, 8, 8)).weighted(), (12, 10, 3), "net")
    images = torch.rand(2, 3, 12, 10)
    with torch.inference_mode():
        assert torch.allclose(network_of(found)(images), module(images), atol=1e-6)


def strided(stride: int, **pool: int) -> nn.Module:
    end = nn.AvgPool2d(**pool) if pool else nn.Identity()
    ends = nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride, 1), nn.ReLU(), end, *ends).eval()


def test_a_size_at_which_weights_may_mean_something_else_is_refused():
    given = from_torch(strided(2), torch.zeros(1, 3, 16, 16)).weighted()
    reason = (
        r"17x17x3 given, .* is 16x16x3, and cannot be changed: node .*its steps leave other pixels out of a 18x18 map"
    )
    with pytest.raises(InputError, match=reason):
        at_size(given, (17, 17, 3), "net")
    module = strided(1)
    found = at_size(from_torch(module, torch.zeros(1, 3, 16, 16)).weighted(), (17, 17, 3), "net")
    images = torch.rand(2, 3, 17, 17)
    with torch.inference_mode():
        assert torch.allclose(network_of(found)(images), module(images), atol=1e-6)


def test_what_may_have_been_asked_for_a_size_is_warned_of(caplog):
    for pool, warns in (({"kernel_size": 4}, True), ({"kernel_size": 2}, False), ({}, False)):
        caplog.clear()
        at_size(from_torch(strided(1, **pool), torch.zeros(1, 3, 16, 16)).weighted(), (32, 32, 3), "net")
        assert ("may have been asked for a size" in caplog.text) is warns


def test_what_does_not_fit_is_refused():
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    given = from_torch(flat, torch.zeros(1, 3, 8, 8)).weighted()
    reason = "10x10x3 given, the input of net is 8x8x3, and cannot be changed: its result would be a map of 3x3"
    with pytest.raises(InputError, match=reason):
        at_size(given, (10, 10, 3), "net")


def test_a_search_at_another_size(tmp_path):
    path = constants.ROOT / "architectures" / "hiaml_best.pkl"
    changes = {"model_path": path, "model_family": "hiaml", "epoch": 1, "input_h": 64, "input_w": 48}
    assert autogo.main(arguments(tmp_path, **changes)) == 0
    folder = result_folder(tmp_path)
    rows = table_of(folder)
    assert len(rows) > 1
    for row in rows:
        graph = load_cg(folder / (row["file"] or "input.pkl"))
        assert graph.input_shape == (1, 64, 48, 3)
        assert 2e-6 * graph_macs(graph) == pytest.approx(float(row["mflops"]), abs=1e-4)
    with torch.inference_mode():
        assert build_torch_network(graph).eval()(torch.rand(1, 3, 64, 48)).shape == (1, 10)
