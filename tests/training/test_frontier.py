import json
import logging
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from model_src.files import InputError  # noqa: E402
from model_src.processes import backend  # noqa: E402
from model_src.search.result_folder import ResultFolder  # noqa: E402
from model_src.training import frontier, loop, pool  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.frontier import FrontierConfig, FrontierNetwork, train_frontier  # noqa: E402
from model_src.training.image_data import CIFAR10  # noqa: E402
from model_src.training.recipe import Execution, RunResult, TrainConfig, TrainingError  # noqa: E402
from tests.ray_cluster import two_nodes  # noqa: E402
from tests.tasks import train_or_die  # noqa: E402
from tests.training.conftest import classifier, of_classes  # noqa: E402

SOURCE = classifier(16)
NETWORKS = [
    FrontierNetwork(2, classifier(12), 1),
    FrontierNetwork(0, classifier(8), 2),
    FrontierNetwork(1, classifier(4), 3),
]
IMAGES = of_classes(10, CIFAR10)  # nobody looks at them
CPU = Execution("cpu")
FAIRLY_SHORT = FrontierConfig(TrainConfig(epochs=1, batch_size=50), n_runs=2)


@pytest.fixture
def calls(monkeypatch, in_this_process):
    """Replaces the training; returns the list of (graph, seed, title) it was asked for. hidden4 fails in run 1."""
    asked = []

    def train_network(cg, config, seed, data, how, progress, title, state_path, inherited):
        asked.append((cg.name, seed, title))
        if (cg.name, seed) == ("hidden4", 1):
            raise TrainingError("the loss is not\na finite number")
        accuracy = {"hidden16": 0.5, "hidden12": 0.7, "hidden8": 0.6, "hidden4": 0.9}[cg.name]
        return RunResult(seed, accuracy + seed / 100, accuracy + 0.05, 1.5, 1.0, "cpu")

    monkeypatch.setattr(loop, "train_network", train_network)
    monkeypatch.setattr(loop, "find_spec", lambda name: name)  # as if TensorFlow were there: nothing is trained
    monkeypatch.setattr(frontier, "say_cost", lambda graphs, *_: asked.append([graph.name for graph in graphs]))
    return asked


def trained(calls):
    return [call for call in calls if isinstance(call, tuple)]


def lines(folder):
    return (folder / "train_result.txt").read_text().splitlines()


def test_networks_are_trained_in_rank_order_and_reported(calls, tmp_path):
    result = train_frontier(
        NETWORKS, SOURCE, replace(FAIRLY_SHORT, train_input=True), IMAGES, ResultFolder(tmp_path / "out")
    )
    order = ["hidden16"] * 2 + ["hidden8"] * 2 + ["hidden4"] * 2 + ["hidden12"] * 2
    assert calls[0] == order
    assert [call[0] for call in calls[1:]] == order
    assert calls[1] == ("hidden16", 0, "input")
    assert calls[4] == ("hidden8", 1, "rank 0")
    assert result.best.rank == 2
    first, best, *summaries = lines(tmp_path / "out")
    assert first == "[[0.5, 0.51], [[0.6, 0.61], [-1.0, -1.0], [0.7, 0.71]]]"
    assert best == (
        f"Best: Rank 2, Accuracy 0.7050, Flops {result.best.mflops:.4f}, Delta Flops -24.9910%, "
        "Iteration 1, 5 Nodes, Delta Nodes 0"
    )
    assert summaries == [
        "input: last epoch 50.50 ± 0.71 %, best epoch 55.00 ± 0.00 % (2 runs, 0.1 MFLOPs)",
        "rank 0: last epoch 60.50 ± 0.71 %, best epoch 65.00 ± 0.00 % (2 runs, 0.0 MFLOPs)",
        "rank 1: TrainingError: the loss is not a finite number",
        "rank 2: last epoch 70.50 ± 0.71 %, best epoch 75.00 ± 0.00 % (2 runs, 0.0 MFLOPs)",
    ]


def test_a_failure_is_replaced_by_the_next_and_early_results_are_left_out(calls, tmp_path):
    train_frontier(
        NETWORKS, SOURCE, replace(FAIRLY_SHORT, n_networks=1, first_iteration=2), IMAGES, ResultFolder(tmp_path)
    )
    assert calls[0] == ["hidden8"] * 2
    assert {call[0] for call in calls[1:]} == {"hidden8"}
    train_frontier(
        NETWORKS[1:], SOURCE, replace(FAIRLY_SHORT, n_networks=1, first_iteration=3), IMAGES, ResultFolder(tmp_path)
    )
    assert lines(tmp_path)[:2] == ["[None, [[-1.0, -1.0]]]", "None"]


