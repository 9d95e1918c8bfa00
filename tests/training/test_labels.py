from dataclasses import replace
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.files import InputError  # noqa: E402
from model_src.labels.measured import Budget, MeasuredTable  # noqa: E402
from model_src.processes import Backend  # noqa: E402
from model_src.training import labels, loop  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.labels import Measurement, Subject, measure, trained_rows  # noqa: E402
from model_src.training.loop import train_network  # noqa: E402
from model_src.training.recipe import Execution, TrainConfig  # noqa: E402
from tests.ray_cluster import two_nodes  # noqa: E402
from tests.training.conftest import classifier  # noqa: E402

RECIPE = TrainConfig(epochs=2, batch_size=20, train_images=40, epochs_per_test=2)
CPU = Execution("cpu")
BUDGET = Budget(2, 40, 20)


def subject(graph, name="x"):
    return Subject(graph, name, canonical_hash(graph))


SUBJECTS = [subject(classifier(4), "four"), subject(classifier(8), "eight")]


@pytest.fixture
def measurement(cifar_folder):
    return Measurement(RECIPE, n_runs=2, images=partial(load_cifar10, cifar_folder), how=CPU)


@pytest.fixture
def titles(monkeypatch, in_this_process):
    """Of the trainings that were begun."""
    titles, train = [], loop.train_network

    def train_network(*args):
        titles.append(args[-3])
        return train(*args)

    monkeypatch.setattr(loop, "train_network", train_network)
    return titles


def test_a_row_per_training_and_a_mean_per_network(measurement, cifar_folder, tmp_path, in_this_process):
    path = tmp_path / "t.csv"
    accuracies = measure(SUBJECTS, measurement, path)
    rows = MeasuredTable(path, BUDGET).rows
    assert [(row.config_hash, row.seed) for row in rows] == [("four", 0), ("eight", 0), ("four", 1), ("eight", 1)]
    means = [(rows[at].accuracy + rows[at + 2].accuracy) / 2 for at in (0, 1)]
    assert accuracies == {one.graph_hash: pytest.approx(mean) for one, mean in zip(SUBJECTS, means, strict=True)}
    alone = train_network(SUBJECTS[1].graph, RECIPE, 1, load_cifar10(cifar_folder), CPU)
    assert rows[3].accuracy == pytest.approx(alone.last_accuracy)
    assert rows[3].loss == pytest.approx(alone.last_loss, abs=1e-6)
    assert rows[3].device == "cpu"
    assert rows[3].seconds >= 0
    assert rows[3].failure == ""


def test_all_images_are_a_budget_too(measurement, tmp_path, in_this_process):
    everything = replace(measurement, recipe=replace(RECIPE, train_images=None), n_runs=1)
    measure(SUBJECTS[:1], everything, tmp_path / "t.csv")
    assert MeasuredTable(tmp_path / "t.csv", BUDGET._replace(images=100)).rows


def test_finished_trainings_are_not_repeated(measurement, tmp_path, titles):
    measure(SUBJECTS[:1], replace(measurement, n_runs=1), tmp_path / "t.csv")
    first = measure(SUBJECTS, measurement, tmp_path / "t.csv")
    assert titles == ["hidden4, seed 0", "hidden8, seed 0", "hidden4, seed 1", "hidden8, seed 1"]
    titles.clear()
    assert measure(SUBJECTS, measurement, tmp_path / "t.csv") == first
    assert not titles


def test_failures_are_recorded_and_not_repeated(measurement, tmp_path, titles):
    wrong = subject(classifier(6, n_classes=4))
    for _ in range(2):
        accuracies = measure([wrong, SUBJECTS[0]], replace(measurement, n_runs=1), tmp_path / "t.csv")
        assert list(accuracies) == [SUBJECTS[0].graph_hash]
    assert len(titles) == 2
    failed = MeasuredTable(tmp_path / "t.csv", BUDGET).rows[0]
    assert failed.accuracy is failed.loss is failed.seconds is None
    assert failed.failure.startswith("ValueError: the network ends in")


def test_several_at_a_time_measure_the_same(measurement, tmp_path, in_this_process):
    wrong = subject(classifier(6, n_classes=4))
    tables = []
    for n_jobs in (1, 2):
        path = tmp_path / f"{n_jobs}.csv"
        measure([*SUBJECTS, wrong], replace(measurement, n_jobs=n_jobs), path)
        rows = MeasuredTable(path, BUDGET).rows
        tables.append({(row.graph_hash, row.seed): (row.accuracy, row.loss, row.failure) for row in rows})
    assert tables[0] == tables[1]
    assert len(tables[0]) == 6


def test_nothing_is_trained_for_a_table_of_something_else(measurement, tmp_path, titles):
    (tmp_path / "t.csv").write_text("config_hash,graph_hash,accuracy,source,epochs,seed\n")
    with pytest.raises(InputError, match="not a table of measured labels"):
        measure(SUBJECTS, measurement, tmp_path / "t.csv")
    with pytest.raises(InputError, match="-device_str abacus"):
        measure(SUBJECTS, replace(measurement, how=Execution("abacus")), tmp_path / "new.csv")
    assert not titles
    assert not (tmp_path / "new.csv").exists()


def test_the_cost_is_said_first(measurement, tmp_path, monkeypatch, in_this_process):
    said = []
    monkeypatch.setattr(labels, "say_cost", lambda graphs, *_: said.append([graph.name for graph in graphs]))
    measure(SUBJECTS, measurement, tmp_path / "t.csv")
    assert said == [["hidden4", "hidden8"] * 2]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Ray
def test_trainings_on_two_nodes_that_become_one_give_the_same_table(measurement, tmp_path):
    alone, on_ray = tmp_path / "alone.csv", tmp_path / "ray.csv"
    measure(SUBJECTS, measurement, alone)
    with two_nodes() as nodes:
        where = replace(measurement, n_jobs=2, backend=Backend("ray", nodes.address))
        rows = trained_rows(SUBJECTS, where, on_ray)
        next(rows)
        nodes.kill_the_second()
        assert len(list(rows)) == 3
    tables = [sorted(row._replace(seconds=0) for row in MeasuredTable(path, BUDGET).rows) for path in (alone, on_ray)]
    assert tables[0] == tables[1]
    assert not list(tmp_path.glob("ray.states/*"))
