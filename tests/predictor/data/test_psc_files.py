from pathlib import Path

from model_src.encoder.paths import VocabularyName
from model_src.predictor.data.psc_files import cache_path


def test_names_of_files():
    folder = Path("cache")
    assert cache_path(folder, "nb201c10", VocabularyName(("hiaml", "inception"), "shp", 2000)) == (
        folder / "gpi_comp_graph_cache_E-h+i_D-n2_shp_2000.pkl"
    )
    assert cache_path(folder, "nb201", VocabularyName(("hiaml",), "op", 500), "100.0") == (
        folder / "gpi_comp_graph_cache_E-h_D-n2_op_500_s_ns100.0.pkl"
    )
