"""Statistics of batch normalisations taken anew, and distances of results."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from model_src.comp_graph.exporters.files import network_of  # noqa: E402
from model_src.comp_graph.inheritance import Inheritance  # noqa: E402
from model_src.comp_graph.networks.initial import initial_network  # noqa: E402
from model_src.comp_graph.networks.statistics import distance, noise, take_statistics  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from tests.conftest import conv, regular  # noqa: E402


def chain(depth: int = 30) -> ComputeGraph:
    """Convolutions with normalisations and swishes, as deep as networks that are searched."""
    nodes = [conv("c0", 8, 3, 8), regular("i", "input", 1, 8, 3)]
    edges, last = [(1, 0)], 0
    for number in range(1, depth):
        nodes.append(conv(f"c{number}", 8, 8, 8))
        nodes.append(regular(f"b{number}", "fusedbatchnormv3", 5, 8, 8))
        nodes.append(regular(f"s{number}", "swish", 16, 8, 8))
        end = len(nodes) - 1
        edges += [(last, end - 2), (end - 2, end - 1), (end - 1, end)]
        last = end
    return ComputeGraph.from_nodes("chain", (1, 8, 8, 3), nodes, edges)


def test_a_fresh_deep_network_tells_images_apart():
    cg = chain()
    images = noise(cg, 2, seed=5)
    with torch.no_grad():
        first, second = network_of(cg)(images)
        silent = initial_network(cg, 0, squeeze_output=False).eval()(images)
    assert (first - second).abs().max() > 0.1 * first.abs().max()
    assert (silent[0] - silent[1]).abs().max() < 0.1 * (first - second).abs().max()  # which the statistics mend


def test_statistics_are_those_of_all_images():
    cg = chain(depth=2)
    network, images = initial_network(cg, 0, squeeze_output=False), 3 + noise(cg, 70)
    take_statistics(network, images)
    assert not network.training
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    (norm,) = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    with torch.no_grad():
        before = convolutions[1](convolutions[0](images))
    torch.testing.assert_close(norm.running_mean, before.mean((0, 2, 3)), rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(norm.running_var, before.var((0, 2, 3)), rtol=5e-2, atol=1e-3)
    assert norm.momentum == 0.01


def test_only_new_layers_take_statistics_from_noise_and_all_from_images():
    cg = chain(depth=4)
    ones = {"weight": torch.ones(8).numpy(), "bias": torch.zeros(8).numpy()}
    own = {**ones, "running_mean": torch.full((8,), 7.0).numpy(), "running_var": torch.full((8,), 5.0).numpy()}
    new = frozenset(node.str_id for node in cg.nodes if node.operation.has_parameters) - {"b2"}
    inherited = Inheritance({"b2": own}, new, frozenset())

    def means(network) -> dict[str, float]:
        norms = {s.node.str_id: network.layers[s.name] for s in network.plan.steps if s.op == "batchnorm"}
        return {name: float(norm.running_mean[0]) for name, norm in norms.items()}

    found = means(network_of(cg, inherited=inherited))
    assert found["b2"] == 7.0
    assert 0.0 not in (found["b1"], found["b3"])
    assert means(network_of(cg, inherited=inherited, images=noise(cg, 4)))["b2"] != 7.0


def test_the_distance_of_results():
    cg = chain(depth=2)
    network, other = network_of(cg, 0), network_of(cg, 1)
    images = noise(cg, 40)
    assert distance(network, network, images) == 0
    with torch.no_grad():
        ours, theirs = network(images), other(images)
    assert distance(network, other, images) == pytest.approx(float((ours - theirs).norm() / theirs.norm()), rel=1e-5)
    assert distance(network, network_of(chain(1)), images) > 0
