"""Places that cannot be written to, disks that are full, terminals that are gone: one line, and nothing is lost."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import autogo
from model_src.cli import run_script
from model_src.files import InputError, atomic_write
from model_src.places import LONGEST_WRITE, check_writable, sweep
from model_src.search.result_folder import ResultFolder
from tests.test_autogo import ROOT, arguments, result_folder


@pytest.fixture
def a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    return path


def test_a_place_is_checked_without_a_trace(tmp_path):
    check_writable(tmp_path / "new" / "file", None, tmp_path / "other")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_named(tmp_path, a_file):
    for path, reason in ((a_file / "x", "cannot be written: (Not a directory|File exists)"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=f"^{path}: {reason}"):
            check_writable(path)
    check_writable(a_file)
    assert a_file.read_text() == "old"


def test_what_killed_runs_left_is_swept_and_what_is_being_written_stays(tmp_path):
    names = [".table[1].csv.0123abcd", ".other.csv.0123abcd", ".table[1].csv.notes", "table[1].csv"]
    for name in names:
        (tmp_path / name).touch()
    with atomic_write(tmp_path / "table[1].csv") as file:
        file.write(b"whole")
        check_writable(tmp_path / "table[1].csv")
        found = {path.name for path in tmp_path.iterdir()}
        assert found > {*names[1:]}
        assert len(found) == 4
        sweep(tmp_path)
        assert len([*tmp_path.iterdir()]) == 3
    assert {path.name for path in tmp_path.iterdir()} == {".table[1].csv.notes", "table[1].csv"}
    assert (tmp_path / "table[1].csv").read_bytes() == b"whole"


def test_a_file_that_was_swept_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    flock, swept = fcntl.flock, []

    def sweeping(file, how):
        if not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", sweeping)
    with atomic_write(tmp_path / "table.csv") as file:
        file.write(b"whole")
    assert swept
    assert (tmp_path / "table.csv").read_bytes() == b"whole"


def test_without_locks_only_what_is_old_is_swept(tmp_path, monkeypatch):
    def none(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with atomic_write(tmp_path / "table.csv"):
        for name, age in ((".a.0123abcd", 0), (".b.0123abcd", 2 * LONGEST_WRITE)):
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (time.time() - age,) * 2)
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {".a.0123abcd", "table.csv"}


def test_a_failed_write_names_the_file_and_leaves_the_old_one(a_file):
    def write():
        with atomic_write(a_file, "w") as file:
            file.write("new")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(a_file)
    assert a_file.read_text() == "old"
    assert list(a_file.parent.iterdir()) == [a_file]


def test_a_failed_write_is_one_line(capsys, tmp_path):
    def main(argv):
        with atomic_write(tmp_path / "table.csv"):
            raise OSError(28, "No space left on device")

    with pytest.raises(SystemExit) as caught:
        run_script(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'table.csv'}: No space left on device\n"


SCRIPTS = {
    "gen_families.py": "-family hiaml -num 1 -output {}/f.json",
    "gen_nb101_5k.py": "-data_dir {}",
    "gen_vocab.py": "-output_dir {}",
    "gen_DB.py": "-output {}/db.pkl",
    "run_psc_segment.py": "-data_family hiaml -cache_dir {}",
    "make_segment_predictor_cache_sa.py": "-data_family hiaml -cache_dir {}",
    "run_gpi_segment_predictor.py": "-saved_models_dir {}",
    "run_cg_kgnn_predictor.py": "-data_families hiaml -logs_dir {}",
    "autogo.py": "-output_dir {}",
}


@pytest.mark.parametrize(("script", "flags"), SCRIPTS.items())
def test_every_script_checks_its_places_first(script, flags, a_file, capsys, monkeypatch):
    flags = flags.format(a_file).split()
    if script == "autogo.py":
        flags = [*arguments(a_file.parent, output_dir=None, logs_dir=None), *flags]
    module = __import__(script.removesuffix(".py"))
    with pytest.raises(InputError) as caught:
        module.main(flags)
    assert str(a_file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert a_file.read_text() == "old"


def test_one_file_that_fails_does_not_keep_the_others_from_being_written(tmp_path, monkeypatch, capsys):
    def fail(self, content):
        raise OSError(28, "No space left on device", str(self.path / "genealogy.json"))

    with monkeypatch.context() as patched:
        patched.setattr(ResultFolder, "save_genealogy", fail)
        with pytest.raises(InputError, match=r"genealogy.json: No space left on device; the search is kept$"):
            autogo.main(arguments(tmp_path, epoch=1, export="onnx"))
    folder = result_folder(tmp_path)
    said = capsys.readouterr().out
    assert f"Write the results again with: python autogo.py -resume {folder}\n" in said
    names = {path.name for path in folder.iterdir()}
    assert {"pareto.csv", "rank_0.pkl", "mutation_result.txt", "pareto.png", "rank_0.onnx"} <= names
    assert "predicted accuracy" in said
    assert autogo.main(["-resume", str(folder)]) == 0
    assert (folder / "genealogy.json").exists()


@pytest.mark.parametrize(
    "fault",
    [">&-", "2>/dev/full", *(pytest.param(f, marks=pytest.mark.slow) for f in ("2>&-", ">/dev/full", "| head -0"))],
)
def test_output_that_nobody_can_take_stops_nothing(tmp_path, fault):
    flags = arguments(tmp_path, epoch=1, max_candidate_per_iter=2)
    command = f"{sys.executable} autogo.py {' '.join(flags)} {fault}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    folder = result_folder(tmp_path)
    assert {"pareto.csv", "pareto.png"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "unfinished").exists()


def test_a_disk_that_is_full_from_the_start_is_one_line(tmp_path):
    limit = "ulimit -f 0; trap '' XFSZ; "
    command = f"{limit}exec {sys.executable} autogo.py {' '.join(arguments(tmp_path, epoch=1))}"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "File too large" in done.stderr
    assert not [path for path in Path(tmp_path).rglob("*") if path.is_file()]


def test_a_place_whose_name_is_no_text(tmp_path):
    place = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    flags = arguments(tmp_path, epoch=1, max_candidate_per_iter=2, output_dir=place, logs_dir=place)
    done = subprocess.run([sys.executable, "autogo.py", *flags], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0
    (folder,) = Path(place).iterdir()
    assert done.stdout.splitlines()[-1].decode().startswith(f"Results are in {tmp_path}/\\udcff\\udcfe/nb201_")
    assert (folder / "pareto.csv").exists()
    assert not (folder / "unfinished").exists()


@pytest.mark.parametrize("name", ["x" * 5000, "b/" * 2500], ids=["name", "path"])
def test_a_place_whose_name_is_too_long_is_one_line(tmp_path, name):
    with pytest.raises(InputError, match=r"-output_dir.*File name too long") as caught:
        autogo.main(arguments(tmp_path, output_dir=tmp_path / name))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="File name too long"):
        check_writable(tmp_path / name / "file")
