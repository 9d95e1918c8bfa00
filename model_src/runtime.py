"""Around a run: device, PyTorch's randomness, log file, missing input.

PyTorch and TensorFlow are imported where they are used.
"""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import constants
from model_src.files import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

_STDERR = 2  # its file descriptor
NO_TENSORFLOW = "TensorFlow is not installed: pip install autogo[tf] (or tensorflow)"


def choose_device(name: str | None = None) -> "torch.device":
    """The named device (`cpu`, `cuda`, `cuda:1`), or without a name a GPU if there is one.

    Raises:
        InputError: There is no such device.
    """
    import torch

    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # a device without data, such as meta, has nothing to copy
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # AssertionError: a PyTorch that was built without CUDA.
        raise InputError(f"-device_str {name}: {str(error).splitlines()[0]}") from error
    return device


def device_names(name: str | None = None) -> list[str | None]:
    """The devices that separate trainings can share: the named one, or all GPUs if there are several."""
    import torch

    count = 0 if name else torch.cuda.device_count()
    return [f"cuda:{number}" for number in range(count)] if count > 1 else [name]


def import_tensorflow() -> ModuleType:
    """Import TensorFlow without its greetings.

    Raises:
        InputError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it once, when it is imported
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    if "tensorflow" in sys.modules:
        return _tensorflow()
    with _silenced():
        tensorflow = _tensorflow()
        tensorflow.config.list_physical_devices("GPU")  # tells of drivers that are not there
    return tensorflow


def _tensorflow() -> ModuleType:
    try:
        import tensorflow
    except ModuleNotFoundError as error:
        raise InputError(NO_TENSORFLOW) from error
    return tensorflow


@contextmanager
def _silenced() -> Iterator[None]:
    """Drop what libraries write to standard error past Python inside the block."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(nowhere)
        os.close(kept)


def random_stream(seed: int, *place: int) -> "np.random.Generator":
    """The generator of one place in a run, such as (iteration, parent); those of different places are independent.

    A plain tuple would not do as a seed: NumPy pads it with zeros, so (s, 1) and (s, 1, 0) are one stream.
    """
    import numpy as np

    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed PyTorch's generator (initial weights, dropout) inside the block and give it its old state back after."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread inside the block.

    Many small operations gain nothing from more, and on a busy machine waiting for each other costs ten times the work.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # logging's name
        """Drop a message that cannot be written; logging would show a traceback."""


@contextmanager
def log_to(path: str | Path, details: bool = False) -> Iterator[None]:
    """Append what `model_src` logs inside the block to a file, one message per line.

    Args:
        path: The file. Where it cannot be written any more, messages are dropped.
        details: Also write what only developers want to know, and times.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    logger, handler = logging.getLogger("model_src"), _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s" if details else "%(message)s"))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG if details else logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def made_by(command: str, *paths: str | Path) -> Iterator[None]:
    """Complete an error inside the block with the command that makes its files, if one of them is missing.

    Raises:
        InputError: As raised inside the block.
    """
    try:
        yield
    except InputError as error:
        if all(Path(path).exists() for path in paths):
            raise
        raise InputError(f"{error}; make it with `{_command(command)}`") from error


def _command(line: str) -> str:
    """`python gen_DB.py ...` as it is called here: an installed copy has a command for every script."""
    if constants.INSTALLED:
        for entry in entry_points(group="console_scripts"):
            line = line.replace(f"python {entry.value.removesuffix(':cli')}.py", entry.name)
    return line


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collections inside the block, which makes many objects that last, or is timed."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
