"""Safe loading and atomic saving of files.

Nothing that is loaded here can run code: a pickle may only name the classes that the caller allows.
"""

import fcntl
import gzip
import json
import os
import pickle
import re
import secrets
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from model_src.json_stream import JsonStream
from model_src.pickles import check_pickle

LONGEST_LINE, _HEAD = 300, 210  # characters of an error, which may quote what a file holds; of the begin of a long one
_COLOURS = re.compile("\x1b\\[[0-9;]*m")  # what switches a terminal's colours and weights
GROWTH, ALLOWANCE = 200, 1 << 24  # bytes that a byte of a compressed file may become, and those that every file may


def one_line(error: object) -> str:
    """A text in one short line without colours, in which nothing moves the cursor; a long one loses its middle."""
    words = " ".join(_COLOURS.sub("", str(error)).split())
    if len(words) > 2 * LONGEST_LINE:
        words = words[:LONGEST_LINE] + words[-LONGEST_LINE:]
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)
    return line if len(line) <= LONGEST_LINE else f"{line[:_HEAD]} ... {line[_HEAD + 5 - LONGEST_LINE :]}"


class InputError(ValueError):
    """Something that the user gave (a file, a flag) cannot be used; the text is one line for the user."""

    def __init__(self, *reasons: object):
        super().__init__(*map(one_line, reasons))


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn the errors of a block that reads a file into ones that name it.

    Raises:
        InputError: The file cannot be read (OSError), or what it holds cannot be used (ValueError).
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        named = str(error).startswith(f"{path}: ")  # by what the block called
        raise InputError(error if named else f"{path}: {error}") from error


# Containers that hold data and nothing else.
PLAIN_CLASSES: dict[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "slice"): slice,
    ("collections", "defaultdict"): defaultdict,
}


# What pickle raises on bytes that are cut short or were never a pickle.
_DAMAGED_PICKLE = (
    *(EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError),
    *(MemoryError, OverflowError, RecursionError, SystemError),
)


def regular_file(path: str | Path) -> Path:
    """The path, if it is no pipe, device or folder, from which reading might never end.

    Raises:
        InputError: It is.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a regular file")
    return path


def beside(path: Path, suffix: str) -> Path:
    """The file of the same name with another ending; that of a `.json.gz` is both."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).with_suffix(suffix)


class _AllowListUnpickler(pickle.Unpickler):
    """An unpickler that resolves a global name only through a given table."""

    def __init__(self, file: IO[bytes], classes: Mapping[tuple[str, str], Any], encoding: str):
        super().__init__(file, encoding=encoding)
        self._classes = classes

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._classes[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names the class {module}.{name}, which is not allowed") from None


def read_bytes(path: str | Path) -> bytes:
    """The content of a file; one whose name ends in `.gz` is unpacked.

    Raises:
        InputError: The file is missing or no regular file, or it is damaged or grows too much when it is unpacked.
    """
    path = regular_file(path)
    try:
        content = path.read_bytes()
        return _unpacked(content) if path.suffix == ".gz" else content
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (zlib.error, ValueError) as error:
        raise InputError(f"{path}: not a compressed file, or damaged: {error}") from error


def read_text(path: str | Path) -> str:
    """The content of a UTF-8 text file, with its ends of lines as they are; likewise.

    Raises:
        InputError: See `read_bytes`; or it is no such text.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged, or not a text file: {error}") from error


def _unpacked(content: bytes) -> bytes:
    limit, parts = GROWTH * len(content) + ALLOWANCE, list[bytes]()
    while content:
        unpacker = zlib.decompressobj(31)  # of gzip
        parts.append(unpacker.decompress(content, limit))
        limit -= len(parts[-1])
        if not unpacker.eof:
            raise ValueError("it grows too much when it is unpacked" if limit <= 0 else "it is cut short")
        content = unpacker.unused_data
    return b"".join(parts)


def load_pickle(
    path: str | Path,
    classes: Mapping[tuple[str, str], Any] | None = None,
    encoding: str = "ASCII",
    cyclic: bool = False,
) -> Any:
    """Read a pickle that may name only plain containers and the given classes.

    Args:
        path: The file.
        classes: (module, name) as written in the file -> the object that stands for it here.
        encoding: How to read the text of Python 2 files; "bytes" keeps it as it is.
        cyclic: Whether objects in it may hold themselves.

    Raises:
        InputError: The file is missing, is not a pickle, is cut short, would become deep or out of all proportion, or
            names any other class.
    """
    content = read_bytes(path)
    try:
        check_pickle(content, cyclic)
        return _AllowListUnpickler(BytesIO(content), {**PLAIN_CLASSES, **(classes or {})}, encoding).load()
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: not a usable pickle: {error}") from error
    except _DAMAGED_PICKLE as error:
        raise InputError(f"{path}: not a pickle, or damaged ({type(error).__name__}: {error})") from error


def load_json(path: str | Path) -> Any:
    """Read a JSON file; one whose name ends in `.gz` is compressed.

    Raises:
        InputError: The file is missing or is not JSON.
    """
    content = read_bytes(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def iter_json_object(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Read the keys and values of a file that holds one JSON object; only one of them is in memory at a time.

    Raises:
        InputError: The file is missing or is not a JSON object; it may come after the entries before the fault.
    """
    path = regular_file(path)
    try:
        with path.open(encoding="utf-8") as file:
            stream = JsonStream(file)
            stream.take("{")
            separator = stream.take("}") if stream.peek() == "}" else ","
            while separator == ",":
                stream.expect('"')
                key = stream.value()
                stream.take(":")
                yield key, stream.value()
                separator = stream.take(",}")
            if stream.peek():
                raise ValueError("it goes on after its end")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON object, or damaged: {error}") from error


def _open_locked(path: Path, mode: str) -> IO[Any]:
    """A new file that is locked while it is open, so that `places.sweep` knows what belongs to nobody."""
    encoding, errors, newline = (None, None, None) if "b" in mode else ("utf-8", "backslashreplace", "")  # odd paths
    while True:
        # Made by `open`, the file gets the permissions of any new one; the mask for them is never touched.
        file = open(path, mode, encoding=encoding, errors=errors, newline=newline)  # noqa: SIM115  # its caller closes it
        with suppress(OSError):  # there are file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()  # it was swept before it was locked


@contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its place when the block ends without an error.

    Raises:
        OSError: It cannot be written; the error's `filename` is `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _open_locked(temporary, mode.replace("w", "x")) as file:
            try:
                yield file
                file.close()
                os.replace(temporary, path)
            except BaseException:  # Ctrl-C, too
                os.unlink(temporary)
                raise
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


def save_pickle(value: Any, path: str | Path, protocol: int = 4) -> None:
    """Write a pickle; an interruption leaves the old file as it was."""
    with atomic_write(path) as file:
        pickle.dump(value, file, protocol=protocol)


def save_text(text: str, path: str | Path) -> None:
    """Write a UTF-8 text file; an interruption leaves the old file as it was."""
    with atomic_write(path, "w") as file:
        file.write(text)


def save_json(content: Any, path: str | Path) -> None:
    """Write a JSON file, compressed if its name ends in `.gz`; an interruption leaves the old file as it was."""
    path = Path(path)
    text = f"{json.dumps(content)}\n".encode()
    with atomic_write(path) as file:
        file.write(gzip.compress(text, compresslevel=1, mtime=0) if path.suffix == ".gz" else text)
