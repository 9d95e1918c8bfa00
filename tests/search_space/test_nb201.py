import pickle
import sys
import types

import numpy as np
import pytest

from constants import ROOT
from model_src.comp_graph.graph_ops import same_topology
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.files import InputError
from model_src.search_space import nb201
from tests.search_space.rebuild import content, figures, ops, reference_networks

LETTERS = {"3": "nor_conv_3x3", "1": "nor_conv_1x1", "a": "avg_pool_3x3", "s": "skip_connect", "n": "none"}
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("ssssss", (21, 22, 38_192, 7_783_040)),
        ("nnnnnn", (21, 22, 38_192, 7_783_040)),
        ("ssnnsa", (81, 112, 38_192, 7_783_040)),
        ("sss3s3", (141, 172, 522_032, 78_561_920)),
        ("3snsss", (111, 157, 280_112, 43_172_480)),
        ("naaans", (156, 202, 38_192, 7_783_040)),
        ("s331sn", (201, 247, 548_912, 82_494_080)),
        ("3na3a1", (261, 307, 548_912, 82_494_080)),
        ("33ss31", (246, 292, 790_832, 117_883_520)),
    ],
)
def test_figures_of_known_configurations(cell, expected):
    assert figures(nb201.build([LETTERS[letter] for letter in cell], "net", keep_identity=False)) == expected


def test_every_reference_network_is_rebuilt(reference):
    for config, expected in reference_networks(reference, "nb201"):
        assert content(nb201.build(config, "net", keep_identity=False)) == content(expected), config


def test_skip_connections_of_the_published_form_are_identities():
    cg = nb201.build(["skip_connect"] * 6, "net")
    # In every cell: s2 + s3, (s6 + s5) + s4; the dropout is an identity, too.
    assert ops(cg)["add"] == 3 * 15 + 2
    assert ops(cg)["identity"] == 6 * 15 + 1


def test_published_network(reference, op2i):
    published = load_cg(reference / "published" / "architectures" / "nb201_best.pkl")
    cg = nb201.build(nb201.config_of(BEST), "net")
    assert (cg.n_nodes, len(cg.edge_pairs)) == (306, 352)
    assert compute_cg_flops(cg, op2i) == pytest.approx(312.767892)
    assert same_topology(cg, published)
    assert cg.edge_pairs == published.edge_pairs
    assert [node.label.replace("normv3", "norm") for node in cg.nodes] == [node.label for node in published.nodes]


def test_shipped_network_is_the_best_cell():
    shipped = load_cg(ROOT / "architectures" / "nb201_best.pkl")
    assert shipped.name == nb201.network_name(nb201.config_of(BEST))
    assert content(shipped) == content(nb201.build(nb201.config_of(BEST), shipped.name))


def test_architecture_strings():
    config = ["skip_connect", "none", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3", "none"]
    text = "|skip_connect~0|+|none~0|avg_pool_3x3~1|+|nor_conv_1x1~0|nor_conv_3x3~1|none~2|"
    assert nb201.architecture_string(config) == text
    assert nb201.config_of(text) == config


@pytest.mark.parametrize("text", ["", "skip_connect", BEST[:-1], BEST.replace("~2", "~1"), BEST.replace("skip", "hop")])
def test_other_strings_are_refused(text):
    with pytest.raises(ValueError, match="NAS-Bench-201"):
        nb201.config_of(text)


def test_all_cells_and_their_names():
    every = nb201.all_configs(exclude_none=False)
    assert len(every) == 15_625
    assert [nb201.network_name(config) for config in (every[0], every[76], every[-1])] == [
        "NB201-Net0", "NB201-Net76", "NB201-Net15624",
    ]  # fmt: skip
    without = nb201.all_configs()
    assert len(without) == 4096
    assert not any("none" in config for config in without)


def test_samples():
    draws = [nb201.sample(np.random.default_rng(seed)) for seed in range(50)]
    assert draws == [nb201.sample(np.random.default_rng(seed)) for seed in range(50)]
    assert not any("none" in config for config in draws)
    assert any("none" in nb201.sample(np.random.default_rng(seed), exclude_none=False) for seed in range(50))


@pytest.mark.parametrize("config", [[], ["skip_connect"] * 5, ["skip_connect"] * 5 + ["zero"]])
def test_other_configs_are_refused(config):
    with pytest.raises(ValueError, match="a NAS-Bench-201 cell is 6 names"):
        nb201.build(config, "net")


def pickled_cells(path, cells):
    """A file in the form of the package: its class, plain attributes, keyed by six operation codes."""
    package = types.ModuleType("analognasbench.data")
    package.Architecture = type("Architecture", (), {"__module__": package.__name__, "__qualname__": "Architecture"})
    sys.modules[package.__name__] = package
    sys.modules["analognasbench"] = types.ModuleType("analognasbench")
    try:
        entries = {}
        for codes, percent in cells.items():
            entries[codes] = package.Architecture()
            entries[codes].baseline_accuracy = percent
        path.write_bytes(pickle.dumps(entries, protocol=4))
    finally:
        del sys.modules[package.__name__], sys.modules["analognasbench"]
    return path


def test_analog_nasbench(tmp_path):
    # Its edges are 0->1, 0->2, 0->3, 1->2, 1->3, 2->3.
    path = pickled_cells(tmp_path / "data.anb", {(0, 1, 2, 3, 4, 0): 91.5, (1, 1, 1, 1, 1, 1): 10.0})
    assert nb201.read_package_labels(path) == {
        "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|": 0.915,
        nb201.architecture_string(["none"] * 6): 0.1,
    }


def test_other_content_is_no_analog_nasbench(tmp_path):
    path = tmp_path / "data.anb"
    for other in ([1], {(0,): 1}, {"a": 1}):
        path.write_bytes(pickle.dumps(other))
        with pytest.raises(InputError, match=r"data\.anb"):
            nb201.read_package_labels(path)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("model_src.search_space.nb201.ANALOG_NASBENCH", "no-such-package-at-all")
    with pytest.raises(InputError, match="pip install"):
        nb201.read_package_labels()
