"""Tasks for processes: light, so that a process starts quickly."""

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from model_src.files import InputError
from model_src.processes import MAX_ATTEMPTS

PATIENCE = 60  # seconds, on a busy machine


@dataclass(frozen=True)
class State:
    """Notes each process that it is made in; may fail."""

    log: Path | None = None
    fails: bool = False

    def __call__(self) -> str:
        if self.fails:
            raise InputError("state.file: missing")
        if self.log:
            note(self.log)
        return "state"


def note(log: Path) -> int:
    """Append this process to a file; returns how many are there."""
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(log.read_text().split())


def value(state, number, seconds=0.0):
    time.sleep(seconds)
    return state, number


def pid(_):
    return os.getpid()


def fail(_, kind=InputError):
    raise kind("bad.file: damaged")


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def fail_oddly(_):
    raise Odd("one", "two")


def unpicklable(_):
    return lambda: None


def die(_, log, end, times=MAX_ATTEMPTS):
    """End this process in some way, in the first attempts."""
    if note(log) <= times:
        end()
        time.sleep(PATIENCE)
    return "done"


def kill_me():
    os.kill(os.getpid(), signal.SIGKILL)


def stop_me():
    os.kill(os.getpid(), signal.SIGSTOP)


def segfault():
    ctypes.string_at(0)


def leave():
    sys.exit(3)


def hang():
    time.sleep(PATIENCE)


def interrupt(_):
    os.kill(os.getpid(), signal.SIGINT)
    return "lives"


def train_or_die(_, job, *__):
    """Stand for a training; that of seed 1 kills its process."""
    from model_src.training.recipe import RunResult

    if job.seed == 1:
        kill_me()
    return RunResult(job.seed, 0.5, 0.5, 1.0, 1.0, f"process {os.getpid()}")
