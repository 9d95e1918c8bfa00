from dataclasses import replace

import numpy as np
import pytest
import torch

from model_src.comp_graph.graph_ops import topological_order
from model_src.family_data import shards
from model_src.files import InputError
from model_src.predictor.data.examples import network_examples, split_examples
from model_src.predictor.data.packing import pack_graphs
from model_src.predictor.data.psc_cache import build_cache, sample_splits
from model_src.predictor.models import build_model
from model_src.predictor.settings import ModelConfig
from model_src.predictor.training.evaluation import predict_parts
from tests.predictor.helpers import parts_of, random_graph

CPU = torch.device("cpu")


def network(seed, n_nodes=20):
    return random_graph(np.random.default_rng(seed), n_nodes, f"net{seed}")


def caches():
    """Two families; the second has other normalisers in one network."""
    changed = network(3).with_normalisers({**network(3).normalisers, "max_derived_H": 64})
    result = []
    for family, graphs in (("hiaml", [network(0), network(1)]), ("nb201", [network(2), changed])):
        networks = []
        for number, graph in enumerate(graphs):
            order = topological_order(graph)
            segments = [("a" * 5, order[:5]), ("b" * 6, order[5:11]), ("c" * 9, order[11:])]
            networks.append((graph, 0.8 + number / 10, segments))
        result.append(sample_splits(build_cache(family, networks), "all", np.random.default_rng(0)))
    return result


@pytest.mark.parametrize("map_size", [None, 32])
def test_splits_from_caches_are_those_of_the_graphs(map_size):
    examples = split_examples(caches(), hops=6, map_size=map_size)
    model = build_model("PSC_predictor", ModelConfig()).double()
    graphs = [cached.graph(cache.table) for cache in caches() for cached in cache.networks]
    if map_size:
        sizes = {"max_derived_H": map_size, "max_derived_W": map_size}
        graphs = [graph.with_normalisers({**graph.normalisers, **sizes}) for graph in graphs]
    parts = [part for graph in graphs for triple in parts_of(graph, [(1, 5), (5, 11), (11, 19)]) for part in triple]
    with torch.no_grad():
        found = model(examples.pack.batch().to(CPU, torch.float64))
        assert found == pytest.approx(model(pack_graphs(parts).batch().to(CPU, torch.float64)), abs=1e-12)
    assert examples.families == ["hiaml", "hiaml", "nb201", "nb201"]
    assert examples.accuracy.tolist() == [0.8, 0.9, 0.8, 0.9]


def in_one_and_in_parts(caches):
    """The same splits as examples in memory, and in parts on the disk."""
    return (split_examples(caches, hops=6, is_large=is_large) for is_large in (False, True))


def test_parts_hold_the_same_items():
    empty = replace(caches()[0], selected=np.empty((0, 2), np.int32))  # nothing of it was selected
    one, many = in_one_and_in_parts([empty, *caches()])
    assert (many.names, many.families, many.accuracy.tolist()) == (one.names, one.families, one.accuracy.tolist())
    assert many.network.tolist() == one.network.tolist()
    assert many.parts.first.tolist() == [0, 0, 6, 12]
    model, items = build_model("PSC_predictor", ModelConfig()), np.array([1, 4, 7, 11])
    assert predict_parts(model, many.parts, items) == pytest.approx(predict_parts(model, one.parts, items), abs=1e-6)
    assert [number for number, _ in many.parts.divide(items)] == [1, 2]
    sides = {"train": items}
    assert many.target_normalisers(items) == one.target_normalisers(items)
    assert many.identity(sides) != one.identity(sides)


def test_networks_come_in_parts(monkeypatch):
    monkeypatch.setattr(shards, "PER_SHARD", 2)
    families = {"hiaml": [(network(seed), seed / 10) for seed in range(5)], "nb201": [(network(9), 0.9)]}
    one, many = (network_examples(families, is_large=is_large) for is_large in (False, True))
    assert many.parts.first.tolist() == [0, 2, 4, 5, 6]
    model, items = build_model("GNN", ModelConfig()), np.arange(6)
    assert predict_parts(model, many.parts, items) == pytest.approx(predict_parts(model, one.parts, items), abs=1e-6)


def test_only_selected_splits_become_examples():
    first, second = caches()
    first = replace(first, selected=np.array([[1, 2], [1, 0]]))
    examples = split_examples([first, second], hops=6)
    assert examples.pack.network.tolist() == [1, 1, 2, 2, 2, 3, 3, 3]
    assert examples.pack.parts[:2, 1, 1:3].tolist() == [[1, 5], [11, 19]]


def test_whole_networks():
    graphs = [network(seed) for seed in range(4)]
    examples = network_examples(
        {"hiaml": [(graphs[0], 0.5), (graphs[1], 0.6)], "nb201": [(g, 0.7) for g in graphs[2:]]}
    )
    model = build_model("GNN", ModelConfig()).double()
    with torch.no_grad():
        found = model(examples.pack.batch().to(CPU, torch.float64))
        assert found == pytest.approx(model(pack_graphs(graphs).batch().to(CPU, torch.float64)), abs=1e-12)


def test_networks_are_divided_by_family_and_name():
    examples = split_examples(caches(), hops=6)
    names = {
        "hiaml": {"train": ["net0"], "dev": ["net1"], "test": ["net1"]},
        "nb201": {"train": ["net3", "net0"], "dev": [], "test": ["net2"]},
    }
    sides = examples.divide(names)
    numbers = {side: examples.pack.network[items].tolist() for side, items in sides.items()}
    assert numbers == {"train": [0] * 3 + [3] * 3, "dev": [1] * 3, "test": [1] * 3 + [2] * 3}


def test_every_side_needs_records():
    first, second = caches()
    examples = split_examples([replace(first, selected=np.array([[0, 0]])), second], hops=6)
    names = {"hiaml": {"train": ["net0"], "dev": ["net1"], "test": ["net0"]}}
    none = dict.fromkeys(("train", "dev", "test"), ())
    with pytest.raises(InputError, match="none of the records is of a dev network"):
        examples.divide({**names, "nb201": none})


def test_targets_are_standardised_within_a_family_by_training_records():
    first, second = caches()
    examples = split_examples([replace(first, selected=np.array([[0, 0], [1, 0], [1, 1], [1, 2]])), second], hops=6)
    normalisers = examples.target_normalisers(np.arange(len(examples.pack.network)))
    assert normalisers["hiaml"] == pytest.approx((0.875, np.std([0.8, 0.9, 0.9, 0.9])))
    assert normalisers["nb201"] == pytest.approx((0.85, 0.05))
    assert examples.targets(normalisers)[examples.network][4:] == pytest.approx([-1] * 3 + [1] * 3)
    assert examples.targets({})[examples.network] == pytest.approx([0.8, 0.9, 0.9, 0.9] + [0.8] * 3 + [0.9] * 3)


def test_equal_accuracies_cannot_be_standardised():
    examples = split_examples(caches(), hops=6)
    with pytest.raises(InputError, match="family hiaml: the accuracies of its training networks do not differ"):
        examples.target_normalisers(np.array([0, 1]))
