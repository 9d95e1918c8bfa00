import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from model_src.files import InputError  # noqa: E402
from model_src.training import frontier  # noqa: E402
from model_src.training.cifar10 import RunResult, TrainConfig, TrainingError  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.frontier import FrontierConfig, FrontierNetwork, train_frontier  # noqa: E402
from tests.training.conftest import classifier  # noqa: E402

SOURCE = classifier(16)
NETWORKS = [
    FrontierNetwork(2, classifier(12), 1),
    FrontierNetwork(0, classifier(8), 2),
    FrontierNetwork(1, classifier(4), 3),
]
FAIRLY_SHORT = FrontierConfig(TrainConfig(epochs=1, batch_size=50), n_runs=2)


@pytest.fixture
def calls(monkeypatch):
    """Replaces the training; returns the list of (graph, seed, title) it was asked for. hidden4 fails in run 1."""
    asked = []

    def train_network(cg, config, seed, data, device, progress, title):
        asked.append((cg.name, seed, title))
        if (cg.name, seed) == ("hidden4", 1):
            raise TrainingError("the loss is not\na finite number")
        accuracy = {"hidden16": 0.5, "hidden12": 0.7, "hidden8": 0.6, "hidden4": 0.9}[cg.name]
        return RunResult(seed, accuracy + seed / 100, accuracy + 0.05, 1.0)

    monkeypatch.setattr(frontier, "train_network", train_network)
    return asked


def lines(folder):
    return (folder / "train_result.txt").read_text().splitlines()


def test_networks_are_trained_in_rank_order_and_reported(calls, tmp_path):
    result = train_frontier(NETWORKS, SOURCE, replace(FAIRLY_SHORT, train_input=True), None, tmp_path / "out")
    assert [call[0] for call in calls] == ["hidden16"] * 2 + ["hidden8"] * 2 + ["hidden4"] * 2 + ["hidden12"] * 2
    assert calls[0] == ("hidden16", 0, "input") and calls[3] == ("hidden8", 1, "rank 0")
    assert result.best.rank == 2
    first, best, failed = lines(tmp_path / "out")
    assert first == "[[0.5, 0.51], [[0.6, 0.61], [-1.0, -1.0], [0.7, 0.71]]]"
    assert best == (
        f"Best: Rank 2, Accuracy 0.7050, Flops {result.best.mflops:.4f}, Delta Flops -24.9910%, "
        "Iteration 1, 5 Nodes, Delta Nodes 0"
    )
    assert failed == "Failed: rank 1: TrainingError: the loss is not a finite number"


def test_a_failure_is_replaced_by_the_next_and_early_results_are_left_out(calls, tmp_path):
    train_frontier(NETWORKS, SOURCE, replace(FAIRLY_SHORT, n_networks=1, first_iteration=2), None, tmp_path)
    assert {name for name, _, _ in calls} == {"hidden8"}
    train_frontier(NETWORKS[1:], SOURCE, replace(FAIRLY_SHORT, n_networks=1, first_iteration=3), None, tmp_path)
    assert lines(tmp_path)[:2] == ["[None, [[-1.0, -1.0]]]", "None"]


def test_nothing_to_train_still_gives_a_report(calls, tmp_path):
    assert train_frontier([], SOURCE, FAIRLY_SHORT, None, tmp_path).best is None
    assert lines(tmp_path) == ["[None, []]", "None"] and not calls


def test_finished_runs_are_not_repeated_and_failed_ones_are(calls, tmp_path):
    train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, None, tmp_path)
    before = (tmp_path / "train_result.json").read_text()
    calls.clear()
    train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, None, tmp_path)
    assert calls == [("hidden4", 1, "rank 1")] and (tmp_path / "train_result.json").read_text() == before
    train_frontier(NETWORKS[1:2], SOURCE, replace(FAIRLY_SHORT, n_runs=3), None, tmp_path)
    assert calls[1:] == [("hidden8", 2, "rank 0")]


def test_another_recipe_starts_anew(calls, tmp_path):
    train_frontier(NETWORKS[1:2], SOURCE, FAIRLY_SHORT, None, tmp_path)
    other = replace(FAIRLY_SHORT, recipe=TrainConfig(epochs=2))
    train_frontier(NETWORKS[1:2], SOURCE, other, None, tmp_path)
    assert len(calls) == 4


def test_results_are_on_disk_after_every_run(tmp_path, monkeypatch):
    def train_network(cg, config, seed, *rest):
        if seed == 1:
            raise KeyboardInterrupt
        return RunResult(seed, 0.5, 0.6, 1.0)

    monkeypatch.setattr(frontier, "train_network", train_network)
    with pytest.raises(KeyboardInterrupt):
        train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, None, tmp_path)
    (trained,) = json.loads((tmp_path / "train_result.json").read_text())["trained"]
    assert trained["rank"] == 0
    assert trained["runs"] == [{"seed": 0, "last_accuracy": 0.5, "best_accuracy": 0.6, "seconds": 1.0}]


def test_a_foreign_result_file_is_refused(tmp_path):
    (tmp_path / "train_result.json").write_text("[]")
    with pytest.raises(InputError, match="train_result.json: not a training result"):
        train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, None, tmp_path)


def test_networks_that_cannot_be_built_do_not_stop_the_others(cifar_folder, tmp_path):
    broken = classifier(4)
    broken = replace(broken, regular_nodes=tuple(replace(node, op_type_idx=0) for node in broken.regular_nodes))
    networks = [FrontierNetwork(0, broken, 1), FrontierNetwork(1, classifier(8), 1)]
    result = train_frontier(
        networks, SOURCE, FAIRLY_SHORT, load_cifar10(cifar_folder), tmp_path, device="cpu", progress=False
    )
    assert "unknown operation" in result.trained[0].failure and result.best.rank == 1
    assert 0 <= result.best.runs[1].last_accuracy <= 1
