"""A task, what became of it, and what a pool needs of those who do it."""

import pickle
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from model_src.files import InputError

MAX_ATTEMPTS = 3


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

    def pickled(self) -> bytes:
        """What `do` takes; by value, where multiprocessing's own pickling would share tensors."""
        return pickle.dumps((self.function, self.arguments))


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


class Worker(Protocol):
    """A process that does one task at a time."""

    def begin(self, task: Task, timeout: float | None) -> None:
        """Hand it a task, to be done within `timeout` seconds if that is given."""

    def answer(self) -> tuple[Any, Exception | None]:
        """Value and error of its task, once that is done.

        Raises:
            TaskError: It died.
        """

    def end(self) -> None:
        """End it at once, whatever it does."""


class Crew(Protocol):
    """Processes of one kind, which have what the tasks of a pool share."""

    def free(self, busy: Collection[Worker], wanted: int) -> Sequence[Worker]:
        """Workers without a task, at most `wanted`; those that are missing are started, and may come later.

        Raises:
            InputError: No process can be started.
        """

    def ready(self, busy: Collection[Worker]) -> Sequence[Worker]:
        """Wait until busy workers are done or dead, and return them; none where another worker came meanwhile."""

    def close(self) -> None:
        """End all workers at once, whatever they do."""


def do(task: bytes, state: Callable[[], Any]) -> bytes:
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
