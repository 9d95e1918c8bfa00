import logging

import pytest

import make_segment_predictor_cache_sa as script
from model_src.files import InputError
from model_src.predictor.data.psc_cache import build_cache, load_cache

FLAGS = ["-data_family", "hiaml", "-encoder_families", "hiaml+two_path"]
SOURCE = "gpi_comp_graph_cache_E-h+t_D-h_shp_2000.pkl"


@pytest.fixture
def folder(tmp_path, tiny_graph):
    order = [1, 0, 2, 3, 4]
    networks = [
        (tiny_graph, 0.9 + i / 100, [("ab", order[:2]), ("cd", order[2:4]), ("e", order[4:])]) for i in range(9)
    ]
    build_cache("hiaml", networks).save(tmp_path / SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    ("num_samples", "written", "count"), [("all", "all", 18), ("4", "4.0", 8), ("4.0", "4.0", 8), ("0.5", "0.5", 10)]
)
def test_records_are_selected(folder, num_samples, written, count, caplog):
    caplog.set_level(logging.INFO)
    assert script.main([*FLAGS, "-num_samples", num_samples, "-cache_dir", str(folder)]) == 0
    output = folder / f"gpi_comp_graph_cache_E-h+t_D-h_shp_2000_s_ns{written}.pkl"
    assert caplog.messages == [f"wrote {output}"]
    found = load_cache(output)
    assert len(found.selected) == count
    assert len(found.networks) == 9
    assert found.pieces == ["b", "cd"]


def test_the_seed_decides(folder):
    draws = []
    for seed in ("1", "1", "2"):
        script.main([*FLAGS, "-num_samples", "3", "-seed", seed, "-cache_dir", str(folder)])
        path = folder / "gpi_comp_graph_cache_E-h+t_D-h_shp_2000_s_ns3.0.pkl"
        draws.append(load_cache(path).selected.tolist())
    assert draws[0] == draws[1] != draws[2]


def test_another_file_can_be_read(folder):
    (folder / SOURCE).rename(folder / "other.pkl")
    script.main([*FLAGS, "-cache", str(folder / "other.pkl"), "-cache_dir", str(folder / "out")])
    assert [path.name for path in (folder / "out").iterdir()] == [SOURCE.replace(".pkl", "_s_nsall.pkl")]


def test_what_is_read_is_not_written_over(folder):
    flags = [*FLAGS, "-num_samples", "4", "-cache_dir", str(folder)]
    script.main(flags)
    (selected,) = folder.glob("*_s_ns4.0.pkl")
    before = selected.read_bytes()
    with pytest.raises(InputError, match=r"-cache .*_s_ns4\.0\.pkl: would be written over"):
        script.main([*flags, "-cache", str(selected)])
    assert selected.read_bytes() == before


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    command = "run_psc_segment.py -data_family hiaml -encoder_families hiaml.two_path -encoding shp -vocab_size 2000"
    with pytest.raises(InputError, match=f"No such file or directory; make it with `python {command}`"):
        script.main([*FLAGS, "-cache_dir", str(tmp_path)])


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="-num_samples"):
        script.parse_args([*FLAGS, "-num_samples", "0"])
