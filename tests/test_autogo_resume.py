"""A search that was killed, ended by a signal or made longer ends as if nothing had happened."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import autogo
from model_src.files import InputError
from model_src.places import held
from tests.test_autogo import ENSEMBLE, PSC, ROOT, arguments, result_folder

KILLER = """
import os, sys
from model_src.cli import run_script
from model_src.search.journal import Journal
import autogo
append, number, count, when = Journal.append, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def killing(self, turn):
    if when == "before" and turn.iteration == count:
        os.kill(os.getpid(), number)
    append(self, turn)
    if when == "after" and turn.iteration == count:
        os.kill(os.getpid(), number)
Journal.append = killing
sys.argv[1:4] = []
run_script(autogo.main)
"""


def flags(tmp_path, **changes):
    return arguments(tmp_path, **{"epoch": 3, "n_jobs": 2, **changes})


def killed(tmp_path, number, when, **changes):
    """A search that got a signal before or after its second iteration was kept, and its folder."""
    command = [sys.executable, "-c", KILLER, str(int(number)), "2", when, *flags(tmp_path, **changes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done, result_folder(tmp_path)


SLOW = pytest.mark.slow


RESCORED = {"rescore_per_iter": 10, "predictor_path": ENSEMBLE}
SEVERAL = {
    "objective": ["flops", "params"], "min_decrease_percent": [-10, -50], "max_decrease_percent": 100,
    "min_flops_decrease_percent": None, "max_flops_decrease_percent": None,
}  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[
        pytest.param({"rescore_per_iter": 0, "predictor_path": PSC}, id="plain"),
        pytest.param(RESCORED, id="rescored", marks=SLOW),
        pytest.param({**RESCORED, **SEVERAL}, id="several objectives", marks=SLOW),
    ],
)
def whole(request, tmp_path_factory):
    """Changes of the flags, and the folder of the search."""
    tmp_path = tmp_path_factory.mktemp("whole")
    assert autogo.main(flags(tmp_path, **request.param)) == 0
    return request.param, result_folder(tmp_path)


def same_results(folder: Path, other: Path) -> bool:
    names = {path.name for path in other.iterdir() if path.suffix in (".csv", ".json")} - {"params.json"}
    names |= {path.name for path in other.glob("rank_*.pkl")}
    assert {"pareto.csv", "rank_0.pkl"} <= names
    return all((folder / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=SLOW)])
def test_a_killed_search_goes_on_to_the_same_bytes(whole, tmp_path, when):
    changes, expected = whole
    done, folder = killed(tmp_path, signal.SIGKILL, when, **changes)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "unfinished").exists()
    moved = folder.rename(tmp_path / "moved")
    assert autogo.main(["-resume", str(moved)]) == 0
    assert same_results(moved, expected)
    assert not (moved / "unfinished").exists()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(n, marks=SLOW) for n in (signal.SIGHUP, signal.SIGINT))]
)
def test_a_signal_keeps_what_was_found_and_says_how_to_go_on(whole, tmp_path, number, capsys):
    changes, expected = whole
    done, folder = killed(tmp_path, number, "before", no_drawings=None, **changes)
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"interrupted by {number.name}"
    assert done.stdout.splitlines()[-1] == f"Go on with: python autogo.py -resume {folder}"
    assert (folder / "pareto.csv").exists()
    assert (folder / "rank_0.pkl").exists()
    assert {path.name for path in folder.glob("*.png")} <= {"pareto.png"}  # of the last iteration
    assert not (folder / "report.html").exists()
    assert autogo.main(["-resume", str(folder), "-no_drawings", "-n_jobs", "1"]) == 0
    assert same_results(folder, expected)
    assert (folder / "pareto.png").exists()


def test_two_do_not_work_in_one_folder(whole):
    _, folder = whole
    with held(folder), pytest.raises(InputError, match="another run is at work there"):
        autogo.main(["-resume", str(folder), "-epoch", "9"])


def test_a_finished_search_goes_on_with_more_iterations(whole, tmp_path):
    changes, expected = whole
    assert autogo.main(flags(tmp_path, epoch=1, **changes)) == 0
    folder = result_folder(tmp_path)
    assert autogo.main(["-resume", str(folder), "-epoch", "3"]) == 0
    assert same_results(folder, expected)
    with pytest.raises(InputError, match="its search had -epoch 3, not 2"):
        autogo.main(["-resume", str(folder), "-epoch", "2"])
    with pytest.raises(InputError, match="its search had -seed 0, not 1"):
        autogo.main(["-resume", str(folder), "-epoch", "4", "-seed", "1"])
    with pytest.raises(InputError, match="-resume: the search is finished"):
        autogo.main(["-resume", str(folder)])


def test_a_search_goes_on_only_with_the_files_that_it_began_with(tmp_path):
    predictor = tmp_path / "psc.pt"
    predictor.write_bytes(Path(PSC).read_bytes())
    assert autogo.main(flags(tmp_path, predictor_path=predictor, epoch=1)) == 0
    predictor.write_bytes((ROOT / "saved_models" / "gnn_chkpt.pt").read_bytes())
    folder = result_folder(tmp_path)
    before = (folder / "params.json").read_text()
    with pytest.raises(InputError, match=r"-predictor_path .*psc.pt is not the file that its search began with"):
        autogo.main(["-resume", str(folder), "-epoch", "2"])
    assert (folder / "params.json").read_text() == before


@pytest.mark.parametrize("change", [lambda file: file.pop("sha256"), lambda file: file.update(sha256=3)])
def test_a_search_with_damaged_parameters_does_not_go_on(whole, tmp_path, change):
    changes, _ = whole
    assert autogo.main(flags(tmp_path, epoch=1, **changes)) == 0
    path = result_folder(tmp_path) / "params.json"
    content = json.loads(path.read_text())
    change(content["files"]["tokenizer_path"])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="not the parameters of a search"):
        autogo.main(["-resume", str(path.parent), "-epoch", "2"])
    del content["files"]["tokenizer_path"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"-tokenizer_path .* is not the file that its search began with"):
        autogo.main(["-resume", str(path.parent), "-epoch", "2"])


def test_a_search_that_is_out_of_time_goes_on(whole, tmp_path, capsys):
    changes, expected = whole
    assert autogo.main(flags(tmp_path, max_minutes=1e-6, **changes)) == 0
    assert "-max_minutes is over" in capsys.readouterr().out
    folder = result_folder(tmp_path)
    assert autogo.main(["-resume", str(folder), "-max_minutes", "100"]) == 0
    assert same_results(folder, expected)
