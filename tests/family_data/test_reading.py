import math
from dataclasses import replace
from pathlib import Path

import pytest

from model_src.families import all_names, with_networks
from model_src.family_data import (
    cache_for,
    family_path,
    iter_family,
    iter_graphs,
    iter_ranked,
    load_family,
    load_measured,
    read_names,
    save_family,
    save_list_cache,
)
from model_src.files import InputError, save_pickle

NB201_FILE = "gpi_nb201c10_comp_graph_cache.pkl"
HIAML_FILE = "gpi_test_hiaml_cifar10_labelled_cg_data.json"


def test_families_that_share_a_file(tmp_path):
    assert family_path("nb201", tmp_path) == family_path("nb201c10", tmp_path) == tmp_path / NB201_FILE
    assert family_path("nb101", tmp_path) == family_path("nb101_5k", tmp_path)
    with pytest.raises(InputError, match="unknown family 'ofa'; known are hiaml"):
        family_path("ofa", tmp_path)


def test_the_nb101_subset_is_picked_from_the_full_cache(tmp_path, networks):
    save_list_cache(tmp_path / "gpi_nb101_comp_graph_cache.pkl", networks)
    save_pickle(["HiAMLNet2", "HiAMLNet0", "elsewhere"], tmp_path / "nb101_5k_name_list.pkl")
    assert [network.graph.name for network in load_family("nb101", tmp_path)] == ["HiAMLNet0", "HiAMLNet2"]


@pytest.mark.parametrize("content", [7, {"NB101-Net1": 1}, ["NB101-Net1", 2], "NB101-Net1"])
def test_a_foreign_list_of_names_is_refused(tmp_path, content):
    save_pickle(content, tmp_path / "names.pkl")
    with pytest.raises(InputError, match=r"names\.pkl: not a list of network names"):
        read_names(tmp_path / "names.pkl")


@pytest.mark.parametrize("family", all_names(with_networks()))
def test_a_missing_file_is_named(tmp_path, family):
    with pytest.raises(InputError, match=f"{family_path(family).name}: No such file"):
        load_family(family, tmp_path)


def test_networks_come_one_at_a_time(tmp_path, networks):
    save_family(tmp_path / HIAML_FILE, networks)
    text = (tmp_path / HIAML_FILE).read_text()
    (tmp_path / HIAML_FILE).write_text(text[: len(text) // 2])
    stream = iter_family("hiaml", tmp_path)
    assert next(stream).graph.name == "HiAMLNet0"
    with pytest.raises(InputError, match=HIAML_FILE):
        list(stream)


def test_networks_with_an_accuracy(tmp_path, networks):
    save_family(tmp_path / HIAML_FILE, networks)
    pairs = [(graph.name, accuracy) for graph, accuracy in load_measured("hiaml", tmp_path)]
    assert pairs == [("HiAMLNet0", 0.91), ("HiAMLNet1", 0.93)]
    save_family(tmp_path / HIAML_FILE, [replace(network, accuracy=None) for network in networks])
    with pytest.raises(InputError, match=f"{HIAML_FILE}: none of the networks of hiaml has an accuracy"):
        load_measured("hiaml", tmp_path)


def test_graphs_of_several_families(tmp_path, networks):
    save_family(tmp_path / HIAML_FILE, networks)
    save_family(tmp_path / NB201_FILE, networks[:1])
    names = ["HiAMLNet0", "HiAMLNet0", "HiAMLNet1", "HiAMLNet2"]
    assert [graph.name for graph in iter_graphs(["nb201", "hiaml"], tmp_path)] == names
    ranked = [(graph.name, rank) for graph, rank in iter_ranked("hiaml", tmp_path)]
    assert ranked == [("HiAMLNet0", 0.91), ("HiAMLNet1", 0.93), ("HiAMLNet2", -math.inf)]


def test_a_cache_is_of_the_kind_of_its_family():
    assert cache_for("hiaml") == family_path("hiaml")
    assert cache_for("hiaml", Path("x.json")) == Path("x.json")
    with pytest.raises(InputError, match=r"x\.pkl: a cache of hiaml is a \.json file"):
        cache_for("hiaml", Path("x.pkl"))
