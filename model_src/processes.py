"""One way to run tasks: in this process, or in processes of this machine that are kept for the run.

A task is a picklable function with picklable arguments. What it needs besides (files it reads, a predictor) is made
once per process by a picklable factory, and is its first argument.
"""

import ctypes
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import closing, suppress
from functools import cache
from multiprocessing import connection, get_context, parent_process, resource_tracker
from typing import Any, NamedTuple

from model_src.files import InputError

MAX_ATTEMPTS = 3
# Fresh processes, not forks: a fork of a process that has used a GPU or PyTorch's threads can hang.
SPAWN = get_context("spawn")
PR_SET_PDEATHSIG = 1  # of Linux's prctl

logger = logging.getLogger(__name__)


class TaskError(InputError):
    """No process lived to finish a task; the text is one line for the user.

    Attributes:
        name: Of the task.
        reason: What became of its last process.
    """

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Task(NamedTuple):
    """Work to do: `function(state, *arguments)`, and a name for the user."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


class Outcome(NamedTuple):
    """What became of the task at a position: a value or an error."""

    position: int
    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        """The value.

        Raises:
            TaskError: No process lived to finish the task.
            Exception: As raised by the task or by the factory.
        """
        if self.error is not None:
            raise self.error
        return self.value


class TaskPool:
    """Runs tasks in `n_jobs` processes; a process starts when there is a task for it. One that is kept is this one.

    A process that dies (killed, out of memory, crashed) or is ended at its limit costs its task, which is done again
    by another, `MAX_ATTEMPTS` times in all. Processes end when the block ends, and with the thread that started them.

    Args:
        factory: Makes what the tasks share, in each process before its first task; picklable.
        n_jobs: Tasks at a time.
        reuse: Keep the processes; otherwise each does one task, and its memory is free before the next begins. Then
            even one task at a time is done in a process of its own, whose death costs no more than that task.
    """

    def __init__(self, factory: Callable[[], Any], n_jobs: int, reuse: bool = True):
        self._factory, self._n_jobs, self._reuse = factory, n_jobs, reuse
        self._state = cache(factory)  # of this process
        self._workers: list[_Worker] = []

    def __enter__(self) -> "TaskPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes at once, whatever they do."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def in_order(self, tasks: Iterable[Task], timeout: float | None = None) -> Iterator[Any]:
        """Yield the values of tasks in their order, whatever the number of processes.

        Args:
            tasks: What to do; it begins when the first value is asked for.
            timeout: Seconds that a process may spend on one (its start and the wait for a slow reader
                included), None for no limit. In this process there is none.

        Raises:
            TaskError: No process lived to finish a task.
            Exception: As raised by a task or by the factory.
        """
        early: dict[int, Outcome] = {}
        n_yielded = 0
        with closing(self.as_finished(tasks, timeout)) as outcomes:
            for outcome in outcomes:
                early[outcome.position] = outcome
                while n_yielded in early:
                    yield early.pop(n_yielded).result()
                    n_yielded += 1

    def as_finished(self, tasks: Iterable[Task], timeout: float | None = None) -> Generator[Outcome]:
        """Yield the outcomes of tasks as they end; a reader that stops ends those that are running.

        Args:
            tasks: As of `in_order`.
            timeout: As of `in_order`.

        Raises:
            InputError: The machine cannot start a process.
        """
        if self._n_jobs > 1 or not self._reuse:
            yield from self._in_processes(list(tasks), timeout)
            return
        for position, task in enumerate(tasks):
            try:
                outcome = Outcome(position, task.function(self._state(), *task.arguments))
            except Exception as error:  # whatever a task raises is its outcome, as in `_do`
                outcome = Outcome(position, error=error)
            yield outcome

    def _in_processes(self, tasks: list[Task], timeout: float | None) -> Iterator[Outcome]:
        waiting = deque((position, 1) for position in range(len(tasks)))  # position, which attempt
        busy: dict[_Worker, tuple[int, int]] = {}
        finished: list[Outcome] = []
        try:
            while waiting or busy or finished:
                while waiting and len(busy) < self._n_jobs:
                    worker = self._free_worker(busy)
                    busy[worker] = waiting.popleft()
                    worker.begin(tasks[busy[worker][0]], timeout)
                yield from finished  # while the processes work
                finished = []
                ready = connection.wait([worker.connection for worker in busy]) if busy else []
                for worker in [worker for worker in busy if worker.connection in ready]:
                    position, attempt = busy[worker]
                    try:
                        finished.append(Outcome(position, *worker.answer()))
                    except TaskError as error:
                        if attempt == MAX_ATTEMPTS:
                            finished.append(Outcome(position, error=error))
                        else:
                            logger.warning("%s; it is done again", error)
                            waiting.appendleft((position, attempt + 1))
                    if not self._reuse:
                        worker.end()
                    del busy[worker]
        finally:
            for worker in busy:
                worker.end()

    def _free_worker(self, busy: Container["_Worker"]) -> "_Worker":
        self._workers = [worker for worker in self._workers if worker.process.is_alive()]
        for worker in self._workers:
            if worker not in busy:
                return worker
        resource_tracker.ensure_running()  # which would otherwise start below, and unblock
        # Blocked from its first moment on: they are its parent's affair.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            self._workers.append(_Worker(self._factory))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._workers[-1]


class _Worker:
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
        self._send(factory)

    def _send(self, message: Any) -> None:
        """Send by value (multiprocessing's own pickling would share tensors); a dead process shows when it is read."""
        pickled = pickle.dumps(message)
        with suppress(OSError):
            self.connection.send_bytes(pickled)

    def begin(self, task: Task, timeout: float | None) -> None:
        """Hand it a task, to be done within `timeout` seconds if that is given."""
        self._task, self._is_late = task, False
        if timeout is not None:
            self._limit = threading.Timer(min(timeout, threading.TIMEOUT_MAX), self._end_late)
            self._limit.daemon = True
            self._limit.start()
        self._send((task.function, task.arguments))

    def _end_late(self) -> None:
        self._is_late = True
        self.process.kill()  # ends a stopped process, too

    def answer(self) -> tuple[Any, Exception | None]:
        """Value and error of its task.

        Raises:
            TaskError: It died.
        """
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
        """End it at once, whatever it does."""
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
        state = cache(lambda: pickle.loads(factory)())
        while True:
            parent.send_bytes(_do(parent.recv_bytes(), state))


def _end_with_parent() -> None:
    """End at once when the parent does, even if that is killed."""

    def follow(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, args=(parent_process(),), daemon=True).start()
    if sys.platform == "linux":  # also a process that is stopped, or whose threads cannot run
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _do(task: bytes, state: Callable[[], Any]) -> bytes:
    """The pickled value and error of a pickled task."""
    try:
        function, arguments = pickle.loads(task)
        return pickle.dumps((function(state(), *arguments), None))
    except Exception as error:  # whatever a task raises is its outcome
        if not isinstance(error, InputError):
            error.add_note("".join(traceback.format_exception(error)))  # shown where nobody catches it
        try:
            answer = pickle.dumps((None, error))
            pickle.loads(answer)
        except Exception:  # pickling calls the error's own class, which may raise anything
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
        return answer
