"""Processes of this machine that do tasks."""

import ctypes
import gc
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import connection, get_context, parent_process, resource_tracker
from typing import Any

from model_src.files import InputError
from model_src.processes.tasks import Task, TaskError, Worker, do

# Fresh processes, not forks: a fork of a process that has used a GPU or PyTorch's threads can hang.
SPAWN = get_context("spawn")
PR_SET_PDEATHSIG = 1  # of Linux's prctl


class LocalCrew:
    """Processes of this machine, each of which makes what the tasks share; they end with the thread that started them.

    Args:
        factory: Makes what the tasks share.
    """

    def __init__(self, factory: Callable[[], Any]):
        self._factory, self._workers = factory, list[_Process]()

    def free(self, busy: Collection[Worker], wanted: int) -> Sequence[Worker]:
        """See `Crew.free`; all come at once."""
        # one that died at its task is kept until that is known
        self._workers = [worker for worker in self._workers if worker in busy or worker.process.is_alive()]
        idle = [worker for worker in self._workers if worker not in busy][:wanted]
        return idle + [self._start() for _ in range(wanted - len(idle))]

    def ready(self, busy: Collection[Worker]) -> Sequence[Worker]:
        """See `Crew.ready`."""
        working = [worker for worker in self._workers if worker in busy]
        connections = connection.wait([worker.connection for worker in working])
        return [worker for worker in working if worker.connection in connections]

    def close(self) -> None:
        """See `Crew.close`."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _start(self) -> "_Process":
        resource_tracker.ensure_running()  # which would otherwise start below, and unblock
        # Blocked from its first moment on: they are its parent's affair.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            self._workers.append(_Process(self._factory))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._workers[-1]


class _Process:
    """A process that does one task at a time, and this end of the pipe to it."""

    def __init__(self, factory: Callable[[], Any]):
        try:
            self.connection, their_end = SPAWN.Pipe()
            self.process = SPAWN.Process(target=_serve, args=(their_end,), daemon=True)
            self.process.start()
        except OSError as error:
            raise InputError(f"-n_jobs: no further process can be started: {error.strerror or error}") from error
        their_end.close()
        self._limit = threading.Timer(0, self._end_late)  # of its task
        self._send(pickle.dumps(factory))

    def _send(self, message: bytes) -> None:
        with suppress(OSError):  # a dead process shows when it is read
            self.connection.send_bytes(message)

    def begin(self, task: Task, timeout: float | None) -> None:
        """See `Worker.begin`."""
        self._task, self._is_late = task, False
        if timeout is not None:
            self._limit = threading.Timer(min(timeout, threading.TIMEOUT_MAX), self._end_late)
            self._limit.daemon = True
            self._limit.start()
        self._send(task.pickled())

    def _end_late(self) -> None:
        self._is_late = True
        self.process.kill()  # ends a stopped process, too

    def answer(self) -> tuple[Any, Exception | None]:
        """See `Worker.answer`."""
        try:
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            self.process.join(1)  # it may be on its way out
            self.end()
            raise TaskError(self._task.name, self._fate()) from None
        self._limit.cancel()
        value, error = pickle.loads(answer)
        return value, error

    def end(self) -> None:
        """See `Worker.end`."""
        self._limit.cancel()
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _fate(self) -> str:
        code = self.process.exitcode or 0
        if self._is_late:
            return f"not done within {self._limit.interval:g} s"
        if code == -signal.SIGKILL:
            return "its process was killed, perhaps for its memory"
        if code < 0:
            return f"its process was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"its process ended with exit code {code}"


def _serve(parent: connection.Connection) -> None:
    """Do tasks until the parent closes its end."""
    _end_with_parent()
    with suppress(EOFError, OSError):
        factory = parent.recv_bytes()
        state = cache(lambda: _kept(pickle.loads(factory)()))
        with suppress(Exception):  # which the first task will raise again
            state()
        while True:
            parent.send_bytes(do(parent.recv_bytes(), state))


def _kept(state: Any) -> Any:
    """The same; what lives as long as the process is never looked at again in the search for cyclic garbage."""
    gc.collect()
    gc.freeze()
    return state


def _end_with_parent() -> None:
    """End at once when the parent does, even if that is killed."""

    def follow(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, args=(parent_process(),), daemon=True).start()
    if sys.platform == "linux":  # also a process that is stopped, or whose threads cannot run
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
