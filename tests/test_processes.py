"""Tasks in this process and in others, which are killed, stopped and left behind for real."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from model_src.files import InputError
from model_src.processes import MAX_ATTEMPTS, Parcel, Task, TaskError, TaskPool, local
from tests.children import lives, wait_for, workers
from tests.tasks import (
    PATIENCE,
    State,
    die,
    fail,
    fail_oddly,
    hang,
    interrupt,
    kill_me,
    leave,
    pid,
    segfault,
    stop_me,
    unpicklable,
    value,
)

ROOT = Path(__file__).resolve().parent.parent
BOTH = pytest.mark.parametrize("n_jobs", [1, 2])


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_values_come_in_order_and_the_state_is_made_once_per_process(log, n_jobs):
    with TaskPool(State(log), n_jobs) as pool:
        assert not log.exists()
        assert not workers()
        for _ in range(2):
            tasks = [Task(str(n), value, (n, (5 - n) / 50)) for n in range(6)]
            assert list(pool.in_order(tasks)) == [("state", n) for n in range(6)]
    made = log.read_text().split()
    assert len(made) == len(set(made)) == n_jobs
    assert (n_jobs == 1) == (made == [str(os.getpid())])
    assert not workers()


def test_processes_may_start_before_there_is_a_task(log):
    with TaskPool(State(log), 2) as pool:
        pool.start()
        assert wait_for(lambda: log.exists() and len(log.read_text().split()) == 2)
        assert next(pool.in_order([Task("one", value, (1,))])) == ("state", 1)
    with TaskPool(State(log), 1) as pool:
        pool.start()
        assert not workers()
    assert len(log.read_text().split()) == 2


def test_who_dies_while_another_is_asked_for_is_not_forgotten():
    crew = local.LocalCrew(State())
    try:
        *dead, quick = busy = crew.free((), 3)
        for worker in dead:
            worker.begin(Task("long", value, (0, PATIENCE)), None)
            worker.process.kill()
            worker.process.join()
        quick.begin(Task("short", value, (0,)), None)
        (other,) = crew.free(busy, 1)
        assert other not in busy
        assert set(dead) <= set(crew.ready(busy))
        for worker in dead:
            with pytest.raises(TaskError, match="long: its process was killed"):
                worker.answer()
        assert crew.free([quick], 1) == [other]
    finally:
        crew.close()


def test_outcomes_come_as_tasks_end():
    tasks = [Task("slow", value, (0, 3)), Task("fast", value, (1,)), Task("bad", fail), Task("fast", value, (3,))]
    with TaskPool(State(), 2) as pool:
        outcomes = list(pool.as_finished(tasks))
    assert [outcome.position for outcome in outcomes] == [1, 2, 3, 0]
    assert outcomes[0].result() == ("state", 1)
    assert isinstance(outcomes[1].error, InputError)


def test_one_process_is_this_one_and_does_a_task_when_its_value_is_asked_for(log):
    with TaskPool(State(), 1) as pool:
        values = pool.in_order(Task(str(n), die, (log, hang, 0)) for n in range(3))
        assert not log.exists()
        assert next(values) == "done"
        assert log.read_text().split() == [str(os.getpid())]


@BOTH
def test_errors_keep_their_type_and_make_no_noise(n_jobs, capfd):
    tasks = [Task("good", value, (0,)), Task("bad", fail), Task("worse", fail, (KeyError,))]
    with TaskPool(State(), n_jobs) as pool:
        values = pool.in_order(tasks)
        assert next(values) == ("state", 0)
        with pytest.raises(InputError, match=r"^bad\.file: damaged$"):
            next(values)
        with pytest.raises(KeyError):
            list(pool.in_order(tasks[2:]))
    with TaskPool(State(fails=True), n_jobs) as pool, pytest.raises(InputError, match=r"^state\.file: missing$"):
        next(pool.in_order(tasks))
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_sent_back_is_an_error_of_its_task():
    with TaskPool(State(), 2) as pool:
        odd, local, good = sorted(
            pool.as_finished([Task("odd", fail_oddly), Task("local", unpicklable), Task("good", value, (1,))])
        )
    assert isinstance(odd.error, RuntimeError)
    assert str(odd.error) == "Odd: one and two"
    assert isinstance(local.error, AttributeError | pickle.PicklingError)
    assert good.result() == ("state", 1)
    assert "in unpicklable" not in str(local.error)
    assert "in do" in local.error.__notes__[0]


@pytest.mark.parametrize("end", [kill_me, segfault, leave])
def test_a_dead_process_costs_its_task_which_is_done_again(log, end, caplog):
    tasks = [Task(f"task {n}", value, (n,)) for n in range(4)]
    tasks[1] = Task("fatal", die, (log, end, MAX_ATTEMPTS - 1))
    with TaskPool(State(), 2) as pool:
        assert list(pool.in_order(tasks)) == [("state", 0), "done", ("state", 2), ("state", 3)]
    tried = log.read_text().split()
    assert len(tried) == len(set(tried)) == MAX_ATTEMPTS
    assert len(caplog.messages) == MAX_ATTEMPTS - 1
    assert all("done again" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (kill_me, "its process was killed, perhaps for its memory"),
        (segfault, r"its process was ended by signal 11 \(Segmentation fault\)"),
        (leave, "its process ended with exit code 3"),
    ],
)
def test_a_task_that_kills_its_processes_fails_alone(log, end, reason, capfd):
    with TaskPool(State(), 2) as pool:
        tasks = [Task("fatal", die, (log, end)), Task("good", value, (1,))]
        fatal, good = sorted(pool.as_finished(tasks), key=lambda outcome: outcome.position)
        with pytest.raises(TaskError, match=f"^fatal: {reason}$") as caught:
            fatal.result()
        assert good.result() == next(iter(pool.in_order(tasks[1:]))) == ("state", 1)
    assert len(log.read_text().split()) == MAX_ATTEMPTS
    assert isinstance(caught.value, InputError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_idle_process_that_dies_costs_nothing(caplog):
    with TaskPool(State(), 2) as pool:
        first = set(pool.in_order([Task("a", pid), Task("b", pid)]))
        for one in first:
            os.kill(one, signal.SIGKILL)
            os.waitid(os.P_PID, one, os.WEXITED | os.WNOWAIT)  # until its last thread has ended
        assert not first & set(pool.in_order([Task("a", pid), Task("b", pid)]))
    assert not caplog.messages


def test_a_process_that_hangs_is_ended_at_its_limit(log, caplog):
    with TaskPool(State(), 2) as pool:
        with pytest.raises(TaskError, match=r"^endless: not done within 1 s$"):
            list(pool.in_order([Task("endless", die, (log, hang))], timeout=1))
        assert len(caplog.messages) == MAX_ATTEMPTS - 1
        assert not workers()
        assert list(pool.in_order([Task("good", value, (1,))])) == [("state", 1)]


def test_a_stopped_process_is_ended_at_its_limit_and_its_task_done_again(log):
    with TaskPool(State(), 2) as pool:
        assert list(pool.in_order([Task("stopped", die, (log, stop_me, 1))], timeout=4)) == ["done"]


def test_a_limit_that_is_kept_ends_nothing():
    with TaskPool(State(), 2) as pool:
        first = list(pool.in_order([Task("a", pid)], timeout=1e6))
        assert list(pool.in_order([Task("a", pid)])) == first


def test_the_limit_of_a_task_is_not_that_of_the_next_one(monkeypatch):
    limits, make = [], threading.Timer
    monkeypatch.setattr(threading, "Timer", lambda *args: limits.append(make(*args)) or limits[-1])
    with TaskPool(State(), 2) as pool:
        outcomes = pool.as_finished([Task("a", value, (0,)), Task("b", value, (1, PATIENCE))], timeout=1e6)
        assert next(outcomes).position == 0
        started = [limit for limit in limits if limit.ident]
        assert [limit.finished.is_set() for limit in started] == [True, False]


@BOTH
def test_a_process_for_each_task_is_gone_when_its_task_is_done(n_jobs):
    with TaskPool(State(), n_jobs, reuse=False) as pool:
        seen = []
        for outcome in pool.as_finished([Task(str(n), pid) for n in range(5)]):
            assert not lives(outcome.result())
            seen.append(outcome.result())
    assert len({*seen, os.getpid()}) == 6


def test_ctrl_c_is_the_parents_affair():
    with TaskPool(State(), 2) as pool:
        assert list(pool.in_order([Task("interrupted", interrupt)])) == ["lives"]


def test_a_reader_that_stops_ends_what_runs():
    with TaskPool(State(), 2) as pool:
        outcomes = pool.as_finished([Task("fast", value, (0,)), *(Task("slow", value, (1, PATIENCE)),) * 3])
        next(outcomes)
        assert len(workers()) == 2
        outcomes.close()
        assert not workers()
        assert list(pool.in_order([Task("again", value, (2,))])) == [("state", 2)]
        assert len(workers()) == 1
    assert not workers()


def test_tasks_of_a_reader_that_stopped_answer_no_other():
    """It may still be held, as by a loop that was left."""
    with TaskPool(State(), 2) as pool:
        left = pool.in_order(Task("left", value, (n, n / 2)) for n in range(4))
        assert next(left) == ("state", 0)
        for _ in range(2):
            assert list(pool.in_order([Task("next", value, (n,)) for n in (7, 8, 9)])) == [
                ("state", n) for n in (7, 8, 9)
            ]
        with pytest.raises(RuntimeError, match="another reader"):
            list(left)


def test_a_machine_without_room_for_a_process_is_one_line(monkeypatch):
    def full():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(local.SPAWN, "Pipe", full)
    with TaskPool(State(), 2) as pool, pytest.raises(InputError, match=r"^-n_jobs: .*: Too many open files$"):
        list(pool.in_order([Task("a", pid)]))


PARENT = f"""
import signal
from multiprocessing import active_children
from model_src.processes import Task, TaskPool
from tests.tasks import State, value

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background ignore it,
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and those that run under nohup this one
    try:
        with TaskPool(State(), 3) as pool:
            for _ in pool.as_finished([Task("task", value, (0, seconds)) for seconds in ({PATIENCE}, {PATIENCE}, 1)]):
                print(*(child.pid for child in active_children()), flush=True)
    except KeyboardInterrupt:
        print(active_children())
