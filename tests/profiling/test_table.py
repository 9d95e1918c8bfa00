"""Tables of layers: read back as they were written, refused by line; a search that has one times no layers."""

import pytest

from model_src.files import InputError
from model_src.profiling.layers import Layer, different_layers
from model_src.profiling.meter import latency_meter
from model_src.profiling.runtimes import Runtime
from model_src.profiling.table import read_table, write_table
from tests.profiling.fakes import install

TIMES = {Layer("conv", 8, 8, 3, 4, 4, 16, 3, 3, 2, 2): 0.25, Layer("add", 4, 4, 16, 4, 4, 16): 0.001}


def test_a_table_is_read_back_as_it_was_written(tmp_path):
    write_table(tmp_path / "t.csv", TIMES, "here, 1 thread")
    assert read_table(tmp_path / "t.csv") == TIMES
    header, first, _ = (tmp_path / "t.csv").read_text().splitlines()
    assert header == "operation,h_in,w_in,c_in,h_out,w_out,c_out,k_h,k_w,s_h,s_w,groups,ms,setting"
    assert first == 'conv,8,8,3,4,4,16,3,3,2,2,1,0.250000,"here, 1 thread"'


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (",ms,", ",seconds,", "has no column ms"),
        ("conv,8", "conf,8", "line 2: no layer"),
        ("0.250000", "-1", "line 2: no layer"),
        ("0.250000", "nan", "line 2: no layer"),
        ("2,2,1,", "2,2,0,", "line 2: no layer"),
        ("conv,8", "conv,eight", "line 2: no layer with its time: invalid literal"),
        ("add,4,4,16,4,4,16,0,0,1,1,1,0.001000", "add,4", "line 3: not as many cells"),
        ("0.250000", "1e-200", "line 2: no layer"),
        ("conv,8,8,3", f"conv,8,8,{10**400}", "line 2: no layer"),
        ("setting\n", "ms\n", "has two columns ms"),
    ],
)
def test_what_is_no_table_is_refused_by_line(tmp_path, old, new, reason):
    path = tmp_path / "t.csv"
    write_table(path, TIMES, "here")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=rf"t\.csv: .*{reason}"):
        read_table(path)


def test_an_empty_table_is_refused(tmp_path):
    write_table(tmp_path / "t.csv", TIMES, "here")
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="without rows"):
        read_table(tmp_path / "t.csv")


def test_a_search_with_a_table_times_no_layers(tmp_path, source, monkeypatch):
    fake, runtime = install(monkeypatch), Runtime("torch")
    times = {layer: float(at + 1) for at, layer in enumerate(different_layers(source.nodes, runtime.fused))}
    write_table(tmp_path / "t.csv", times, "here")
    meter = latency_meter(runtime, table=tmp_path / "t.csv")
    estimate = meter.estimate(source, 1.0)
    assert not fake.asked
    assert estimate.known == times
    assert estimate.of_graph(source) > sum(times.values()) / 2