def test_nothing_to_train_still_gives_a_report(calls, tmp_path):
    assert train_frontier([], SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path)).best is None
    assert lines(tmp_path) == ["[None, []]", "None"]
    assert not calls


def test_finished_runs_are_not_repeated_and_failed_ones_are(calls, tmp_path):
    train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))
    before = (tmp_path / "train_result.json").read_text()
    calls.clear()
    train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))
    assert calls == [["hidden4"], ("hidden4", 1, "rank 1")]
    assert (tmp_path / "train_result.json").read_text() == before
    calls.clear()
    train_frontier(NETWORKS[1:2], SOURCE, replace(FAIRLY_SHORT, n_runs=3), IMAGES, ResultFolder(tmp_path))
    assert calls == [["hidden8"], ("hidden8", 2, "rank 0")]


@pytest.fixture
def on_ray(monkeypatch, calls):
    """Trainings that end in the opposite order; returns how many were begun side by side, each time."""
    waves = []

    def train_jobs(jobs, recipe, images, how, n_jobs, limit, backend):
        assert (n_jobs, backend.name, images()) == (4, "ray", IMAGES)
        waves.append([(job.graph.name, job.seed) for job in jobs])
        for job in reversed(jobs):
            yield job, loop.try_to_train(job.graph, recipe, job.seed, IMAGES, how, False, "", job.state, None)

    monkeypatch.setattr(frontier, "train_jobs", train_jobs)
    monkeypatch.setattr(backend, "find_spec", lambda name: name)
    return waves


def by_ray(config):
    return replace(config, backend=backend.Backend("ray"), n_jobs=4)


def test_on_ray_trainings_are_done_side_by_side_to_the_same_result(calls, on_ray, tmp_path):
    config = replace(FAIRLY_SHORT, train_input=True, n_networks=2)
    for name, where in (("here", config), ("ray", by_ray(config))):
        train_frontier(NETWORKS, SOURCE, where, IMAGES, ResultFolder(tmp_path / name))
    first = [(name, seed) for seed in range(2) for name in ("hidden16", "hidden8", "hidden4")]
    assert on_ray == [first, [("hidden12", 0), ("hidden12", 1)]]  # hidden12 takes the place of hidden4
    for name in ("train_result.txt", "train_result.json"):
        assert (tmp_path / "ray" / name).read_text() == (tmp_path / "here" / name).read_text()
    train_frontier(NETWORKS, SOURCE, by_ray(replace(config, n_runs=3)), IMAGES, ResultFolder(tmp_path / "ray"))
    again = [("hidden16", 2), ("hidden8", 2), ("hidden4", 2)]
    assert on_ray[2:] == [[("hidden4", 1), *again], [("hidden12", 2)]]


def test_what_ended_out_of_turn_is_kept_where_a_job_is_stopped(calls, on_ray, tmp_path, monkeypatch):
    train = loop.train_network

    def stopped(cg, config, seed, *rest):
        if (cg.name, seed) == ("hidden8", 1):
            raise KeyboardInterrupt
        return train(cg, config, seed, *rest)

    config, folder = by_ray(replace(FAIRLY_SHORT, train_input=True)), ResultFolder(tmp_path)
    monkeypatch.setattr(loop, "train_network", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_frontier([NETWORKS[0], NETWORKS[1]], SOURCE, config, IMAGES, folder)
    monkeypatch.setattr(loop, "train_network", train)
    train_frontier([NETWORKS[0], NETWORKS[1]], SOURCE, config, IMAGES, folder)
    assert on_ray[1] == [(name, 0) for name in ("hidden16", "hidden8", "hidden12")] + [("hidden16", 1), ("hidden8", 1)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Ray
def test_trainings_on_two_nodes_that_become_one_give_the_same_result(cifar_folder, tmp_path):
    data, short = load_cifar10(cifar_folder), replace(FAIRLY_SHORT, train_input=True)
    networks = [FrontierNetwork(rank, classifier(size), 1) for rank, size in enumerate((4, 8, 12))]
    here = train_frontier(networks, SOURCE, short, data, ResultFolder(tmp_path / "here"), CPU, progress=False)

    class Folder(ResultFolder):
        def save_trainings(self, *content):
            super().save_trainings(*content)
            if len(saved) < 1:
                nodes.kill_the_second()
            saved.append(content)

    saved = []
    with two_nodes() as nodes:
        where = replace(short, backend=backend.Backend("ray", nodes.address), n_jobs=2)
        ray = train_frontier(networks, SOURCE, where, data, Folder(tmp_path / "ray"), CPU, progress=False)
    runs = [[[replace(run, seconds=0) for run in one.runs] for one in found.trained] for found in (here, ray)]
    assert runs[0] == runs[1]
    assert [len(one) for one in runs[0]] == [2, 2, 2, 2]


def test_another_recipe_starts_anew_and_loses_nothing(calls, tmp_path):
    train_frontier(NETWORKS[1:2], SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))
    for other in (TrainConfig(epochs=2), TrainConfig(epochs=1, batch_size=50, framework="TensorFlow")):
        calls.clear()
        train_frontier(NETWORKS[1:2], SOURCE, replace(FAIRLY_SHORT, recipe=other), IMAGES, ResultFolder(tmp_path))
        assert len(trained(calls)) == 2
    calls.clear()
    train_frontier(NETWORKS[1:2], SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))
    assert not calls
    assert len(json.loads((tmp_path / "train_result.json").read_text())["other_runs"]) == 4


