import os
import signal
from dataclasses import replace
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from model_src.processes import TaskPool  # noqa: E402
from model_src.training import pool  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.pool import Job, train_jobs  # noqa: E402
from model_src.training.recipe import Execution, RunResult, TrainConfig  # noqa: E402
from tests.children import workers  # noqa: E402
from tests.tasks import State, train_or_die  # noqa: E402
from tests.training.conftest import classifier  # noqa: E402

CPU = Execution("cpu")
SHORT = TrainConfig(epochs=1, batch_size=50)


def test_results_come_one_by_one(cifar_folder, capfd):
    jobs = [Job(classifier(4), 0), Job(classifier(8), 3)]
    outcomes = list(train_jobs(jobs, SHORT, partial(load_cifar10, cifar_folder), CPU))
    assert [job for job, _ in outcomes] == jobs
    assert [isinstance(outcome, RunResult) and outcome.seed for _, outcome in outcomes] == [0, 3]
    text = capfd.readouterr().err
    assert "trainings: 100%" in text
    assert "hidden8, seed 3" in text  # the bar of a process
    assert "Warning" not in text


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_training_that_is_killed_again_and_again_fails_alone(monkeypatch, n_jobs):
    monkeypatch.setattr(pool, "_train_on_one_thread", train_or_die)
    jobs = [Job(classifier(4), seed) for seed in range(4)]
    outcomes = dict(train_jobs(jobs, SHORT, State(), CPU, n_jobs))
    assert outcomes.pop(jobs[1]) == "its process was killed, perhaps for its memory"
    assert [outcomes[job].seed for job in sorted(outcomes, key=lambda job: job.seed)] == [0, 2, 3]
    assert len({outcome.device for outcome in outcomes.values()}) == 3


@pytest.mark.slow
def test_a_killed_training_is_done_again(cifar_folder):
    jobs = [Job(classifier(), seed) for seed in range(3)]
    running = train_jobs(jobs, replace(SHORT, epochs=40), partial(load_cifar10, cifar_folder), CPU, n_jobs=2)
    first, _ = next(running)
    os.kill(workers()[0], signal.SIGKILL)
    outcomes = dict(running)
    assert {first, *outcomes} == set(jobs)
    assert all(isinstance(outcome, RunResult) for outcome in outcomes.values())


@pytest.mark.slow
def test_what_is_left_when_the_reader_stops_is_not_trained(cifar_folder):
    running = train_jobs(
        [Job(classifier(), seed) for seed in range(40)], SHORT, partial(load_cifar10, cifar_folder), CPU, 2
    )
    next(running)
    running.close()
    assert not workers()


def test_all_gpus_are_used_in_turn_where_none_is_named(monkeypatch):
    used = []
    monkeypatch.setattr(pool, "TaskPool", lambda factory, *_: TaskPool(factory, 1))
    monkeypatch.setattr(
        pool, "_train_on_one_thread", lambda state, job, title, config, how, progress: used.append(how.device)
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for how in (Execution(), Execution("cuda:1")):
        list(train_jobs([Job(classifier(4), seed) for seed in range(3)], SHORT, State(), how))
    assert used == ["cuda:0", "cuda:1", "cuda:0"] + ["cuda:1"] * 3
