import logging
from pathlib import Path

import pytest

import gen_vocab
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.paths import VocabularyName
from model_src.encoder.tokenizer import Tokenizer
from model_src.family_data import LabelledGraph, family_path, save_list_cache
from model_src.files import InputError
from tests.encoder.test_tokenizer import GRAPHS


@pytest.fixture
def flags(tmp_path):
    """Flags for a tiny NB-201 cache; graph i is the i-th most accurate but for the last, which is not measured."""
    data = tmp_path / "data"
    accuracies = [0.9, 0.8, 0.7, 0.6, 0.5, None]
    networks = [
        LabelledGraph(_renamed(graph, f"n{number}"), accuracy, 1.0)
        for number, (graph, accuracy) in enumerate(zip(GRAPHS, accuracies, strict=True))
    ]
    save_list_cache(family_path("nb201", data), networks[::-1])
    return ["-families", "nb201c10", "-vocab_size", "20", "-data_dir", str(data), "-output_dir", str(tmp_path / "out")]


def _renamed(graph, name):
    return type(graph).from_state_dict({**graph.state_dict(), "name": name})


def test_a_vocabulary_is_written_most_accurate_network_first(flags, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert gen_vocab.main(flags) == 0
    told = {Path(line.removeprefix("wrote ")) for line in caplog.messages if line.startswith("wrote ")}
    assert told == {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    folder = tmp_path / "out" / "n2"
    encoder = NetworkEncoder.load(folder / "n2_encoder_shp.pkl")
    assert encoder.families == ("nb201",)
    lines = (folder / "n2_graph_tokens_shp.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [f"<s>{encoder.encode_graph(graph)}</s>" for graph in GRAPHS]
    tokenizer = Tokenizer.load(folder / "models" / "n2_vsize20_bpe_shp.model")
    assert len(tokenizer.pieces) == 20
    assert (folder / "models" / "n2_vsize20_bpe_shp.vocab").exists()
    assert next(iter(encoder.op2vocab.values())) == lines[0][3]


def test_files_are_replaced_only_when_told_to(flags, tmp_path):
    gen_vocab.main(flags)
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    before = [path.read_bytes() for path in files]
    with pytest.raises(InputError, match="exists; -overwrite"):
        gen_vocab.main(flags)
    assert gen_vocab.main([*flags, "-overwrite"]) == 0
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (["-vocab_size", "5000"], "-vocab_size 5000: too large, these networks allow at most"),
        (["-families", "nb201+nb301"], "unknown family 'nb301'"),
        (["-encoding", "shape"], "invalid choice"),
        (["-families", "hiaml"], "No such file or directory; make it with `python gen_families.py -family hiaml`"),
    ],
)
def test_bad_flags_leave_nothing_behind(flags, tmp_path, extra, reason):
    with pytest.raises(InputError, match=reason):
        gen_vocab.main([*flags, *extra])
    assert not (tmp_path / "out").exists()


def test_defaults():
    config = gen_vocab.parse_args([])
    families = ("hiaml", "inception", "nb101_5k", "nb201", "two_path")
    assert (config.vocabulary, config.overwrite) == (VocabularyName(families, "shp", 2000), False)
