"""What happens at the writes of a process: it is killed there, or they are counted."""

import builtins
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from model_src import files

WHEN = ("before", "half-way", "after")


def at_write(number: int, when: str) -> Callable[[], None]:
    """A fault: the process is killed at its write of this number (from 1): before or after the rename, or half-way."""

    def install() -> None:
        replace, count = os.replace, 0

        def replacing(*arguments: Any) -> None:
            nonlocal count
            count += 1
            if count == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*arguments)
            if count == number and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replacing
        if when == "half-way":
            files.open = _opening(lambda: count + 1 == number)

    return install


def _opening(is_due: Callable[[], bool]) -> Callable[..., Any]:
    """`open` whose files are written by halves, where it is due."""

    def opening(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = builtins.open(path, mode, *rest, **named)  # noqa: SIM115  # its caller closes it
        return _Half(file) if "x" in mode and is_due() else file

    return opening


class _Half:
    """A file that kills its process when half of something is written."""

    def __init__(self, file: Any):
        self._file = file

    def write(self, content: Any) -> NoReturn:
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("killed")

    def __enter__(self) -> "_Half":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def count_writes(path: Path) -> Callable[[], None]:
    """A fault that is none: a byte goes to a file for every rename of this process."""

    def install() -> None:
        replace, parent = os.replace, os.getpid()

        def replacing(*arguments: Any) -> None:
            replace(*arguments)
            if os.getpid() == parent:
                with builtins.open(path, "a") as file:
                    file.write("x")

        os.replace = replacing

    return install
