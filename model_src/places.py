"""Places of output: checked before the work whose results go there, swept of what killed runs left, made anew."""

import fcntl
import glob
import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from model_src.files import InputError, atomic_write

logger = logging.getLogger(__name__)

LONGEST_WRITE = 3600.0  # seconds, where there are no locks


def sweep(folder: Path, name: str = "*") -> None:
    """Delete what `atomic_write` left of files in a folder when it was killed; what is being written stays."""
    for path in folder.glob(f".{name}.{'[0-9a-f]' * 8}"):
        with suppress(OSError), path.open("rb") as file:  # OSError: somebody else swept it
            if _is_nobodys(file):
                path.unlink()


def _is_nobodys(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(file.fileno()).st_mtime >= LONGEST_WRITE
    return True


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Keep a folder to this run; where the file system has no locks, nothing is kept.

    Raises:
        InputError: Another run is at work in it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _is_free(descriptor):
            raise InputError(f"{folder}: another run is at work there")
        yield
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


def check_writable(*paths: str | Path | None) -> None:
    """Check that files can be written, before the work whose results go there; sweep what killed runs left of them.

    Raises:
        InputError: One cannot; the text names it.
    """
    for path in paths:
        if path is None:
            continue
        path = Path(path)
        try:
            if path.is_dir():
                raise InputError(f"{path}: a folder, not a file that can be written")
            place = next(parent for parent in path.absolute().parents if parent.exists())
            with atomic_write(probe := place / f".{secrets.token_hex(8)}"):
                pass
            probe.unlink()
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        sweep(path.parent, glob.escape(path.name))


def tell_written(*paths: str | Path | None) -> None:
    """Say which files a script has written."""
    for path in filter(None, paths):
        logger.info("wrote %s", path)


def make_folders(folders: Sequence[Path]) -> bool:
    """Make folders, all or none; False where one of them is there.

    Raises:
        OSError: One cannot be made.
    """
    done: list[Path] = []
    for folder in folders:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            for other in done:
                other.rmdir()
            if isinstance(error, FileExistsError) and folder.is_dir():
                return False
            raise
        done.append(folder)
    return True
