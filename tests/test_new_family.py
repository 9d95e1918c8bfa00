"""A family of one's own: a module and a row, and every script takes it."""

import re

import numpy as np
import pytest

import gen_DB
import gen_families
import gen_vocab
import make_segment_predictor_cache_sa
import run_cg_kgnn_predictor
import run_gpi_segment_predictor
import run_psc_segment
from constants import OPS
from model_src import families
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segment_db import SegmentDatabase
from model_src.families import Family
from model_src.family_data import family_path, load_family
from model_src.files import InputError
from model_src.search.candidates import allowed_ops
from model_src.search_space.sampling import config_hash, distinct_networks, space_of

MODULE = """
from model_src.search_space.graph_builder import GraphBuilder

def sample(rng):
    return [int(width) for width in rng.choice([16, 24, 32, 48], size=5)]

def build(config, name):
    b = GraphBuilder(name)
    x = b.input()
    for width in config:
        x = b.relu(b.batchnorm(b.conv(x, width, 3, 1)))
        x = b.add(x, b.conv(x, width, 1, 1))
    return b.classifier(x, dropout=False)
"""
ROW = Family("toy", OPS["hiaml"] | {"mish"}, abbreviation="y", module="toy_family", cache="toy_cache.json")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The folder of the caches; the family is known while the test runs."""
    (tmp_path / "toy_family.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(families, "FAMILIES", families.table(*families.FAMILIES, ROW))
    return tmp_path / "data"


def generate(data, *flags):
    output = family_path("toy", data)
    assert gen_families.main(["-family", "toy", "-num", "40", "-output", str(output), *flags]) == 0
    return load_family("toy", data)


def write_table(path):
    """Accuracies of forty networks by the hash of their config."""
    drawn = distinct_networks(space_of("toy"), np.random.default_rng(12345), 40)
    rows = [f"{config_hash(network.config)},{0.9 + number / 1000}\n" for number, network in enumerate(drawn)]
    path.write_text("key,accuracy\n" + "".join(rows))


def test_a_family_is_a_module_and_a_row(data, tmp_path):
    table = tmp_path / "table.csv"
    write_table(table)
    networks = generate(data, "-label_table", str(table))
    assert [network.graph.name for network in networks] == [f"toy{number}" for number in range(40)]
    assert networks[7].accuracy == pytest.approx(0.907)

    folders = ["-data_dir", str(data)]
    vocabulary = ["-encoder_families", "toy", "-vocab_size", "40"]
    caches = ["-vocabulary_dir", str(tmp_path), "-cache_dir", str(tmp_path)]
    gen_vocab.main(["-families", "toy", "-vocab_size", "40", *folders, "-output_dir", str(tmp_path)])
    files = vocabulary_files("toy", "shp", 40, tmp_path)
    assert files.encoder.parent.name == "y"
    paths = ["-encoder_path", str(files.encoder), "-tokenizer_path", str(files.model)]
    gen_DB.main(["-families", "toy", *paths, *folders, "-output", str(files.database)])
    assert len(SegmentDatabase.open(files.database).segments) > 5
    run_psc_segment.main(["-data_family", "toy", *vocabulary, *folders, *caches])
    make_segment_predictor_cache_sa.main(["-data_family", "toy", *vocabulary, *caches[2:]])
    training = ["-data_families", "toy", "-epochs", "1", "-num_layers", "1", "-device_str", "cpu"]
    training += ["-saved_models_dir", str(tmp_path / "models"), "-logs_dir", str(tmp_path / "logs")]
    run_gpi_segment_predictor.main([*training, *vocabulary, *caches[2:], "-epoch_samples", "1", "-test_folds", "1"])
    run_cg_kgnn_predictor.main([*training, *folders])
    assert {path.name for path in (tmp_path / "models").glob("*_best.pt")} == {
        "gpi_PSC_predictor_predictor_E-y_D-y_shp_40_s_ns-all_rp-1_seed12345_best.pt",
        "gpi_GNN_predictor_predictor_D-y_seed12345_best.pt",
    }


def test_its_operations_are_those_of_its_row(data):
    assert allowed_ops("toy") == allowed_ops("hiaml") | {"mish"}


def test_what_is_missing_or_wrong_is_one_line(data, tmp_path):
    for reason, call in {
        "toy_cache.json: No such file or directory; make it with `python gen_families.py -family toy`": (
            lambda: gen_vocab.main(["-families", "toy", "-data_dir", str(data)])
        ),
        "-num all: toy cannot be listed": lambda: gen_families.main(["-family", "toy", "-num", "all"]),
        "-traced: toy has no traced form": lambda: gen_families.main(["-family", "toy", "-traced"]),
        "-label analog-nasbench: it has no accuracies of toy": (
            lambda: gen_families.main(["-family", "toy", "-label", "analog-nasbench"])
        ),
        "unknown family 'toys'; known are edsr, generic, generic_noDW, hiaml,": lambda: allowed_ops("toys"),
    }.items():
        with pytest.raises(InputError, match=re.escape(reason)) as caught:
            call()
        assert "\n" not in str(caught.value)
