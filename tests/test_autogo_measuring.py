"""The loop of searching and measuring, from the shell: killed, gone on with, and with accuracies of the user's own."""

import csv
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import autogo  # noqa: E402
from model_src.files import InputError  # noqa: E402
from model_src.search.flags import measurement  # noqa: E402
from model_src.training.image_data import ImageData  # noqa: E402
from model_src.training.recipe import Execution, FastConfig  # noqa: E402
from tests.test_autogo import ROOT, arguments, result_folder  # noqa: E402
from tests.training.conftest import (  # noqa: E402
    cifar_folder,  # noqa: F401
    classifier,
    in_this_process,  # noqa: F401
    one_thread_per_test_process,  # noqa: F401
)

pytestmark = pytest.mark.usefixtures("in_this_process")


def loop(tmp_path, images, **flags):
    changes = {
        "model_path": ROOT / "architectures" / "two_path_best.pkl",
        "model_family": "two_path",
        "epoch": 1,
        "rescore_per_iter": 6,
        "max_score_drop": 9,
        "rounds": 2,
        "measure": 2,
        "measure_epochs": 1,
        "train_images": 50,
        "train_batch_size": 25,
        "train_data_dir": images,
        "device_str": "cpu",
        **flags,
    }
    return arguments(tmp_path, **changes)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cifar_folder):  # noqa: F811
    tmp_path = tmp_path_factory.mktemp("loop")
    assert autogo.main(loop(tmp_path, cifar_folder)) == 0
    return result_folder(tmp_path)


def test_flags_become_a_measurement(tmp_path):
    cg, images = classifier(8), np.zeros((50_000, 3, 1, 1), np.uint8)
    data = ImageData(images, np.zeros(50_000, np.int64), images[:1], np.zeros(1, np.int64))
    args = autogo.parse_args(loop(tmp_path, "images", n_jobs=2, measure_epochs=None, train_images=None))
    found = measurement(args, cg, data)
    assert found.recipe == FastConfig(batch_size=25, held_out=5000, epochs_per_test=8)
    assert (found.n_runs, found.n_jobs, found.how) == (1, 2, Execution("cpu"))
    assert found.images.args == ("images",)
    few = measurement(autogo.parse_args(loop(tmp_path, "images")), cg, data)
    assert (few.recipe.train_images, few.recipe.held_out, few.recipe.epochs) == (50, 5, 1)


def test_measured_networks_are_in_a_table_and_first_among_the_results(finished, capsys):
    measured = rows(finished / "measured.csv")
    assert 4 <= len(measured) <= 5
    assert {(row["source"], row["recipe"], row["epochs"], row["images"]) for row in measured} == {
        ("train", "fast", "1", "50")
    }
    accuracies = {row["config_hash"]: 100 * float(row["held_out"]) for row in measured}
    results = rows(finished / "pareto.csv")
    assert {row["hash"] for row in results if row["measured"]} == accuracies.keys()
    assert all(float(row["measured"]) == pytest.approx(accuracies[row["hash"]]) for row in results if row["measured"])
    known = [row["measured"] for row in results[1:]]
    first = [float(text) for text in known if text]
    assert known[: len(first)] == [text for text in known if text]
    assert first == sorted(first, reverse=True)
    assert not (finished / "unfinished").exists()
    assert not list((finished / "measured.states").glob("*"))


def test_a_finished_search_is_not_gone_on_with(finished):
    with pytest.raises(InputError, match="-resume: the search is finished"):
        autogo.main(["-resume", str(finished)])


KILLER = """
import os, sys
import autogo
from model_src.labels import measured
append, count = measured.MeasuredTable.append, int(sys.argv[1])
def killing(self, row):
    append(self, row)
    if len(self.rows) == count:
        os.kill(os.getpid(), 9)
measured.MeasuredTable.append = killing
autogo.main(sys.argv[2:])
"""


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_a_killed_search_is_gone_on_with(finished, tmp_path, cifar_folder, monkeypatch, count):  # noqa: F811
    killed = subprocess.run(
        [sys.executable, "-c", KILLER, str(count), *loop(tmp_path, cifar_folder)],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9
    folder = result_folder(tmp_path)
    before = (folder / "measured.csv").read_text()
    assert len(before.splitlines()) == 1 + count
    assert (folder / "unfinished").exists()
    assert autogo.main(["-resume", str(folder)]) == 0
    assert (folder / "measured.csv").read_text().startswith(before)
    assert not (folder / "unfinished").exists()
    assert (folder / "pareto.csv").read_bytes() == (finished / "pareto.csv").read_bytes()


def test_accuracies_that_were_measured_elsewhere_lead_a_search(finished, tmp_path, cifar_folder, capsys):  # noqa: F811
    results = rows(finished / "pareto.csv")
    table = finished / "mine.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, results[0])
        writer.writeheader()
        writer.writerows({**row, "measured": 70 - number} for number, row in enumerate(results))
    flags = loop(tmp_path, cifar_folder, measure=None, measured_table=table, train_data_dir=None)
    assert autogo.main(flags) == 0
    folder = result_folder(tmp_path)
    assert "measured: a correction learnt from" in capsys.readouterr().out
    again = rows(folder / "pareto.csv")
    assert again[0]["measured"] == "70.000000"
    assert "measured_table" in (folder / "params.json").read_text()
    assert not (folder / "measured.csv").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"measured_table": "README.md"}, "-measure and -measured_table exclude each other"),
        ({"measure": -1}, "-measure: must be at least 0"),
        ({"rounds": 0}, "-rounds: must be at least 1"),
        ({"rescore_per_iter": 0}, "-measure: needs -rescore_per_iter above 0"),
        ({"measure": None, "measured_table": "README.md"}, r"README\.md: has no column hash"),
        ({"measure": None, "measured_table": "none.csv"}, r"none\.csv"),
    ],
)
def test_what_cannot_be_is_said_at_once(tmp_path, cifar_folder, flags, reason):  # noqa: F811
    with pytest.raises(InputError, match=reason):
        autogo.main(loop(tmp_path, cifar_folder, **flags))
    assert not list((tmp_path / "out").glob("*"))