"""


@pytest.fixture
def parent(tmp_path):
    """A process with two busy processes and an idle one, in a process group of its own; and these."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes) as process:
        children = [int(word) for word in process.stdout.readline().split()]
        assert len(children) == 3
        assert all(map(lives, children))
        yield process, children
        process.kill()


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_processes_end_with_their_parent(parent, ended_by):
    process, children = parent
    if sys.platform == "linux":
        os.kill(children[1], signal.SIGSTOP)
    process.send_signal(ended_by)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == -ended_by
    assert wait_for(lambda: not any(map(lives, children)))


def test_ctrl_c_ends_all_without_noise(parent):
    process, children = parent
    for child in children:
        os.kill(child, signal.SIGINT)
    time.sleep(1)  # for those that it would end
    assert all(map(lives, children))
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=PATIENCE) == ("[]\n", "")
    assert not any(map(lives, children))


def test_a_parcel_is_packed_once_and_stays_packed_until_its_value_is_asked_for():
    parcel = Parcel([1, 2])
    arrived = pickle.loads(pickle.dumps(parcel))
    assert parcel.is_open
    assert not arrived.is_open
    assert arrived.packed == parcel.packed
    assert pickle.dumps(arrived) == pickle.dumps(parcel)
    assert not arrived.is_open
    assert arrived.value == [1, 2]
    assert arrived.is_open
