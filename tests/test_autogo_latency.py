"""A search for lower latency, from the shell: stopped, gone on with, repeated."""

import csv
import json

import pytest

import autogo
from model_src.files import InputError
from model_src.search.journal import Journal
from tests.profiling.fakes import install
from tests.test_autogo import ENSEMBLE, arguments, result_folder


@pytest.fixture
def fake(monkeypatch):
    return install(monkeypatch)


def flags(tmp_path, **changes):
    usual = {
        "predictor_path": ENSEMBLE,
        "epoch": 2,
        "rescore_per_iter": 8,
        "max_score_drop": 9,
        "objective": "latency",
        "latency_runtime": "torch",
        "min_flops_decrease_percent": None,
        "max_flops_decrease_percent": None,
        "min_decrease_percent": -20,
        "max_decrease_percent": 90,
        "costs_dir": tmp_path / "costs",
    }
    return arguments(tmp_path, **{**usual, **changes})


def rows(folder, name="pareto.csv"):
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def stop_before(monkeypatch, iteration):
    append = Journal.append

    def stopping(self, turn):
        if turn.iteration == iteration:
            raise KeyboardInterrupt
        append(self, turn)

    monkeypatch.setattr(Journal, "append", stopping)
    return append


def test_a_stopped_search_goes_on_to_the_same_bytes_and_measures_nothing_anew(fake, tmp_path, monkeypatch, capsys):
    assert autogo.main(flags(tmp_path / "whole")) == 0
    whole = result_folder(tmp_path / "whole")
    n_whole, fake.pace = len(fake.asked), 3.0  # whatever is measured now would differ, if it were not for the input
    append = stop_before(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        autogo.main(flags(tmp_path / "part", costs_dir=tmp_path / "whole" / "costs"))
    assert len(fake.asked) == n_whole  # the other search has left all
    part = result_folder(tmp_path / "part")
    (tmp_path / "whole" / "costs").rename(tmp_path / "gone")
    monkeypatch.setattr(Journal, "append", append)
    assert autogo.main(["-resume", str(part), "-costs_dir", str(tmp_path / "new")]) == 0
    for name in ("pareto.csv", "history.csv", "genealogy.json"):
        assert (part / name).read_bytes() == (whole / name).read_bytes(), name
    assert len(fake.asked) == n_whole
    columns = list(rows(whole)[0])
    assert columns[columns.index("hash") + 1 :][:2] == ["latency_ms", "latency_ms_change_percent"]
    assert float(rows(whole)[0]["latency_ms"]) > 10
    setting = json.loads((whole / "params.json").read_text())["measured_by"]["latency_ms"]
    assert setting.startswith("torch ")
    assert f"latency_ms, where it is known, was measured by {setting}." in (whole / "report.html").read_text()
    assert {row["setting"] for row in rows(whole, "costs.csv")} == {setting, f"{setting}, single layers"}


@pytest.mark.slow
def test_a_search_of_another_machine_is_not_gone_on_with(fake, tmp_path, monkeypatch):
    assert autogo.main(flags(tmp_path, epoch=1)) == 0
    monkeypatch.setattr("model_src.profiling.runtimes.device_name", lambda device: "another machine")
    with pytest.raises(InputError, match=r"its latency_ms was measured by torch .*, not torch .*another machine"):
        autogo.main(["-resume", str(result_folder(tmp_path)), "-epoch", "2"])


@pytest.mark.slow
def test_other_searches_say_nothing_of_measured_costs(finished_without, fake):
    assert "measured_by" not in json.loads((finished_without / "params.json").read_text())
    assert "latency_ms" not in rows(finished_without)[0]
    assert not (finished_without / "costs.csv").exists()
    assert not fake.asked


@pytest.fixture
def finished_without(tmp_path):
    assert autogo.main(arguments(tmp_path, epoch=1)) == 0
    return result_folder(tmp_path)
