"""The training flags of the script, and training that goes on after an interruption."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import autogo  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.files import InputError, save_pickle  # noqa: E402
from model_src.search.flags import execution, frontier_config  # noqa: E402
from model_src.training.frontier import FrontierConfig  # noqa: E402
from model_src.training.recipe import Execution, FastConfig, TrainConfig  # noqa: E402
from tests.children import workers  # noqa: E402
from tests.test_autogo import ROOT, arguments, result_folder  # noqa: E402
from tests.training.conftest import (  # noqa: E402
    cifar_folder,  # noqa: F401
    classifier,
    in_this_process,  # noqa: F401
    one_thread_per_test_process,  # noqa: F401
)

pytestmark = pytest.mark.usefixtures("in_this_process")

GRAPHS = {"input": classifier(16), "0": classifier(8), "1": classifier(12)}
ITERATIONS = {"input": 0, "0": 2, "1": 1}
SHORT = {"num_train_cgs": -1, "num_runs_cg": 2, "train_epochs": 1, "train_batch_size": 50, "device_str": "cpu"}


def make_search(tmp_path, images, **flags) -> Path:
    """The folder of a finished search of two iterations with two results, and its input beside it."""
    folder = tmp_path / "search"
    folder.mkdir(parents=True)
    save_pickle(GRAPHS["input"], tmp_path / "input.pkl")
    changes = {"model_path": tmp_path / "input.pkl", "train_data_dir": images, **SHORT, **flags}
    save_pickle(autogo.parse_args(arguments(tmp_path, **changes)), folder / "params.pkl")
    with (folder / "pareto.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["rank", "file", "score", "mflops", "iteration", "hash"])
        for rank, graph in GRAPHS.items():
            file_name = "" if rank == "input" else f"rank_{rank}.pkl"
            writer.writerow([rank, file_name, 1.0, 2.0, ITERATIONS[rank], canonical_hash(graph)])
            if file_name:
                save_pickle(graph, folder / file_name)
    return folder


@pytest.fixture
def searched(tmp_path, cifar_folder):  # noqa: F811
    return make_search(tmp_path, cifar_folder)


def runs_of(folder) -> dict[tuple[int | None, int], dict]:
    """(rank, seed) -> run, as on the disk now."""
    path = folder / "train_result.json"
    content = json.loads(path.read_text()) if path.exists() else {"trained": []}
    return {(one["rank"], run["seed"]): run for one in content["trained"] for run in one["runs"]}


def test_flags_become_a_configuration(tmp_path):
    assert frontier_config(autogo.parse_args(arguments(tmp_path))) == FrontierConfig(n_networks=0)
    assert execution(autogo.parse_args(arguments(tmp_path))) == Execution()
    flags = {
        "epoch": 10, "num_train_cgs": 4, "num_runs_cg": 5, "train_input_cg": True, "train_epochs": 6,
        "train_batch_size": 7, "train_images": 8, "train_type": "TensorFlow", "train_dataset": "CIFAR10",
        "train_compile": True, "iteration_min_percent": 0.25, "device_str": "cpu", "n_jobs": 3,
    }  # fmt: skip
    args = autogo.parse_args(arguments(tmp_path, **flags))
    recipe = TrainConfig(epochs=6, batch_size=7, train_images=8, framework="TensorFlow")
    assert frontier_config(args) == FrontierConfig(recipe, 4, 5, True, first_iteration=3, n_jobs=3)
    assert execution(args) == Execution("cpu", compile=True)
    fast = autogo.parse_args(arguments(tmp_path, train_recipe="fast", train_batch_size=7))
    assert frontier_config(fast).recipe == FastConfig(epochs=8, batch_size=7)
    longer = autogo.parse_args(arguments(tmp_path, train_recipe="fast", train_epochs=9))
    assert frontier_config(longer).recipe == FastConfig(epochs=9)
    everything = frontier_config(autogo.parse_args(arguments(tmp_path, num_train_cgs=-1)))
    assert everything == FrontierConfig(n_networks=None)


@pytest.mark.parametrize(("epoch", "share", "first"), [(100, 0.07, 7), (3, 0.5, 2), (5, 0, 0), (5, 1, 5)])
def test_the_first_iteration_is_a_share_rounded_up(tmp_path, epoch, share, first):
    args = autogo.parse_args(arguments(tmp_path, epoch=epoch, iteration_min_percent=share))
    assert frontier_config(args).first_iteration == first


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"num_train_cgs": -2}, "-num_train_cgs must be at least -1"),
        ({"num_runs_cg": 0}, "-num_runs_cg: must be at least 1"),
        ({"train_epochs": 0}, "-train_epochs: must be at least 1"),
        ({"train_batch_size": "many"}, "-train_batch_size: invalid"),
        ({"train_images": 0}, "-train_images: must be at least 1"),
        ({"train_type": "JAX"}, "-train_type: invalid choice"),
        ({"train_dataset": "CIFAR100"}, "-train_dataset: must be CIFAR10 or folder:PATH, got CIFAR100"),
        ({"iteration_min_percent": 50}, "-iteration_min_percent: must lie between 0 and 1"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, flags, reason):
    with pytest.raises(InputError, match=reason) as caught:
        autogo.main(arguments(tmp_path, **flags))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_images_show_before_the_search(tmp_path, monkeypatch):
    def download_cifar10(*_):
        raise InputError("no net")

    monkeypatch.setattr("model_src.training.cifar10_download.download_cifar10", download_cifar10)
    with pytest.raises(InputError, match=r"nor can it be downloaded \(no net\): unpack .* so that .*images holds"):
        autogo.main(arguments(tmp_path, num_train_cgs=1, train_data_dir=tmp_path / "images"))
    assert not (tmp_path / "out").exists()


def test_a_search_trains_and_its_training_goes_on(tmp_path, cifar_folder, capsys):  # noqa: F811
    search = {"epoch": 1, "max_candidate_per_iter": 3, "max_target_per_iter": 4}
    training = {"num_train_cgs": 1, "num_runs_cg": 1, "train_epochs": 1, "train_batch_size": 10, "train_images": 20}
    autogo.main(arguments(tmp_path, **search, **training, train_data_dir=cifar_folder, device_str="cpu"))
    folder = result_folder(tmp_path)
    first = runs_of(folder)
    assert len(first) == 1
    assert (folder / "train_result.txt").read_text().startswith("[None, [[")
    assert f"Results are in {folder}" in capsys.readouterr().out
    autogo.main(["-resume", str(folder), "-num_runs_cg", "2", "-train_input_cg"])
    runs = runs_of(folder)
    assert len(runs) == 4
    assert first.items() <= runs.items()
    assert not list(folder.glob(".*"))


def test_a_killed_training_goes_on(tmp_path, cifar_folder):  # noqa: F811
    folder = make_search(tmp_path, cifar_folder, train_epochs=40, train_input_cg=True)
    undisturbed = Path(shutil.copytree(folder, tmp_path / "undisturbed"))
    command = [sys.executable, "autogo.py", "-resume", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(runs_of(folder)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = runs_of(folder)
    assert 2 <= len(kept) < 6
    assert autogo.main(["-resume", str(folder)]) == 0
    runs = runs_of(folder)
    assert list(runs) == [(rank, seed) for rank in (None, 0, 1) for seed in (0, 1)]
    assert kept.items() <= runs.items()
    # The interruption changed nothing: the same runs in one go.
    assert autogo.main(["-resume", str(undisturbed)]) == 0
    assert {key: run["last_loss"] for key, run in runs_of(undisturbed).items()} == {
        key: pytest.approx(run["last_loss"], rel=1e-5) for key, run in runs.items()
    }


def test_the_death_of_a_training_costs_that_training(tmp_path, cifar_folder):  # noqa: F811
    folder = make_search(tmp_path, cifar_folder, train_epochs=40, num_runs_cg=1)
    command = [sys.executable, "autogo.py", "-resume", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (found := workers(process.pid)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(found[0], signal.SIGKILL)
        _, text = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "rank 0: its process was killed, perhaps for its memory; it is done again" in text
    assert "resource_tracker" not in text
    assert set(runs_of(folder)) == {(0, 0), (1, 0)}


def test_control_c_says_how_to_go_on(searched, monkeypatch, capsys):
    def train_network(cg, config, seed, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr("model_src.training.loop.train_network", train_network)
    with pytest.raises(KeyboardInterrupt):
        autogo.main(["-resume", str(searched)])
    assert f"Go on with: python autogo.py -resume {searched} and the same training flags" in capsys.readouterr().out


def test_flags_for_training_may_change(searched):
    autogo.main(["-resume", str(searched), "-num_train_cgs", "1", "-num_runs_cg", "1", "-iteration_min_percent", "0.5"])
    assert set(runs_of(searched)) == {(0, 0)}
    autogo.main(["--resume", str(searched), "--num-train-cgs=1", "--iteration_min_percent=1", "-train_images", "60"])
    assert set(runs_of(searched)) == {(0, 0), (0, 1)}
    content = json.loads((searched / "train_result.json").read_text())
    assert content["recipe"]["train_images"] == 60
    assert len(content["other_runs"]) == 1


def test_the_long_command_may_be_repeated(searched, tmp_path, cifar_folder):  # noqa: F811
    changes = {"model_path": tmp_path / "input.pkl", "train_data_dir": cifar_folder, **SHORT, "resume": searched}
    assert autogo.main(arguments(tmp_path, **changes)) == 0
    assert len(runs_of(searched)) == 4


def test_params_may_be_in_the_folder_of_logs(searched, tmp_path):
    logs = tmp_path / "logs" / searched.name
    logs.mkdir(parents=True)
    (searched / "params.pkl").rename(logs / "params.pkl")
    assert autogo.main(["-resume", str(searched), "-logs_dir", str(tmp_path / "logs")]) == 0
    assert len(runs_of(searched)) == 4


@pytest.mark.slow
def test_training_with_tensorflow(searched):
    pytest.importorskip("tensorflow")
    flags = ["-num_train_cgs", "1", "-num_runs_cg", "1"]
    for kind in ("TensorFlow", "PyTorch"):
        autogo.main(["-resume", str(searched), "-train_type", kind, *flags])
        (run,) = runs_of(searched).values()
        if kind == "TensorFlow":
            other = run
    assert run["last_loss"] == pytest.approx(other["last_loss"], rel=1e-3)


class Foreign:
    """A class that no file of flags may name."""


# Case -> what becomes of the folder, more flags, and what the message must say.
BROKEN = {
    "no folder": (lambda folder: shutil.rmtree(folder), [], "params.pkl: No such file"),
    "no table": (lambda folder: (folder / "pareto.csv").unlink(), [], "pareto.csv: No such file"),
    "foreign table": (lambda folder: (folder / "pareto.csv").write_text("a,b\n1,2\n"), [], "not the table of a search"),
    "empty table": (lambda folder: (folder / "pareto.csv").write_text(""), [], "not the table of a search"),
    "no network": (lambda folder: (folder / "rank_1.pkl").unlink(), [], "rank_1.pkl: No such file"),
    "foreign params": (lambda folder: save_pickle(Foreign(), folder / "params.pkl"), [], "which is not allowed"),
    "other params": (lambda folder: save_pickle([1], folder / "params.pkl"), [], "params.pkl: holds a list"),
    "help": (lambda folder: save_pickle(Namespace(h=True), folder / "params.pkl"), [], "params.pkl: -h is no flag of"),
    "another network": (
        lambda folder: shutil.copy(folder / "rank_0.pkl", folder / "rank_1.pkl"),
        [],
        "rank_1.pkl: not the network of rank 1 in the table",
    ),
    "file elsewhere": (
        lambda folder: (folder / "pareto.csv").write_text(
            (folder / "pareto.csv").read_text().replace("rank_1.pkl", str(folder.parent / "rank_1.pkl"))
        ),
        [],
        "the file of rank 1 is",
    ),
    "other input": (lambda folder: save_pickle(classifier(5), folder.parent / "input.pkl"), [], "another network"),
    "no input": (lambda folder: (folder.parent / "input.pkl").unlink(), [], "input.pkl: No such file"),
    "foreign file": (
        lambda folder: (folder / "pareto.csv").write_text(
            (folder / "pareto.csv").read_text().replace("rank_1.pkl", "../rank_1.pkl")
        ),
        [],
        "the file of rank 1 is",
    ),
    "other search": (lambda folder: None, ["-top_k", "9"], "its search had -top_k 2, not 9"),
    "nothing to train": (lambda folder: None, ["-num_train_cgs", "0"], "-resume: the search is finished"),
    "no device": (lambda folder: None, ["-device_str", "abacus"], "-device_str abacus"),
    "bad flag": (lambda folder: None, ["-train_epochs", "0"], "-train_epochs: must be at least 1"),
    "damaged results": (
        lambda folder: (folder / "train_result.json").write_text("{"),
        [],
        "result.json: not JSON",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_go_on_is_one_line(searched, case):
    damage, flags, words = BROKEN[case]
    damage(searched)
    with pytest.raises(InputError) as caught:
        autogo.main(["-resume", str(searched), *flags])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (searched / "train_result.txt").exists()


def test_a_file_does_not_say_where_images_are_downloaded_to(searched, tmp_path, cifar_folder):  # noqa: F811
    args = autogo.parse_args(arguments(tmp_path))
    for folder, kept in ((tmp_path / "elsewhere", False), (cifar_folder, True)):
        args.train_data_dir = str(folder)
        save_pickle(args, searched / "params.pkl")
        found = autogo.parse_args(["-resume", str(searched), "-num_train_cgs", "1"]).train_data_dir
        assert (found == str(folder)) == kept
        given = autogo.parse_args(["-resume", str(searched), "-num_train_cgs", "1", "-train_data_dir", str(folder)])
        assert given.train_data_dir == str(folder)


def test_stored_flags_that_are_none_name_the_file(searched, tmp_path):
    args = autogo.parse_args(arguments(tmp_path))
    args.train_epochs = "long"
    save_pickle(args, searched / "params.pkl")
    with pytest.raises(InputError, match=r"params\.pkl: argument -train_epochs: invalid"):
        autogo.main(["-resume", str(searched)])
