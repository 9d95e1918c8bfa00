import os
import signal
import time
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from model_src.files import InputError  # noqa: E402
from model_src.training.pool import Job, train_jobs  # noqa: E402
from model_src.training.recipe import Execution, RunResult, TrainConfig  # noqa: E402
from tests.training.conftest import classifier  # noqa: E402

CPU = Execution("cpu")
SHORT = TrainConfig(epochs=1, batch_size=50)


def children() -> list[int]:
    """Process numbers of this process's living children that train."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found += map(int, file.read().split())
    return [pid for pid in found if b"spawn_main" in command_of(pid)]


def command_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_results_come_one_by_one(cifar_folder, capsys):
    jobs = [Job(classifier(4), 0), Job(classifier(8), 3)]
    outcomes = list(train_jobs(jobs, SHORT, cifar_folder, CPU))
    assert [job for job, _ in outcomes] == jobs
    assert [isinstance(outcome, RunResult) and outcome.seed for _, outcome in outcomes] == [0, 3]
    text = capsys.readouterr().err
    assert "trainings: 100%" in text
    assert "hidden8, seed 3" in text


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="finds its children in /proc")
def test_a_killed_process_is_one_line(cifar_folder):
    jobs = [Job(classifier(), seed) for seed in range(3)]
    running = train_jobs(jobs, replace(SHORT, epochs=100), cifar_folder, CPU, n_jobs=2)
    next(running)
    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(InputError, match=r"-n_jobs 2: a process was killed, .* finished trainings are kept"):
        list(running)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="finds its children in /proc")
def test_what_is_left_when_the_reader_stops_is_not_trained(cifar_folder):
    running = train_jobs([Job(classifier(), seed) for seed in range(40)], SHORT, cifar_folder, CPU, 2)
    next(running)
    running.close()
    deadline = time.monotonic() + 60
    while children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children()
