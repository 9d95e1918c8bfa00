"""Weights beside a graph, and what a network that came from it inherits."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.numpy import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402
from model_src.comp_graph.inheritance import Inheritance, inherit  # noqa: E402
from model_src.comp_graph.load import load_cg, load_network  # noqa: E402
from model_src.comp_graph.networks.initial import initial_network, take_weights  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork  # noqa: E402
from model_src.comp_graph.weights import WeightedGraph  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.conftest import conv, regular  # noqa: E402


class Net(nn.Module):
    """Two branches that are joined, and a residual one."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.left = nn.Sequential(nn.Conv2d(8, 6, 1), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(8, 10, 3, 1, 1, bias=False), nn.BatchNorm2d(10), nn.ReLU())
        self.mix = nn.Sequential(nn.Conv2d(16, 8, 3, 1, 1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.mix(torch.cat([self.left(x), self.right(x)], 1))
        return self.head(x.relu().mean((2, 3)))


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    net = Net()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
    return net.eval()


@pytest.fixture(scope="module")
def found(module):
    return from_torch(module, torch.zeros(1, 3, 8, 8), "net")


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def outputs(network):
    with torch.inference_mode():
        return network.eval()(IMAGES).flatten(1)


def test_weights_come_back_from_beside_the_graph(found, module, tmp_path):
    found.save(tmp_path / "net.pkl")
    again = load_network(tmp_path / "net.pkl")
    network = TorchNetwork(again.graph)
    network.load_state_dict({name: torch.from_numpy(one) for name, one in again.state().items()}, strict=False)
    torch.testing.assert_close(outputs(network), outputs(module), rtol=1e-5, atol=1e-5)
    # The file is what a network's `load_state_dict` takes.
    state = {name: torch.from_numpy(one) for name, one in load_file(tmp_path / "net.safetensors").items()}
    missing, unexpected = TorchNetwork(again.graph).load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert load_cg(tmp_path / "net.pkl").n_nodes == found.graph.n_nodes


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_onnx_file_brings_its_weights(module, tmp_path):
    path = tmp_path / "net.onnx"
    torch.onnx.export(module, (IMAGES,), path, dynamo=True, optimize=False, verbose=False)
    found = load_network(path)
    assert found.weights
    network = initial_network(found.graph, 0, inherit(found.graph, [n.str_id for n in found.graph.nodes], found))
    torch.testing.assert_close(outputs(network), outputs(module), rtol=1e-5, atol=1e-5)


def test_a_graph_alone_has_none(found, tmp_path):
    WeightedGraph(found.graph).save(tmp_path / "net.pkl")
    assert load_network(tmp_path / "net.pkl").weights is None
    assert not (tmp_path / "net.safetensors").exists()
    with pytest.raises(ValueError, match=r"must end in \.pkl"):
        found.save(tmp_path / "net.json")


def cut(path, state):
    path.write_bytes(path.read_bytes()[:-9])


def foreign(path, state):
    save_file({**state, "layers.op_99/conv.weight": np.zeros(1, np.float32)}, path)


def no_numbers(path, state):
    name = next(iter(state))
    save_file({**state, name: np.full_like(state[name], np.nan)}, path)


def complex_numbers(path, state):
    name = next(iter(state))
    save_file({**state, name: state[name] + 1j}, path)


def other_shapes(path, state):
    name = next(name for name in state if name.endswith("conv.weight"))
    save_file({**state, name: state[name][:1]}, path)


def no_such_parameter(path, state):
    name = next(name for name in state if name.endswith("conv.weight"))
    save_file({**state, name.replace("weight", "weigth"): state[name]}, path)


def text(path, state):
    path.write_text("weights")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, ""),
        (foreign, "which the graph beside it does not have"),
        (no_numbers, "is not all real numbers"),
        (complex_numbers, "is not all real numbers"),
        (text, ""),
        (other_shapes, "the network has"),
        (no_such_parameter, "the network has no such parameter"),
    ],
)
def test_damaged_and_foreign_weights_are_refused_in_one_line(found, tmp_path, damage, reason):
    found.save(tmp_path / "net.pkl")
    path = tmp_path / "net.safetensors"
    damage(path, load_file(path))
    with pytest.raises(InputError) as caught:
        load_network(tmp_path / "net.pkl")
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_other_shapes_are_refused(found):
    weighted = found.weighted()
    node, own = next((node, own) for node, own in weighted.weights.items() if "weight" in own)
    wrong = {**weighted.weights, node: {**own, "weight": own["weight"][:1]}}
    with pytest.raises(ValueError, match=r"the weights of layers\.op_.* have shape .*, the network has"):
        take_weights(TorchNetwork(found.graph), found.graph, Inheritance(wrong, frozenset(), frozenset()))


