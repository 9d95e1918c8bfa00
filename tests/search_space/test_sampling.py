import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.files import InputError
from model_src.search_space import nb101, nb201, sampling
from model_src.search_space.bricks import draw_ops
from model_src.search_space.sampling import config_hash, distinct_networks, space_of


def draw(family, num, labels=None, seed=0):
    return list(distinct_networks(space_of(family), np.random.default_rng(seed), num, labels))


@pytest.mark.parametrize("family", ["hiaml", "two_path", "inception", "nb101", "nb201"])
def test_networks_are_distinct_and_repeatable(family):
    drawn = draw(family, 12)
    assert [network.config for network in drawn] == [network.config for network in draw(family, 12)]
    assert len({canonical_hash(network.graph) for network in drawn}) == 12
    assert len({network.graph.name for network in drawn}) == 12
    assert {network.accuracy for network in drawn} == {None}


def test_a_longer_draw_begins_like_a_shorter_one():
    assert [network.config for network in draw("hiaml", 10)][:4] == [network.config for network in draw("hiaml", 4)]


def test_networks_without_a_label_are_left_out():
    cells = nb201.all_configs()[7:4096:500]
    labels = {nb201.architecture_string(config): 0.9 for config in cells}
    drawn = draw("nb201c10", None, labels)
    assert sorted(network.config for network in drawn) == sorted(cells)
    assert {network.accuracy for network in drawn} == {0.9}


def test_labels_by_canonical_hash():
    expected = draw("two_path", 5)[3]
    (found,) = draw("two_path", 1, {canonical_hash(expected.graph): 0.8})
    assert (found.config, found.accuracy) == (expected.config, 0.8)


@pytest.mark.parametrize("family", ["hiaml", "inception", "two_path", "nb101", "nb201"])
def test_labels_by_config_hash(family):
    third, second, _ = reversed(draw(family, 3))
    labels = {config_hash(third.config): 0.8, config_hash(second.config): 0.7}
    assert [(found.config, found.accuracy) for found in draw(family, 2, labels)] == [
        (second.config, 0.7),
        (third.config, 0.8),
    ]


def test_the_hash_of_a_graph_comes_along():
    assert all(network.graph_hash == canonical_hash(network.graph) for network in draw("nb101", 3))


def test_labels_by_cell_hash():
    keys = [nb101.cell_hash(*network.config) for network in draw("nb101", 5)]
    assert [network.accuracy for network in draw("nb101", 2, {keys[1]: 0.1, keys[4]: 0.4})] == [0.1, 0.4]


def test_too_few_networks(monkeypatch):
    monkeypatch.setattr(sampling, "PATIENCE", 50)
    with pytest.raises(InputError, match="only 1 distinct labelled networks"):
        draw("hiaml", 2, {config_hash(draw("hiaml", 1)[0].config): 0.9})


@pytest.mark.parametrize("key", ["0" * 16, "0" * 32])
@pytest.mark.parametrize("family", ["hiaml", "nb101"])
def test_a_table_that_knows_no_network(monkeypatch, family, key):
    monkeypatch.setattr(sampling, "PATIENCE", 50)
    with pytest.raises(InputError, match=r"the label table knows none of the 5. networks that were drawn"):
        draw(family, 1, {key: 0.9})


@pytest.mark.parametrize("family", ["hiaml", "inception", "two_path", "nb101"])
def test_a_table_of_another_family(family):
    with pytest.raises(InputError, match=r"not of this family; its first network is '\|none"):
        draw(family, 1, {nb201.architecture_string(["none"] * 6): 0.9})


def test_an_unknown_family_is_named():
    with pytest.raises(InputError, match="unknown family 'ofa'"):
        space_of("ofa")


def test_operation_lists():
    rng = np.random.default_rng(0)
    draws = [draw_ops(rng, 3, ("c1", "c2"), ("s1", "s2", "s3")) for _ in range(2000)]
    assert {kinds.count("supp") for _, kinds in draws} == {0, 1}
    assert all(kind[0] == name[0] for names, kinds in draws for name, kind in zip(names, kinds, strict=True))
    # Two chances of 3/5 for a supporting operation; all orders are alike.
    assert sum("supp" in kinds for _, kinds in draws) / 2000 == pytest.approx(1 - 0.4**2, abs=0.04)
    assert sum(kinds[0] == "supp" for _, kinds in draws) / 2000 == pytest.approx(0.84 / 3, abs=0.04)


def test_the_hash_of_a_config():
    config = {"b": [1, 2], "a": ["x"]}
    assert config_hash(config) == config_hash({"a": ("x",), "b": (1, 2)}) == "dee58aefb7d5cc8d"
    assert config_hash({"b": [2, 1], "a": ["x"]}) != config_hash(config)
    with pytest.raises(InputError, match=r"a config must be plain JSON data, got .*int64"):
        config_hash([np.int64(3)])
