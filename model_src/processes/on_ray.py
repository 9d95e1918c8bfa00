"""Processes of a Ray cluster that do tasks.

What the tasks share is made once, here. It goes into Ray's object store, which brings it to every node once; there each
process takes its copy. Ray starts a process where there is room for it, and no task is given to one that has none yet.
"""

import logging
import math
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import model_src
from model_src.files import InputError
from model_src.processes.tasks import MAX_ATTEMPTS, Task, TaskError, Worker, do

PATIENCE = 30.0  # seconds without any process, after which the user is told

logger = logging.getLogger(__name__)


class RayCrew:
    """Processes of a Ray cluster.

    Args:
        factory: Makes what the tasks share, which is picklable.
        n_jobs: Processes at a time.
        address: Of the cluster; None is the one of this machine, or a new one.
        device: What tasks compute on; None: on a GPU where there is one.

    Raises:
        InputError: There is no such cluster.
        Exception: As raised by the factory.
    """

    def __init__(self, factory: Callable[[], Any], n_jobs: int, address: str | None, device: str | None):
        import ray

        self._workers, self._coming, self._n_lost, self._has_told = list[_Actor](), list[_Actor](), 0, False
        state = pickle.dumps(factory())
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(address)
        self._shared = ray.put(state)
        self._actor = ray.remote(_Server).options(
            num_cpus=1, num_gpus=_share(n_jobs, device), max_restarts=0, scheduling_strategy="SPREAD"
        )

    def free(self, busy: Collection[Worker], wanted: int) -> Sequence[Worker]:
        """See `Crew.free`; a new process comes once there is room for it."""
        self._welcome()
        idle = [worker for worker in self._workers if worker.is_alive and worker not in busy][:wanted]
        for _ in range(wanted - len(idle) - len(self._coming)):
            self._coming.append(_Actor(self._actor.remote(self._shared)))
        return idle

    def _welcome(self) -> None:
        """Take in those of the processes to come that are there."""
        import ray

        self._workers = [worker for worker in self._workers if worker.is_alive]
        coming = {worker.answer_to_come: worker for worker in self._coming}
        for found in ray.wait([*coming], num_returns=len(coming), timeout=0)[0] if coming else ():
            self._coming.remove(coming[found])
            try:
                version = ray.get(found)
            except ray.exceptions.RayError as error:
                self._n_lost += 1
                if self._n_lost == MAX_ATTEMPTS:
                    raise InputError(f"-parallel_backend ray: no process can begin: {error}") from error
                logger.warning("a process on Ray was lost before it began (%s)", type(error).__name__)
                continue
            if version != model_src.__version__:
                raise InputError(f"-parallel_backend ray: a node has AutoGO {version}, not {model_src.__version__}")
            self._workers.append(coming[found])
            self._n_lost = 0

    def ready(self, busy: Collection[Worker]) -> Sequence[Worker]:
        """See `Crew.ready`."""
        import ray

        working = [worker for worker in self._workers if worker in busy]
        awaited = [worker.answer_to_come for worker in (*working, *self._coming)]
        limit = min((worker.deadline - time.monotonic() for worker in working), default=PATIENCE)
        found = ray.wait(awaited, num_returns=1, timeout=None if limit == math.inf else max(0, limit))[0]
        if not (found or working or self._has_told):
            self._has_told = True
            logger.warning("Ray has no room for a process yet; the cluster has %s", ray.cluster_resources())
        for worker in working:
            worker.end_if_late()
        return [worker for worker in working if worker.answer_to_come in found or not worker.is_alive]

    def close(self) -> None:
        """See `Crew.close`; also leaves the cluster."""
        import ray

        for worker in (*self._workers, *self._coming):
            worker.end()
        self._workers, self._coming = [], []
        del self._shared
        if self._connected:
            ray.shutdown()


class _Server:
    """A process of the cluster: Ray makes one of these in it, with what was put into its store."""

    def __init__(self, shared: bytes):
        self._shared = shared

    def begin(self) -> str:
        """Unpack what was put into the store; the version of AutoGO here."""
        self._state = pickle.loads(self._shared)
        del self._shared
        return model_src.__version__

    def do(self, task: bytes) -> bytes:
        """See `tasks.do`."""
        return do(task, lambda: self._state)


class _Actor:
    """A process of the cluster that does one task at a time.

    Attributes:
        answer_to_come: The first one says that it is there.
        deadline: When its task has to be done, by the monotonic clock.
        is_alive: Whether it was not ended or lost.
    """

    def __init__(self, handle: Any):
        self._handle, self.answer_to_come = handle, handle.begin.remote()
        self.deadline, self.is_alive = math.inf, True

    def begin(self, task: Task, timeout: float | None) -> None:
        """See `Worker.begin`."""
        self._task, self._timeout, self._is_late = task, timeout, False
        self.deadline = math.inf if timeout is None else time.monotonic() + timeout
        self.answer_to_come = self._handle.do.remote(task.pickled())

    def answer(self) -> tuple[Any, Exception | None]:
        """See `Worker.answer`."""
        import ray

        try:
            if self._is_late:
                raise TaskError(self._task.name, f"not done within {self._timeout:g} s")
            value, error = pickle.loads(ray.get(self.answer_to_come))
        except ray.exceptions.RayError as error:
            self.end()
            raise TaskError(self._task.name, f"its process on Ray was lost ({type(error).__name__})") from None
        self.deadline = math.inf
        return value, error

    def end_if_late(self) -> None:
        """End it if its task was to be done before now."""
        if time.monotonic() >= self.deadline:
            self._is_late = True
            self.end()

    def end(self) -> None:
        """See `Worker.end`."""
        import ray

        self.is_alive, self.deadline = False, math.inf
        if ray.is_initialized():
            ray.kill(self._handle)


def _share(n_jobs: int, device: str | None) -> float:
    """The part of a GPU that each of so many processes gets."""
    import ray

    n_gpus = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    return 1 / math.ceil(n_jobs / n_gpus) if n_gpus else 0


def _check_reachable(address: str) -> None:
    """Refuse an address where nobody listens, for which Ray would wait."""
    host, has_port, port = address.removeprefix("ray://").rpartition(":")
    try:
        if has_port:
            socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"-ray_address {address}: no cluster there: {error}") from error


def _connect(address: str | None) -> None:
    """Join a cluster without its greetings, and leave signals to those who handled them before.

    Raises:
        InputError: There is none at the address.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # which Ray would send home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its default to come; otherwise it warns
    _check_reachable(address or "")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"-ray_address {address or 'of this machine'}: {error}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
