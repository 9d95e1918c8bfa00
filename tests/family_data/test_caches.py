import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.family_data import (
    LabelledGraph,
    family_path,
    load_family,
    save_family,
    save_list_cache,
    save_state_cache,
)
from model_src.files import InputError, save_pickle
from model_src.search_space import nb201

NB201_FILE = "gpi_nb201c10_comp_graph_cache.pkl"
HIAML_FILE = "gpi_test_hiaml_cifar10_labelled_cg_data.json"


def summary(networks):
    return [
        (canonical_hash(n.graph), n.graph.name, n.accuracy, pytest.approx(n.flops), n.n_params, n.config)
        for n in networks
    ]


@pytest.mark.parametrize(("family", "file"), [("nb201", NB201_FILE), ("hiaml", HIAML_FILE)])
def test_what_is_saved_is_loaded_in_file_order(tmp_path, networks, family, file):
    save_family(tmp_path / file, networks)
    assert summary(networks) == summary(load_family(family, tmp_path))


def test_the_list_form_is_the_published_one(tmp_path, networks):
    save_list_cache(tmp_path / NB201_FILE, networks)
    content = (tmp_path / NB201_FILE).read_bytes()
    assert content[:2] == b"\x80\x04"
    named = set()

    class Plain:
        """Takes the state of any class as attributes, as the published classes do."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            named.add((module, name))
            return Plain

    entry = Unpickler(io.BytesIO(content)).load()[0]
    home = "model_src.comp_graph.tf_comp_graph"
    assert named == {(home, "ComputeGraph"), (home, "WeightedNode"), (home, "RegularNode")}
    assert list(entry) == ["compute graph", "acc", "flops", "n_params", "original config"]
    assert entry["acc"] == 0.91
    graph = vars(entry["compute graph"])
    assert graph["n_weighted_nodes"] == len(graph["weighted_nodes"]) == 18
    assert vars(graph["weighted_nodes"][0])["shape"] == (3, 64, 3, 3)
    assert vars(graph["regular_nodes"][0])["type_idx"] == 0


def test_the_state_form_is_the_published_one(tmp_path, networks):
    save_state_cache(tmp_path / HIAML_FILE, networks)
    entries = json.loads((tmp_path / HIAML_FILE).read_text())
    assert list(entries) == ["HiAMLNet0", "HiAMLNet1", "HiAMLNet2"]
    entry = entries["HiAMLNet0"]
    assert entry["max_perf"] == pytest.approx(91)
    assert entry["flops"] == pytest.approx(networks[0].flops * 1e6)
    assert entry["cg"]["weighted_nodes"][0]["shape"] == [3, 64, 3, 3]
    assert entries["HiAMLNet2"]["max_perf"] is None


@pytest.mark.parametrize("stored", [{}, {"flops": 0.16}, {"flops": None}])
def test_flops_of_unknown_unit_are_counted_anew(tmp_path, networks, stored):
    entry = {"cg": networks[0].graph.state_dict(), "max_perf": 91.0, **stored}
    (tmp_path / HIAML_FILE).write_text(json.dumps({"key": entry}))
    (loaded,) = load_family("hiaml", tmp_path)
    assert loaded.flops == pytest.approx(networks[0].flops)
    assert (loaded.accuracy, loaded.n_params, loaded.config) == (0.91, None, None)


def test_numpy_values_become_plain_ones(tmp_path, networks):
    entry = {
        "compute graph": networks[0].graph,
        "acc": np.float64(0.5),
        "flops": np.float32(2),
        "n_params": np.int64(7),
        "original config": (["input"], np.array([[0, 1], [0, 0]])),
    }
    save_pickle([entry], tmp_path / NB201_FILE)
    (loaded,) = load_family("nb201", tmp_path)
    assert (loaded.accuracy, loaded.flops, loaded.n_params) == (0.5, 2, 7)
    assert (type(loaded.accuracy), type(loaded.n_params)) == (float, int)
    assert loaded.config == (["input"], [[0, 1], [0, 0]])


def test_a_numpy_array_of_objects_is_refused(tmp_path):
    save_pickle([np.array([{}], dtype=object)], tmp_path / NB201_FILE)
    with pytest.raises(InputError, match=NB201_FILE):
        load_family("nb201", tmp_path)


def test_equal_nodes_are_one_object(tmp_path):
    graph = nb201.build(["skip_connect"] * 6, "NB201-Net0")
    save_family(tmp_path / HIAML_FILE, [LabelledGraph(replace(graph, name=name), 0.9, 1.0) for name in ("a", "b")])
    first, second = load_family("hiaml", tmp_path)
    assert all(one is other for one, other in zip(first.graph.nodes, second.graph.nodes, strict=True))


@pytest.mark.parametrize("family", ["hiaml", "nb101", "nb201"])
def test_a_truncated_file_is_named(tmp_path, networks, family):
    path = family_path(family, tmp_path)
    save_family(path, networks)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=path.name):
        load_family(family, tmp_path)


@pytest.mark.parametrize(
    "content", [{"a": 1}, [1], [{}], [{"compute graph": 1, "acc": 0.9, "flops": 1}], [("a", "b")], [slice(1)]]
)
def test_foreign_content_is_refused(tmp_path, content):
    save_pickle(content, tmp_path / NB201_FILE)
    with pytest.raises(InputError, match=NB201_FILE):
        load_family("nb201", tmp_path)
    if content != [slice(1)]:
        (tmp_path / HIAML_FILE).write_text(json.dumps(content))
        with pytest.raises(InputError, match=HIAML_FILE):
            load_family("hiaml", tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_perf": ...}, "has no 'max_perf'"),
        ({"cg": ...}, "has no 'cg'"),
        ({"cg": {}}, "is not usable"),
        ({"cg": [1]}, "is not usable"),
        ({"cg": None}, "is not usable"),
        ({"max_perf": "93"}, "is not usable"),
        ({"max_perf": [93]}, "is not usable"),
        ({"flops": "many"}, "is not usable"),
        ({"edge_pairs": [[0, 10_000]]}, "is not usable"),
        ({"regular_nodes": [{"str_id": "1"}]}, "is not usable"),
        ({"regular_nodes": 7}, "is not usable"),
        ({"input_shape": None}, "is not usable"),
    ],
)
def test_a_state_with_missing_keys_or_wrong_types_is_named(tmp_path, networks, changes, reason):
    entry = {"cg": networks[0].graph.state_dict(), "max_perf": 91.0, "flops": 2e8}
    part = entry if changes.keys() <= entry.keys() else entry["cg"]
    part.update(changes)
    kept = {key: value for key, value in entry.items() if value is not ...}
    (tmp_path / HIAML_FILE).write_text(json.dumps({"net7": kept}))
    with pytest.raises(InputError, match=f"{HIAML_FILE}: network 'net7' {reason}") as caught:
        load_family("hiaml", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"acc": ...}, "has no 'acc'"),
        ({"flops": ...}, "has no 'flops'"),
        ({"compute graph": ...}, "has no 'compute graph'"),
        ({"compute graph": "a"}, "it holds a str where the graph belongs"),
        ({"acc": "good"}, "is not usable"),
        ({"flops": "many"}, "is not usable"),
        ({"flops": None}, "is not usable"),
    ],
)
def test_an_entry_with_missing_keys_or_wrong_types_is_named(tmp_path, networks, changes, reason):
    entry = {"compute graph": networks[0].graph, "acc": 0.9, "flops": 1.0, **changes}
    save_pickle([{key: value for key, value in entry.items() if value is not ...}], tmp_path / NB201_FILE)
    with pytest.raises(InputError, match=f"{NB201_FILE}: network 0 .*{reason}"):
        load_family("nb201", tmp_path)


@pytest.mark.parametrize("percent", [93, -0.1, float("nan"), "0.9"])
def test_accuracies_that_are_no_fractions_are_refused(tmp_path, networks, percent):
    save_list_cache(tmp_path / NB201_FILE, [replace(networks[0], accuracy=percent)])
    with pytest.raises(InputError, match=f"{NB201_FILE}: network 0 is not usable"):
        load_family("nb201", tmp_path)


def test_an_empty_cache(tmp_path):
    for family in ("hiaml", "nb201"):
        save_family(family_path(family, tmp_path), [])
        assert load_family(family, tmp_path) == []


def test_two_networks_of_one_name_are_refused(tmp_path, networks):
    save_list_cache(tmp_path / NB201_FILE, [networks[0], networks[0]])
    with pytest.raises(InputError, match="two networks are named HiAMLNet0"):
        load_family("nb201", tmp_path)