def everything(found):
    return inherit(found.graph, [node.str_id for node in found.graph.nodes], found.weighted())


def test_a_network_inherits_all_of_itself(found, module):
    inherited = everything(found)
    assert not inherited.new
    assert inherited.summary == "8 of 8"
    assert torch.equal(outputs(initial_network(found.graph, 3, inherited)), outputs(rebuild(found)))


def changed(graph, position, **fields):
    """The graph with a node of other fields, and the ids that its nodes had."""
    nodes = list(graph.nodes)
    nodes[position] = replace(nodes[position], **fields)
    return ComputeGraph.from_nodes(graph.name, graph.input_shape, nodes, graph.edge_pairs, graph.normalisers)


def test_a_layer_that_is_another_one_does_not_inherit(found):
    graph = found.graph
    ids = [node.str_id for node in graph.nodes]
    at = next(i for i, node in enumerate(graph.nodes) if node.op_name == "conv2d" and node.kernel[2:] == (3, 3))
    for fields in (
        {"strides": (1, 2, 2, 1)},
        {"metadata": {"use_bias": True}},
        {"shape": (*graph.nodes[at].shape[:2], 1, 1)},
    ):
        inherited = inherit(changed(graph, at, **fields), ids, found.weighted())
        assert inherited.new == {graph.nodes[at].str_id}
    other_map = changed(graph, at, resolution=(9, 9, 9, 9, *graph.nodes[at].resolution[4:]))
    assert not inherit(other_map, ids, found.weighted()).new
    assert inherit(graph, ["new.0" if i == at else one for i, one in enumerate(ids)], found.weighted()).new == {ids[at]}


def network(nodes, edges):
    return ComputeGraph.from_nodes("n", (1, 8, 8, 3), nodes, edges)


def test_behind_operands_in_another_order_nothing_is_inherited():
    joined = [
        regular("i", "input", 1, 8, 3),
        conv("a", 8, 3, 4),
        conv("b", 8, 3, 4),
        regular("c", "concat", 11, 8, 8),
        regular("r", "relu", 6, 8, 8),
        conv("d", 8, 8, 5),
        conv("e", 8, 5, 5),
    ]
    graph = network(joined, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6)])
    state = TorchNetwork(graph, squeeze_output=False).state_dict()
    weights = {name: {"weight": state[f"layers.op_{name}/conv.weight"].numpy()} for name in "abde"}
    source = WeightedGraph(graph, weights)
    ids = [node.str_id for node in graph.nodes]
    assert inherit(graph, ids, source).summary == "4 of 4"
    swapped = ["b" if one == "a" else "a" if one == "b" else one for one in ids]
    assert inherit(graph, swapped, source).new == {"d"}


def test_a_new_branch_into_a_sum_adds_nothing_at_first():
    plain = [regular("i", "input", 1, 8, 3), conv("a", 8, 3, 4), regular("x", "add", 9, 8, 4), conv("b", 8, 4, 5)]
    branch = [conv("n1", 8, 4, 4), conv("n2", 8, 4, 4)]
    graph = network([plain[0], plain[1], plain[3]], [(0, 1), (1, 2)])
    grown = network([*plain, *branch], [(0, 1), (1, 2), (1, 4), (4, 5), (5, 2), (2, 3)])
    source_net = TorchNetwork(graph, squeeze_output=False)
    state = source_net.state_dict()
    source = WeightedGraph(graph, {name: {"weight": state[f"layers.op_{name}/conv.weight"].numpy()} for name in "ab"})
    inherited = inherit(grown, [node.str_id for node in grown.nodes], source)
    assert (set(inherited.weights), inherited.new, inherited.harmless) == ({"a", "b"}, {"n1", "n2"}, {"n2"})
    made = initial_network(grown, 0, inherited, squeeze_output=False)
    assert torch.equal(outputs(made), outputs(source_net))
    assert made.layers["op_n1/conv"].weight.any()


def test_of_a_sum_of_new_branches_one_stays():
    nodes = [regular("i", "input", 1, 8, 3), conv("n1", 8, 3, 4), conv("n2", 8, 3, 4), regular("x", "add", 9, 8, 4)]
    graph = network(nodes, [(0, 1), (0, 2), (1, 3), (2, 3)])
    inherited = inherit(graph, ["i", "new1", "new2", "x"], WeightedGraph(graph, {}))
    assert inherited.new == {"n1", "n2"}
    assert len(inherited.harmless) == 1
