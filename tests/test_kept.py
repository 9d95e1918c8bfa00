"""What long jobs keep, so that one that was stopped goes on, and only with the same flags and files."""

import re

import pytest

from model_src import kept
from model_src.files import InputError
from model_src.kept import NOTHING_KEPT, KeptJob

FLAGS = {"seed": 0, "family": "nb201"}


class Stop(Exception):
    """What stops a job that could go on."""


@pytest.fixture
def output(tmp_path):
    return tmp_path / "cache.pkl"


def job(output, files=(), **changes):
    return KeptJob(output, {**FLAGS, **changes}, dict(files))


def work(one, count, stop=None, kind="squares"):
    """The squares of the first numbers, and which of them were worked out now."""
    computed, results, squares = [], [], one.of(kind)
    for number in range(count):
        if number == stop:
            raise Stop

        def square(number=number):
            computed.append(number)
            return [number**2]

        results.append(squares.get(square))
    return results, computed


@pytest.mark.parametrize("most", [1, 2, 5, 1000])
@pytest.mark.parametrize("stop", [1, 2, 4, 7])
def test_a_stopped_job_goes_on(output, monkeypatch, most, stop):
    monkeypatch.setattr(kept, "MOST_PIECES", most)
    with pytest.raises(Stop), job(output) as one:
        work(one, 9, stop)
    with job(output) as one:
        assert work(one, 9) == ([[n**2] for n in range(9)], list(range(stop, 9)))
        assert work(one, 2, kind="others") == ([[0], [1]], [0, 1])
    assert not list(output.parent.iterdir())


def test_a_killed_job_loses_what_was_in_no_file(output, monkeypatch):
    monkeypatch.setattr(kept, "MOST_PIECES", 3)
    killed = job(output).__enter__()
    work(killed, 5)
    killed._lock.close()  # as the end of its process does
    with job(output) as one:
        assert work(one, 6) == ([[n**2] for n in range(6)], [3, 4, 5])


def test_files_are_written_as_time_goes_by(output, monkeypatch):
    monkeypatch.setattr(kept, "MOST_SECONDS", -1.0)
    with job(output) as one:
        work(one, 3)
        assert len(list(output.parent.rglob("*.gz"))) == 3


def test_another_job_is_refused_by_name(output, tmp_path):
    source = tmp_path / "table.csv"
    source.write_text("old")
    files = {"label_table": source}
    with pytest.raises(Stop), job(output, files) as one:
        work(one, 3, 2)
    folder = re.escape(str(tmp_path / "cache.pkl.kept"))
    with pytest.raises(InputError, match=f"^-seed: a stopped run had 0, not 1; go on as it began, or delete {folder}"):
        job(output, files, seed=1).__enter__()
    source.write_text("new")
    with pytest.raises(InputError, match=r"^-label_table .*table\.csv: not the file that a stopped run began with"):
        job(output, files).__enter__()
    source.write_text("old")
    with job(output, files) as one:
        assert work(one, 3)[1] == [2]


@pytest.mark.parametrize("content", ["{}", "[]", '{"flags": 1}'])
def test_a_damaged_job_is_refused(output, tmp_path, content):
    (tmp_path / "cache.pkl.kept").mkdir()
    (tmp_path / "cache.pkl.kept" / "job.json").write_text(content)
    with pytest.raises(InputError, match=r"job\.json: damaged"):
        job(output).__enter__()


def test_a_folder_that_was_being_deleted_counts_for_nothing(output, monkeypatch):
    monkeypatch.setattr(kept, "MOST_PIECES", 1)
    with pytest.raises(Stop), job(output) as one:
        work(one, 3, 2)
    (output.parent / "cache.pkl.kept" / "job.json").unlink()
    with job(output) as one:
        assert work(one, 3)[1] == [0, 1, 2]


def interrupted(one, error, count=0):
    with one:
        work(one, count)
        raise error


@pytest.mark.parametrize(("error", "count"), [(InputError("a damaged cache"), 3), (Stop(), 0)])
def test_what_cannot_be_done_or_did_not_begin_leaves_nothing(output, error, count):
    with pytest.raises(type(error)):
        interrupted(job(output), error, count)
    assert not list(output.parent.iterdir())


def test_two_runs_at_once_are_refused(output, monkeypatch):
    monkeypatch.setattr(kept, "MOST_PIECES", 1)
    with job(output) as one:
        work(one, 1)
        with pytest.raises(InputError, match="another run is at work there"):
            job(output).__enter__()


def test_two_runs_that_began_at_once_do_not_mix(output, monkeypatch):
    monkeypatch.setattr(kept, "MOST_PIECES", 2)
    with job(output) as one:
        work(one, 1)
        other = job(output).__enter__()
        work(other, 1)
        work(one, 1)  # the end of a file
        with pytest.raises(InputError, match="another run is at work there"):
            work(other, 1)


def test_a_short_job_leaves_no_trace_at_all(output):
    with job(output.parent / "new" / "cache.pkl") as one:
        work(one, 9)
        assert not list(output.parent.iterdir())


def test_without_a_folder_nothing_is_kept():
    assert [NOTHING_KEPT.get(lambda n=n: n) for n in range(3)] == [0, 1, 2]
