"""Programs of the user that tell what a network costs: profilers, simulators, models of energy."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryDirectory
from threading import Lock

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, one_line
from model_src.kept import digest
from model_src.profiling.remembered import Reading

PLACE = "{onnx}"  # where the path of the network's file goes


@dataclass(frozen=True)
class Command:
    """A profiler (see `meter.Profiler`) that asks a program: the last line that it prints is a number.

    Attributes:
        words: The program and its arguments; `{onnx}` in them becomes the path of a file. No shell reads them.
        seconds: That it may take.
        attempts: Times that it is tried.
        at_once: Networks at a time.
    """

    words: tuple[str, ...]
    seconds: float = 600.0
    attempts: int = 2
    at_once: int = 1

    def readings(self, networks: Sequence[ComputeGraph]) -> Iterator[tuple[int, Reading]]:
        """The positions of networks and what the program says of them, as it comes."""
        running = _Running()
        with ThreadPoolExecutor(self.at_once) as pool:  # the work is done by other processes
            asked = {pool.submit(self._reading, cg, running): position for position, cg in enumerate(networks)}
            try:
                for done in as_completed(asked):
                    yield asked[done], done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                running.end()

    def beside(self, reference: ComputeGraph, cost: float) -> "Command":
        """This one: what the program says is taken as it is."""
        return self

    @property
    def setting(self) -> str:
        """The command and the content of files that it names."""
        files = (f"{Path(word).name} {digest(Path(word))[:16]}" for word in self.words if Path(word).is_file())
        return "; ".join([shlex.join(self.words), *files])

    def _reading(self, cg: ComputeGraph, running: "_Running") -> Reading:
        failure = ""
        with TemporaryDirectory(prefix="autogo_") as folder:
            path = Path(folder) / "network.onnx"
            try:
                _save(cg, path)
            except ValueError as error:
                return Reading(nan, failure=str(error))
            for attempt in range(1, self.attempts + 1):
                try:
                    return Reading(self._ask(path, running), runs=attempt)
                except (OSError, ValueError) as error:
                    failure = one_line(error)
        return Reading(nan, failure=failure)

    def _ask(self, path: Path, running: "_Running") -> float:
        with running.start([word.replace(PLACE, str(path)) for word in self.words]) as process:
            try:
                out, errors = process.communicate(timeout=self.seconds)
            except subprocess.TimeoutExpired:
                raise ValueError(f"{self.words[0]} was not done within {self.seconds:g} s") from None
            finally:
                running.end(process)
        if process.returncode:
            why = f"{self.words[0]} ended with exit code {process.returncode}: {_last_line(errors)}"
            raise ValueError(why.removesuffix(": "))
        return _number(_last_line(out))


class _Running:
    """The processes that are at work, each with all that it started."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._ended, self._lock = False, Lock()

    def start(self, words: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start a program.

        Raises:
            OSError: There is none, or it cannot be started.
        """
        with self._lock:
            if self._ended:
                raise OSError("measuring was ended")
            process = subprocess.Popen(words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True)
            self._processes.add(process)
        return process

    def end(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        """End a process, or all of them for good, and what they started, if it is still at work."""
        with self._lock:
            self._ended = self._ended or process is None
            for one in [process] if process else [*self._processes]:
                with suppress(ProcessLookupError, PermissionError):  # its group may outlive it
                    os.killpg(one.pid, signal.SIGKILL)
                self._processes.discard(one)


def parse_command(text: str) -> tuple[str, ...]:
    """The words of a command, as a shell would split them.

    Raises:
        InputError: It is empty, has no `{onnx}`, or a quote that does not end; or there is no such program.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"-objective command: {text!r}: {error}") from error
    if not any(PLACE in word for word in words[1:]):
        raise InputError(f"-objective command: {text!r} must be a program with {PLACE} among its arguments")
    if which(words[0]) is None:
        raise InputError(f"-objective command: there is no program {words[0]!r}")
    return words


def _last_line(content: bytes) -> str:
    return content.decode(errors="replace").strip().rpartition("\n")[2]


def _number(line: str) -> float:
    try:
        value = float(line)
    except ValueError:
        value = nan
    if not isfinite(value) or value < 0:
        raise ValueError(f"its last line {line!r} is no number from 0 on")
    return value


def _save(cg: ComputeGraph, path: Path) -> None:
    from model_src.comp_graph.exporters.files import network_of
    from model_src.comp_graph.exporters.onnx import save_onnx

    save_onnx(cg, path, network_of(cg))
