"""Runs scripts in forks of this process and kills them: after some time, or at one of their writes."""

import importlib
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

import psutil
import tqdm
from reliability_jobs import Command, Job, results
from reliability_writes import WHEN, at_write, count_writes

from model_src import kept

PATIENCE = 900.0  # seconds, on a busy machine


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code (negative: the signal), its processor time in seconds, and what it printed."""

    code: int
    seconds: float
    printed: str


@dataclass
class Tally:
    """What became of the kills of a job.

    Attributes:
        n_kills: Kills.
        n_same: Of those, resumed to the same bytes.
        failures: What went wrong with the others.
    """

    n_kills: int = 0
    n_same: int = 0
    failures: list[str] = field(default_factory=list)


def warm_up() -> None:
    """Import here what forks would import one after the other; no thread may start."""
    import torch

    torch.set_num_threads(1)
    for name in ("autogo", "gen_DB", "gen_families", "gen_vocab", "run_psc_segment", "sentencepiece", "tqdm"):
        importlib.import_module(name)
    for name in ("search.session", "search.output", "predictor.training.experiment", "training.labels", "family_data"):
        importlib.import_module(f"model_src.{name}")


class Run:
    """A script under way, in a process group of its own.

    Args:
        command: The script and its flags.
        log: What takes its output.
        fault: Called in the new process before the script begins.
    """

    def __init__(self, command: Command, log: Path, fault: Callable[[], None] = lambda: None):
        self._log, self._started = log, time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            _be(command, log, fault)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it, and only it, a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> Outcome:
        """Wait for its end.

        Raises:
            TimeoutError: It does not come, or a process that it started is still there 20 seconds later.
        """
        deadline = self._started + seconds
        while True:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                self._end_group()
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"no end within {seconds:g} s")
            time.sleep(0.01)
        self._check_orphans()
        code, printed = os.waitstatus_to_exitcode(status), self._log.read_text(errors="replace")
        return Outcome(code, used.ru_utime + used.ru_stime, printed)

    def kill_at(self, seconds: float) -> None:
        """Kill it when it and its processes have used so much processor time, whatever else the machine does."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            while process.status() != psutil.STATUS_ZOMBIE:
                if sum(_used(one) for one in (process, *process.children(recursive=True))) >= seconds:
                    self.kill()
                    return
                time.sleep(0.01)

    def _check_orphans(self) -> None:
        for _ in range(200):
            try:
                os.killpg(self.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            time.sleep(0.1)
        self._end_group()
        raise TimeoutError("a process that it started outlives it")

    def _end_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def _used(process: psutil.Process) -> float:
    """Processor time of a process and of those of its children that have ended, in seconds."""
    with suppress(psutil.NoSuchProcess):
        return sum(process.cpu_times()[:4])
    return 0.0


def _be(command: Command, log: Path, fault: Callable[[], None]) -> NoReturn:
    """Become the script."""
    code = 1
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = map(_text, (1, 2))
        tqdm.tqdm.set_lock(threading.RLock())  # the one that forks inherit is held by whoever was killed with it
        kept.MOST_PIECES = 10  # of what takes minutes, hundreds are kept at a time
        fault()
        script, flags = command
        sys.argv = [f"{script}.py", *flags]
        importlib.import_module(script).cli()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _text(descriptor: int) -> IO[str]:
    return open(descriptor, "w", buffering=1, closefd=False)


class Killer:
    """Kills a job over and over, and goes on with it.

    Args:
        job: The job.
        inputs: Folder of what it reads.
        place: Folder to work in.
    """

    def __init__(self, job: Job, inputs: Path, place: Path):
        self._job, self._inputs, self._place = job, inputs, place
        self._n_runs, writes = 0, place / "writes"
        folder = self._folder()
        whole = self._run(job.begin(inputs, folder), folder, count_writes(writes))
        again = self._folder()
        second = self._run(job.begin(inputs, again), again)
        if (whole.code, second.code) != (0, 0):
            raise RuntimeError(f"{job.name}: {whole.printed[-2000:]}")
        first, second_results = results(job.place(folder)), results(job.place(again))
        self.expected = {name: content for name, content in first.items() if second_results.get(name) == content}
        missing = {*job.results} - {*self.expected}
        if missing or not self.expected:
            raise RuntimeError(f"{job.name}: {missing or 'all files'} differ between two runs; there are {[*first]}")
        self.seconds, self.n_writes = min(whole.seconds, second.seconds), len(writes.read_text())
        shutil.rmtree(folder)
        shutil.rmtree(again)

    def after(self, count: int) -> Tally:
        """Kill it after times that are spread evenly over its run."""
        delays = [(number + 0.5) / count * self.seconds for number in range(count)]
        return self._tally((f"after {delay:.2f} s", delay, lambda: None) for delay in delays)

    def in_writes(self, count: int) -> Tally:
        """Kill it at writes that are spread evenly: before and after the rename, and half-way."""
        places = [
            (1 + round(number / max(1, count - 1) * (self.n_writes - 1)), WHEN[number % 3]) for number in range(count)
        ]
        return self._tally((f"{when} write {number}", math.inf, at_write(number, when)) for number, when in places)

    def _tally(self, kills: Iterator[tuple[str, float, Callable[[], None]]]) -> Tally:
        tally = Tally()
        for title, delay, fault in kills:
            tally.n_kills += 1
            try:
                while not self._one(delay, fault):
                    delay *= 0.9  # this time it was over before
                tally.n_same += 1
            except (RuntimeError, TimeoutError, OSError, ValueError) as error:
                tally.failures.append(f"{title}: {error}")
                print(f"{self._job.name}: {tally.failures[-1]}", flush=True)
        return tally

    def _one(self, delay: float, fault: Callable[[], None]) -> bool:
        """Kill once and go on; False if it was over before."""
        folder = self._folder()
        run = Run(self._job.begin(self._inputs, folder), self._log(folder), fault)
        run.kill_at(delay)
        killed = run.wait()
        if killed.code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"exit code {killed.code}: {killed.printed[-500:]}")
        if killed.code:
            again = self._run(self._job.resumed(self._inputs, folder), folder)
            if again.code and "the search is finished" not in again.printed:
                raise RuntimeError(f"resumed with exit code {again.code}: {again.printed[-500:]}")
        self._compare(folder)
        shutil.rmtree(folder)
        return bool(killed.code)

    def _compare(self, folder: Path) -> None:
        found = results(self._job.place(folder))
        wrong = [name for name, content in self.expected.items() if found.get(name) != content]
        left = [name for name in found if name.startswith(".")]
        if wrong or left:
            raise RuntimeError(f"{folder}: differs: {wrong}; left over: {left}")

    def _run(self, command: Command, folder: Path, fault: Callable[[], None] = lambda: None) -> Outcome:
        return Run(command, self._log(folder), fault).wait()

    def _folder(self) -> Path:
        self._n_runs += 1
        folder = self._place / str(self._n_runs)
        self._job.prepare(self._inputs, folder)
        return folder

    def _log(self, folder: Path) -> Path:
        return folder.with_suffix(".log")