def test_runs_that_are_not_reached_again_stay_in_the_file(calls, tmp_path, monkeypatch):
    train_frontier(NETWORKS[:2], SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train_network", interrupted)
    with pytest.raises(KeyboardInterrupt):  # in the third run of rank 0; rank 2 was not reached
        train_frontier(NETWORKS[:2], SOURCE, replace(FAIRLY_SHORT, n_runs=3), IMAGES, ResultFolder(tmp_path))
    calls.clear()
    train_frontier(NETWORKS[:2], SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))
    assert not calls


def test_results_are_on_disk_after_every_run(tmp_path, monkeypatch, in_this_process):
    def train_network(cg, config, seed, *rest):
        if seed == 1:
            raise KeyboardInterrupt
        return RunResult(seed, 0.5, 0.6, 1.5, 1.0, "cpu")

    monkeypatch.setattr(loop, "train_network", train_network)
    monkeypatch.setattr(frontier, "say_cost", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))
    (trained,) = json.loads((tmp_path / "train_result.json").read_text())["trained"]
    assert trained["rank"] == 0
    assert trained["runs"] == [
        {
            "seed": 0,
            "last_accuracy": 0.5,
            "best_accuracy": 0.6,
            "last_loss": 1.5,
            "seconds": 1.0,
            "device": "cpu",
            "held_out_accuracy": None,
        }
    ]


@pytest.mark.parametrize(
    "content", ["[]", '{"trained": [], "recipe": {}}', '{"trained": [{"runs": [{}], "graph_hash": ""}], "recipe": {}}']
)
def test_a_foreign_result_file_is_refused(tmp_path, content):
    (tmp_path / "train_result.json").write_text(content)
    with pytest.raises(InputError, match=r"train_result\.json: not a training result"):
        train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))


def test_networks_that_cannot_be_built_do_not_stop_the_others(cifar_folder, tmp_path, caplog):
    broken = classifier(4)
    odd = [replace(node, label="spacetobatchnd", op_type_idx=20) for node in broken.regular_nodes]
    broken = replace(broken, regular_nodes=tuple(odd))
    networks = [FrontierNetwork(0, broken, 1), FrontierNetwork(1, classifier(8), 1)]
    data = load_cifar10(cifar_folder)
    with caplog.at_level(logging.INFO):
        result = train_frontier(networks, SOURCE, FAIRLY_SHORT, data, ResultFolder(tmp_path), CPU, progress=False)
    assert "no PyTorch network of 'spacetobatchnd'" in result.trained[0].failure
    assert result.best.rank == 1
    assert 0 <= result.best.runs[1].last_accuracy <= 1
    messages = [record.message for record in caplog.records]
    assert messages[0].startswith("4 trainings on the CPU will take about ")
    assert messages[0].endswith(" MFLOPs)")
    assert messages[-2:] == result.summaries


def test_a_training_that_is_killed_again_and_again_costs_its_network_alone(tmp_path, monkeypatch, caplog):
    """That of seed 1; the next network takes its place. What was trained before is kept."""
    monkeypatch.setattr(pool, "_train", train_or_die)
    monkeypatch.setattr(frontier, "say_cost", lambda *_: None)
    result = train_frontier(NETWORKS[:2], SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path))
    assert [one.failure for one in result.trained] == ["its process was killed, perhaps for its memory"] * 2
    assert caplog.messages[:3] == [
        *("rank 0: its process was killed, perhaps for its memory; it is done again",) * 2,
        "rank 0 is not trained: its process was killed, perhaps for its memory",
    ]
    kept = json.loads((tmp_path / "train_result.json").read_text())["trained"]
    assert [[run["seed"] for run in one["runs"]] for one in kept] == [[0], [0]]
    assert len({one["runs"][0]["device"] for one in kept}) == 2  # processes


def test_a_device_that_is_not_there_ends_everything(tmp_path):
    with pytest.raises(InputError, match="-device_str abacus"):
        train_frontier(NETWORKS, SOURCE, FAIRLY_SHORT, IMAGES, ResultFolder(tmp_path), Execution("abacus"))
    assert not list(tmp_path.iterdir())
