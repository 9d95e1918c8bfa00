"""Safe loading and atomic saving of files.

Nothing that is loaded here can run code: a pickle may only name the classes that the caller allows.
"""

import json
import os
import pickle
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class InputError(ValueError):
    """Something that the user gave (a file, a flag) cannot be used; the text is one line for the user."""


# Containers that hold data and nothing else.
PLAIN_CLASSES: dict[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "slice"): slice,
    ("collections", "defaultdict"): defaultdict,
}


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


def load_pickle(path: str | Path, classes: Mapping[tuple[str, str], Any] | None = None, encoding: str = "ASCII") -> Any:
    """Read a pickle that may name only plain containers and the given classes.

    Args:
        path: The file.
        classes: (module, name) as written in the file -> the object that stands for it here.
        encoding: How to read the text of Python 2 files; "bytes" keeps it as it is.

    Raises:
        InputError: The file is missing, is not a pickle, is cut short or names any other class.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _AllowListUnpickler(file, {**PLAIN_CLASSES, **(classes or {})}, encoding).load()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: not a usable pickle: {error}") from error
    except (EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, MemoryError) as error:
        # What pickle raises on bytes that are cut short or were never a pickle.
        raise InputError(f"{path}: not a pickle, or damaged ({type(error).__name__}: {error})") from error


def load_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: The file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error


@contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, mode, **text) as file:
            yield file
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_pickle(value: Any, path: str | Path, protocol: int = 4) -> None:
    """Write a pickle; an interruption leaves the old file as it was."""
    with atomic_write(path) as file:
        pickle.dump(value, file, protocol=protocol)


def save_text(text: str, path: str | Path) -> None:
    """Write a UTF-8 text file; an interruption leaves the old file as it was."""
    with atomic_write(path, "w") as file:
        file.write(text)
