from pathlib import Path

from model_src.encoder.paths import vocabulary_files


def test_names_are_the_published_ones():
    files = vocabulary_files(root=Path("top"))
    folder = Path("top/h+i+n15+n2+t")
    assert files.text == folder / "h+i+n15+n2+t_graph_tokens_shp.txt"
    assert files.encoder == folder / "h+i+n15+n2+t_encoder_shp.pkl"
    assert files.model == folder / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.model"
    assert files.vocab == folder / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.vocab"
    assert files.database == folder / "combined_segment_DB_res_ratio.pkl"
