"""What a search tells while it runs."""

import logging
import re
from dataclasses import replace

import pytest

from model_src.runtime import log_to
from model_src.search import progress
from model_src.search.pareto import hypervolume
from model_src.search.progress import ProgressLine
from model_src.search.report import pareto_rows
from model_src.search.result_folder import ResultFolder
from model_src.search.session import search
from model_src.search.workers import Workers
from tests.search.conftest import TinyFactory
from tests.search.test_session import CONFIG

LINE = r"scored ([\d,]+), rescored ([\d,]+), front (\d+)(, best \+\d+\.\d\d( points)?, hypervolume \d+\.\d{3})?"


def run(source, folder, quiet=False):
    config = replace(CONFIG, rescore_per_iter=5)
    with (
        log_to(folder.log_path, details=True),
        ProgressLine(config.epoch, folder, quiet) as show,
        Workers(TinyFactory(), 1) as workers,
    ):
        return search(source, config, on_progress=show, workers=workers)


def test_a_line_per_iteration_in_the_log_and_one_on_the_terminal(source, tmp_path, capsys):
    folder = ResultFolder(tmp_path)
    result = run(source, folder)
    lines = [line for line in folder.log_path.read_text(encoding="utf-8").splitlines() if "iteration" in line]
    assert len(lines) == CONFIG.epoch
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d [\d:,]+ iteration {number} of {CONFIG.epoch}: {LINE}", line)
    assert f"scored {result.n_scored:,}, rescored {len(result.history):,}, front {len(result.front)}" in lines[-1]
    shown = capsys.readouterr().err
    assert f"iteration {CONFIG.epoch}/{CONFIG.epoch} 100%" in shown
    assert re.search(LINE, shown)
    assert "e+" not in shown


@pytest.mark.parametrize("seconds", [0, 1000])
def test_tables_are_there_while_it_runs_and_a_picture_from_time_to_time(source, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_PICTURES", seconds)
    folder = ResultFolder(tmp_path)
    result = run(source, folder, quiet=True)
    rows = pareto_rows(result)
    assert [row["hash"] for row in folder.load_rows()] == [row["hash"] for row in rows]
    assert len(folder.load_history()) == 1 + len(result.history)
    pictures = [folder.front_picture, folder.front_picture.with_suffix(".svg")]
    assert [picture.exists() for picture in pictures] == [seconds == 0] * 2


def test_quiet_shows_no_line(source, tmp_path, capsys):
    run(source, ResultFolder(tmp_path), quiet=True)
    assert "iteration" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_stops_no_search(source, tmp_path, caplog):
    folder = ResultFolder(tmp_path)
    for name in ("pareto.csv", "history.csv", "pareto.png"):
        (tmp_path / name).mkdir()
    with caplog.at_level(logging.WARNING, "model_src"):
        assert run(source, folder, quiet=True).n_scored
    assert "pareto.csv" in caplog.text


@pytest.mark.parametrize(
    ("gains", "shares", "area"),
    [
        ([], [], 0.0),
        ([1.0], [0.5], 0.5),
        ([1.0, 2.0], [0.5, 0.75], 0.75),
        ([1.0, 0.5], [0.5, 0.75], 0.5),
        ([-1.0, 0.0, 3.0], [0.1, 0.1, 1.5], 0.0),
    ],
)
def test_hypervolume(gains, shares, area):
    assert hypervolume(gains, [[share] for share in shares], [1.0]) == pytest.approx(area)


def test_hypervolume_over_two_costs_is_that_of_the_boxes_together():
    """Two boxes of 1 x 0.5 x 0.25 that share 1 x 0.25 x 0.25; a third network is beyond the second cost that counts."""
    shares = [[0.5, 0.75], [0.75, 0.5], [0.1, 1.0]]
    assert hypervolume([1.0, 1.0, 1.0], shares, [1.0, 1.0]) == pytest.approx(0.25 - 0.0625)
