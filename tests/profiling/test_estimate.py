"""Estimates by layer: additive, exact for layers that are known, learnt for others."""

import pickle

import numpy as np
import pytest

import constants
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.segment import cut_segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.profiling.estimate import learn, time_layers
from model_src.profiling.layers import Layer, alone, amounts_of, different_layers, layer_of
from tests.conftest import conv, regular

FUSED = frozenset({"input", "output", "identity", "batchnorm", "relu"})
INPUTS = ("hiaml", "inception", "two_path", "nb101", "nb201")


def convolution(side, width, kernel=3):
    return Layer("conv", side, side, width, side, side, width, kernel, kernel)


def roofline(layer):
    """0.01 ms per call, 0.02 ms per million MACs, 0.3 ms per million numbers."""
    macs, values, _ = amounts_of(layer)
    return 0.01 + 0.02 * macs / 1e6 + 0.3 * values / 1e6


@pytest.fixture(scope="module")
def source():
    return load_cg(constants.ROOT / "architectures" / "nb201_best.pkl")


@pytest.fixture(scope="module")
def estimate(source):
    return learn({layer: roofline(layer) for layer in different_layers(source.nodes, FUSED)}, FUSED)


def test_amounts_of_layers():
    assert amounts_of(layer_of(conv("c", 8, 3, 16, stride=2))) == (9 * 3 * 16 * 4 * 4, 8 * 8 * 3 + 4 * 4 * 16, 432)
    assert amounts_of(layer_of(conv("c", 8, 4, 16, groups=2))) == (9 * 2 * 16 * 64, 64 * 20, 288)
    assert amounts_of(layer_of(regular("a", "add", 9, 8, 4))) == (256, 512, 0)
    pool = regular("p", "maxpool", 12, 8, 4, 4, strides=(1, 2, 2, 1), metadata={"ksize": (1, 3, 3, 1)})
    assert layer_of(pool) == ("maxpool", 8, 8, 4, 4, 4, 4, 3, 3, 2, 2, 1)
    assert amounts_of(layer_of(pool)) == (9 * 64, 256 + 64, 0)


def test_what_was_timed_counts_as_it_is_and_what_is_fused_nothing():
    known = {convolution(8, 16): 7.0}
    nodes = [regular("i", "input", 1, 8, 16), conv("c", 8, 16, 16), regular("r", "relu", 6, 8, 16)]
    cg = ComputeGraph.from_nodes("x", (1, 8, 8, 16), nodes[1:2] + nodes[:1] + nodes[2:], [(1, 0), (0, 2)])
    assert learn(known, FUSED).of_graph(cg) == 7.0


def test_layers_that_were_not_timed_are_learnt_from_others_of_their_kind():
    threes = {convolution(side, width): roofline(convolution(side, width)) for side in (4, 8, 16) for width in (8, 64)}
    ones = {convolution(8, width, 1): 100.0 for width in (4, 8, 16, 32)}
    estimate = learn({**threes, **ones}, FUSED)
    other = conv("c", 32, 24, 24)
    cg = ComputeGraph.from_nodes("x", (1, 32, 32, 24), [other], [])
    assert estimate.of_graph(cg) == pytest.approx(roofline(layer_of(other)), rel=1e-3)
    assert all(rate >= 0 for rates in estimate.rates.values() for rate in rates)


def test_what_a_swap_changes_is_the_difference_of_the_networks(source, estimate):
    """The rest of a network and a segment in its place add up to the network."""
    rng = np.random.default_rng(0)
    whole = estimate.of_graph(source)
    assert whole > 0
    for _ in range(5):
        start = int(rng.integers(5, source.n_nodes - 20))
        inside, outside = range(start, start + 10), [*range(start), *range(start + 10, source.n_nodes)]
        parts = [estimate.of_segment(cut_segment(source, indices)) for indices in (inside, outside)]
        assert sum(parts) == pytest.approx(whole, rel=1e-12)


def test_estimates_go_to_other_processes_and_stay_the_same(source, estimate):
    before = estimate.of_graph(source)
    assert pickle.loads(pickle.dumps(estimate)).of_graph(source) == before


@pytest.mark.parametrize("family", INPUTS)
def test_every_layer_of_the_shipped_inputs_is_a_network_of_its_own(family):
    """Its own cost is that of the layer; nothing else in it takes time."""
    layers = different_layers(load_cg(constants.ROOT / "architectures" / f"{family}_best.pkl").nodes, FUSED)
    assert {"conv", "mean"} < {layer.operation for layer in layers}
    estimate = learn({layer: 1.0 + at for at, layer in enumerate(layers)}, FUSED)
    assert [estimate.of_graph(alone(node)) for node in layers.values()] == list(estimate.known.values())


def test_the_time_of_calling_a_network_is_not_that_of_its_layer(tiny_graph):
    times = time_layers(tiny_graph.nodes, FUSED, lambda networks: {name: 0.5 + len(name) for name in networks})
    assert list(times.values()) == [1e-4, 1e-4]  # "0" and "1" took less than "nothing"
    failing = time_layers(tiny_graph.nodes, FUSED, lambda cgs: dict.fromkeys(cgs, 3.0) | {"nothing": 1.0, "0": np.nan})
    assert {layer.operation: ms for layer, ms in failing.items()} == {"add": 2.0}
