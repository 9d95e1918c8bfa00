"""What a long job has worked out so far, kept beside the file that it will write: a job that was stopped goes on.

A job does its pieces of work in an order that only its flags and files decide. What each piece gave is kept in the
folder `OUTPUT.kept` until the output is there. The rest of the job is done again, so that what it writes is the same,
byte for byte, interrupted or not.
"""

import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, TypeVar

import model_src
from model_src.files import InputError, load_json, save_json
from model_src.places import sweep

MOST_PIECES, MOST_SECONDS = 1000, 10.0  # that a file holds
_JOB = "job.json"

Piece = TypeVar("Piece")


class Kept:
    """The results of one kind of pieces of work, in order.

    Args:
        folder: Where they are; None keeps nothing.
        prepare: Called before something is written there.
    """

    def __init__(self, folder: Path | None, prepare: Callable[[], None] = lambda: None):
        self._folder, self._prepare, self._n_files = folder, prepare, 0
        self._known, self._new, self._saved = self._read(), list[Any](), time.monotonic()

    def get(self, compute: Callable[[], Any]) -> Any:
        """The next result: as it was kept, or what `compute` gives (JSON data), which is kept.

        Raises:
            InputError: What was kept cannot be read.
        """
        for known in self._known:
            return known
        result = compute()
        self._new.append(result)
        if len(self._new) >= MOST_PIECES or time.monotonic() > self._saved + MOST_SECONDS:
            self.save()
        return result

    def through(self, pieces: Iterable[Piece], compute: Callable[[Iterator[Piece]], Iterator[Any]]) -> Iterator[Any]:
        """The results of pieces of work, in order: as they were kept, or as `compute` gives those of the others.

        Raises:
            InputError: What was kept cannot be read.
        """
        rest = iter(pieces)
        for known in self._known:
            next(rest)
            yield known
        for result in compute(rest):
            yield self.get(partial(_itself, result))

    def save(self) -> None:
        """Write what is in no file yet."""
        if self._folder and self._new:
            self._prepare()
            save_json(self._new, self._path(self._n_files + 1))
            self._n_files += 1
        self._new, self._saved = [], time.monotonic()

    def _read(self) -> Iterator[Any]:
        while self._folder and (path := self._path(self._n_files + 1)).exists():
            results = load_json(path)
            if not isinstance(results, list):
                raise InputError(f"{path}: damaged; delete {self._folder.parent} to begin anew")
            self._n_files += 1
            yield from results

    def _path(self, number: int) -> Path:
        assert self._folder
        return self._folder / f"{number:06}.json.gz"


def _itself(result: Any) -> Any:
    return result


NOTHING_KEPT = Kept(None)


class KeptJob:
    """The folder of a job, which is there from the first file on until the job is done or cannot be done.

    Args:
        output: The file that the job will write.
        flags: What decides on its result, by the names of the flags.
        files: The files that it reads, by the names of the flags; those that do not exist are left out.
    """

    def __init__(self, output: Path, flags: Mapping[str, object], files: Mapping[str, Path]):
        self._folder = output.with_name(f"{output.name}.kept")
        self._flags = {name: str(value) for name, value in flags.items()}
        self._files, self._kept = files, dict[str, Kept]()
        self._lock: IO[bytes] | None = None

    def of(self, kind: str) -> Kept:
        """What pieces of work of a kind gave."""
        return self._kept.setdefault(kind, Kept(self._folder / kind, self._begin))

    def __enter__(self) -> "KeptJob":
        """Go on with what there is.

        Raises:
            InputError: It is of a run with other flags or files, or another run is at work.
        """
        path = self._folder / _JOB
        if path.exists():
            self._check(load_json(path))
            self._lock = _locked(path)
            for folder in (self._folder, *filter(Path.is_dir, self._folder.iterdir())):
                sweep(folder)
        elif self._folder.exists():
            shutil.rmtree(self._folder)  # it was being deleted
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        over = kind is None or issubclass(kind, InputError)  # which would only come again
        with suppress(OSError):
            for kept in () if over else self._kept.values():
                kept.save()
        if self._lock:
            if over:
                (self._folder / _JOB).unlink()  # first: the rest counts for nothing without it
                shutil.rmtree(self._folder)
            self._lock.close()

    def _begin(self) -> None:
        path = self._folder / _JOB
        if not self._lock:
            if path.exists():
                raise _busy(path)
            save_json(self._content, path)
            self._lock = _locked(path)

    @cached_property
    def _content(self) -> dict[str, Any]:
        files = {name: digest(path) for name, path in self._files.items() if path.exists()}
        return {"version": model_src.__version__, "flags": self._flags, "files": files}

    def _check(self, before: Any) -> None:
        """Refuse to go on with another job."""
        remedy, now = f"go on as it began, or delete {self._folder} to begin anew", self._content
        try:
            for name, value in self._flags.items():
                if before["flags"].get(name) != value:
                    raise InputError(f"-{name}: a stopped run had {before['flags'].get(name)}, not {value}; {remedy}")
            for name, path in self._files.items():
                if before["files"].get(name) != now["files"].get(name):
                    raise InputError(f"-{name} {path}: not the file that a stopped run began with; {remedy}")
            if before["version"] != now["version"]:
                raise InputError(f"version {now['version']}: a stopped run had {before['version']}; {remedy}")
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self._folder / _JOB}: damaged; {remedy}") from error


def _locked(path: Path) -> IO[bytes]:
    """The file, open, and nobody else's until it is closed or this process ends."""
    file = path.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise _busy(path) from None
    return file


def _busy(path: Path) -> InputError:
    return InputError(f"{path.parent}: another run is at work there")


def digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits, or of the names and digests of all files in a folder.

    Raises:
        OSError: A file cannot be read.
    """
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        lines = "".join(f"{file.relative_to(path)} {digest(file)}\n" for file in inside)
        return hashlib.sha256(lines.encode()).hexdigest()
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
