from pathlib import Path

import pytest

from model_src.encoder.paths import family_abbreviation, parse_families, vocabulary_files
from model_src.files import InputError


def test_names_are_the_published_ones():
    files = vocabulary_files(root=Path("top"))
    folder = Path("top/h+i+n15+n2+t")
    assert files.text == folder / "h+i+n15+n2+t_graph_tokens_shp.txt"
    assert files.encoder == folder / "h+i+n15+n2+t_encoder_shp.pkl"
    assert files.model == folder / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.model"
    assert files.vocab == folder / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.vocab"
    assert files.database == folder / "combined_segment_DB_res_ratio.pkl"


def test_families_are_sorted_and_aliases_are_one_family():
    assert parse_families("two_path+nb101+nb201c10+nb101_5k") == ("nb101_5k", "nb201", "two_path")
    assert family_abbreviation("nb201+hiaml+nb201c10") == "h+n2"
    assert family_abbreviation(["two_path", "hiaml"]) == "h+t"


@pytest.mark.parametrize("text", ["", "hiaml+nb301", "hiaml,nb201"])
def test_other_families_are_refused(text):
    with pytest.raises(InputError, match="unknown family"):
        parse_families(text)
