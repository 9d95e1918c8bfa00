"""Tasks done one after the other, or by a crew of processes."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cache
from typing import Any, NamedTuple

from model_src.processes.backend import LOCAL, Backend
from model_src.processes.local import LocalCrew
from model_src.processes.tasks import MAX_ATTEMPTS, Crew, Outcome, Task, TaskError, Worker

logger = logging.getLogger(__name__)


class TaskPool:
    """Runs tasks in `n_jobs` processes; a process starts when there is a task for it. One that is kept is this one.

    A process that dies (killed, out of memory, crashed) or is ended at its limit costs its task, which is done again
    by another, `MAX_ATTEMPTS` times in all. Processes end when the block ends, and with the thread that started them.

    Args:
        factory: Makes what the tasks share, in each process before its first task; picklable. On Ray it is called
            here, and what it makes has to be picklable, too: that travels.
        n_jobs: Tasks at a time.
        reuse: Keep the processes; otherwise each does one task, and its memory is free before the next begins. Then
            even one task at a time is done in a process of its own, whose death costs no more than that task.
        backend: Where the processes are.
        device: What tasks compute on, for Ray to reserve a share of it; None: on a GPU where there is one.
    """

    def __init__(
        self,
        factory: Callable[[], Any],
        n_jobs: int,
        reuse: bool = True,
        backend: Backend = LOCAL,
        device: str | None = "cpu",
    ):
        self._factory, self._n_jobs, self._reuse = factory, n_jobs, reuse
        self._backend, self._device = backend, device
        self._state = cache(factory)  # of this process
        self._crew: Crew | None = None
        self._outcomes: Generator[Outcome] | None = None  # of the last reader

    def __enter__(self) -> "TaskPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes at once, whatever they do."""
        if self._crew:
            self._crew.close()
        self._crew = None

    def start(self) -> None:
        """Start all processes now, which otherwise start with their first tasks; wait for none."""
        if self._n_jobs > 1 or self._backend.is_ray:
            self._crew = self._crew or self._new_crew()
            self._crew.free((), self._n_jobs)

    def in_order(self, tasks: Iterable[Task], timeout: float | None = None) -> Iterator[Any]:
        """Yield the values of tasks in their order, whatever the number of processes.

        Args:
            tasks: What to do; each is asked for when there is a process for it.
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
        """Yield the outcomes of tasks as they end; a reader that stops, or the next one, ends those that run.

        Args:
            tasks: As of `in_order`.
            timeout: As of `in_order`.

        Raises:
            InputError: No process can be started, or Ray cannot be used.
            RuntimeError: Another reader has begun.
        """
        if self._n_jobs > 1 or not self._reuse or self._backend.is_ray:
            if self._outcomes:
                self._outcomes.close()  # or its tasks would answer this reader
            self._crew = self._crew or self._new_crew()
            self._outcomes = outcomes = self._by_crew(self._crew, _Queue(tasks), timeout)
            yield from outcomes
            if outcomes is not self._outcomes:
                raise RuntimeError("the processes do the tasks of another reader")
            return
        for position, task in enumerate(tasks):
            try:
                outcome = Outcome(position, task.function(self._state(), *task.arguments))
            except Exception as error:  # whatever a task raises is its outcome, as in `do`
                outcome = Outcome(position, error=error)
            yield outcome

    def _new_crew(self) -> Crew:
        if not self._backend.is_ray:
            return LocalCrew(self._factory)
        from model_src.processes.on_ray import RayCrew

        return RayCrew(self._factory, self._n_jobs, self._backend.address, self._device)

    def _by_crew(self, crew: Crew, queue: "_Queue", timeout: float | None) -> Generator[Outcome]:
        busy: dict[Worker, _Place] = {}
        finished: list[Outcome] = []
        try:
            while busy or finished or queue.look(1):
                if wanted := queue.look(self._n_jobs - len(busy)):
                    for worker in crew.free(busy, wanted):
                        busy[worker] = queue.pop()
                        worker.begin(busy[worker].task, timeout)
                yield from finished  # while the processes work
                finished = []
                for worker in crew.ready(busy) if busy or queue.look(1) else ():
                    place = busy[worker]
                    try:
                        finished.append(Outcome(place.position, *worker.answer()))
                    except TaskError as error:
                        if place.attempt == MAX_ATTEMPTS:
                            finished.append(Outcome(place.position, error=error))
                        else:
                            logger.warning("%s; it is done again", error)
                            queue.again(place)
                    if not self._reuse:
                        worker.end()
                    del busy[worker]
        finally:
            for worker in busy:
                worker.end()


class _Place(NamedTuple):
    """A task in the queue: its position among all, and which attempt it is."""

    position: int
    task: Task
    attempt: int = 1


class _Queue:
    """Tasks that are to be begun; each is asked for when there is a process for it."""

    def __init__(self, tasks: Iterable[Task]):
        self._rest, self._waiting = enumerate(tasks), deque[_Place]()

    def look(self, most: int) -> int:
        """How many there are, at most `most`."""
        while len(self._waiting) < most and (following := next(self._rest, None)):
            self._waiting.append(_Place(*following))
        return min(most, len(self._waiting))

    def pop(self) -> _Place:
        """The next one."""
        return self._waiting.popleft()

    def again(self, place: _Place) -> None:
        """Put one back."""
        self._waiting.appendleft(place._replace(attempt=place.attempt + 1))
