import logging

import pytest

import gen_DB
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segment_db import SegmentDatabase
from model_src.encoder.tokenizer import learn_vocabulary
from model_src.family_data import LabelledGraph, save_family
from model_src.files import InputError
from tests.encoder.test_tokenizer import chain


@pytest.fixture
def flags(tmp_path):
    data = tmp_path / "data"
    hiaml, nb201 = [chain(3), chain(5)], [chain(7)]
    for name, graphs in (
        ("gpi_test_hiaml_cifar10_labelled_cg_data.json", hiaml),
        ("gpi_nb201c10_comp_graph_cache.pkl", nb201),
    ):
        save_family(data / name, [LabelledGraph(graph, 0.9, 1.0) for graph in graphs])
    files = vocabulary_files("hiaml+nb201", "shp", 16, tmp_path / "vocabulary")
    ranked = {name: [(graph, 0.9) for graph in graphs] for name, graphs in (("hiaml", hiaml), ("nb201", nb201))}
    learn_vocabulary(ranked, "shp", 16).save(files)
    paths = ["-encoder_path", str(files.encoder), "-tokenizer_path", str(files.model), "-data_dir", str(data)]
    return ["-families", "nb201+hiaml", *paths, "-output", str(tmp_path / "out" / "database.pkl")]


def test_a_database_is_built_in_the_order_of_the_families(flags, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert gen_DB.main(flags) == 0
    database = SegmentDatabase.open(tmp_path / "out" / "database.pkl")
    encoder = NetworkEncoder.load(flags[3])
    # The first text is the beginning of the shortest HiAML network.
    assert encoder.encode_graph(chain(3)).startswith(database.segments[0].text)
    statistics = database.statistics()
    assert statistics.n_rows == len({segment.text for segment in database.segments}) == statistics.n_unique
    assert f"{statistics.n_unique} unique segments (paper: 428)" in caplog.text
    assert caplog.messages[-1] == f"wrote {tmp_path / 'out' / 'database.pkl'}"


def test_defaults_name_the_published_files():
    config = gen_DB.parse_args([])
    assert config.families == ("hiaml", "inception", "two_path", "nb101_5k", "nb201")
    files = vocabulary_files()
    assert (config.encoder_path, config.tokenizer_path, config.output) == (files.encoder, files.model, files.database)
    config = gen_DB.parse_args(["-encoder_families", "nb201", "-encoding", "op", "--vocab-size", "500"])
    assert config.tokenizer_path.name == "n2_vsize500_bpe_op.model"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (["-families", "inception"], "No such file .*; make it with `python gen_families.py -family inception`"),
        (
            ["-encoder_path", "none.pkl", "-encoder_families", "nb101"],
            "none.pkl: No such file .*; make it with `python gen_vocab.py -families nb101_5k -encoding shp -vocab",
        ),
    ],
)
def test_missing_files_leave_nothing_behind(flags, tmp_path, extra, reason):
    with pytest.raises(InputError, match=reason):
        gen_DB.main([*flags, *extra])
    assert not (tmp_path / "out").exists()
