"""What the scripts share: flags that may be spelt three ways, and errors that end in one line."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar, cast

import constants
import model_src
from model_src.files import LONGEST_LINE, InputError, one_line

LARGEST_INT, LARGEST_FLOAT, MOST_THREADS = 2**31 - 1, 1e9, 1024  # of flags
Number = TypeVar("Number", int, float)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help with short defaults; texts of several lines stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, ()) else super()._get_help_string(action)

    def _expand_help(self, action: argparse.Action) -> str:
        default, shipped = action.default, f"{constants.SHIPPED_DIR}{os.sep}"
        if not isinstance(default, str):
            return super()._expand_help(action)
        action.default = default.removeprefix(shipped)
        try:
            return super()._expand_help(action)
        finally:
            action.default = default


class FlagParser(argparse.ArgumentParser):
    """Parses the published single-dash flags; `-model_path` is also `--model_path` and `--model-path`.

    `-config FILE` stands for the flags in a file, on top of which come those that are given.

    Args:
        description: What the script does.
        usage: The shortest command; None for one with all flags.
        epilog: What help ends with, such as examples.
    """

    def __init__(self, description: str, usage: str | None = None, epilog: str | None = None):
        super().__init__(description=description, usage=usage, epilog=epilog, allow_abbrev=False, formatter_class=_Help)
        self._file_of: dict[str, str] = {}  # flags that a configuration file gives -> the file
        self.add_argument("-config", metavar="FILE", default=argparse.SUPPRESS, help="YAML or JSON file with flags")
        version = f"AutoGO {model_src.__version__}"
        self.add_argument("-version", action="version", version=version, help="show the version")

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does, after giving two-dash spellings their single-dash form and reading `-config`."""
        return super().parse_known_args(self.with_config(sys.argv[1:] if args is None else args), namespace)

    def with_config(self, args: Iterable[str]) -> list[str]:
        """The words of a command line, those of its configuration file before them.

        Raises:
            InputError: The file is missing or is not one of flags.
        """
        words = [self._single_dash(arg) for arg in args]
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        first.add_argument("-config")
        try:
            given, rest = first.parse_known_args(words)
        except argparse.ArgumentError as error:
            self.error(str(error))
        if given.config is None:
            return words
        from model_src.config_file import read_flags

        flags = read_flags(given.config, self._option_string_actions)
        on_top = {word.partition("=")[0] for word in rest}
        self._file_of = {f"-{name}": given.config for name in flags if f"-{name}" not in on_top}
        return [*flag_words(flags), *rest]

    def _single_dash(self, argument: str) -> str:
        name, equals, value = argument.partition("=")
        short = "-" + name[2:].replace("-", "_")
        known = name.startswith("--") and short in self._option_string_actions
        return short + equals + value if known else argument

    def error(self, message: str) -> NoReturn:
        """Refuse the command line in one line.

        Raises:
            InputError: Always.
        """
        file = self._file_of.get(message.removeprefix("argument ").partition(":")[0])
        raise InputError(f"{f'{file}: ' if file else ''}{message} (see {self.prog} -h)")


def flag_words(flags: Mapping[str, Any]) -> Iterator[str]:
    """Flags by name as the words of a command line."""
    for name, value in flags.items():
        if isinstance(value, list | tuple):
            yield from [f"-{name}", *map(str, value)] if value else []
        elif value is True:
            yield f"-{name}"
        elif value is not None and value is not False:
            yield f"-{name}={value}"


def positive_int(text: str, most: int = LARGEST_INT) -> int:
    """Parse an integer from 1 to 2,147,483,647, as argparse's `type`."""
    return _within(int(text), 1, most)


def thread_count(text: str) -> int:
    """Parse a number of threads or processes, from 1 to 1,024, as argparse's `type`."""
    return positive_int(text, MOST_THREADS)


def non_negative_int(text: str) -> int:
    """Parse an integer from 0 to 2,147,483,647, as argparse's `type`."""
    return _within(int(text), 0, LARGEST_INT)


def non_negative_float(text: str) -> float:
    """Parse a number from 0 to a billion, as argparse's `type`."""
    return _within(float(text), 0, LARGEST_FLOAT)


def positive_float(text: str) -> float:
    """Parse a number above 0, up to a billion, as argparse's `type`."""
    value = _within(float(text), 0, LARGEST_FLOAT)
    if not value:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def percent(text: str) -> float:
    """Parse a percentage of any sign, a billion at most, as argparse's `type`."""
    return _within(float(text), -LARGEST_FLOAT, LARGEST_FLOAT)


def fraction(text: str) -> float:
    """Parse a number from 0 to 1, as argparse's `type`."""
    return _within(float(text), 0, 1)


def _within(value: Number, low: Number, high: Number) -> Number:
    if not low <= value <= high:
        limits = f"lie between {low:,} and {high:,}" if value > high or high == 1 else f"be at least {low:,}"
        raise argparse.ArgumentTypeError(f"must {limits}, got {value:g}")
    return value


def shipped_path(path: str | Path) -> Path:
    """The path itself, or where there is nothing, the file of that name among those that come with AutoGO.

    So `saved_models/psc_chkpt.pt` is found from every folder. A path that is absolute or climbs with `..` stays as it
    is.
    """
    path = Path(path)
    shipped = constants.SHIPPED_DIR / path
    return shipped if not os.path.exists(path) and ".." not in path.parts and os.path.exists(shipped) else path


def for_terminal(text: str) -> str:
    """A text in which nothing but the ends of lines moves the cursor, and without the middle of long lines."""
    lines = text.split("\n")
    return "\n".join(line if line.isprintable() and len(line) <= LONGEST_LINE else one_line(line) for line in lines)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(super().format(record))


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes messages above progress bars, not behind them."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        if bars is None:
            super().emit(record)
        else:
            bars.tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def loudness(quiet: bool, verbose: bool) -> Iterator[None]:
    """Let the terminal show only warnings inside the block, or details, too."""
    terminals = [handler for handler in logging.getLogger().handlers if isinstance(handler, _Terminal)]
    before = [handler.level for handler in terminals]
    for handler in terminals:
        handler.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        for handler, level in zip(terminals, before, strict=True):
            handler.setLevel(level)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


class _LastingStream:
    """A stream whose end costs no work: once it fails (closed, full, a pipe that nobody reads), it says no more."""

    def __init__(self, stream: TextIO | None):
        self._stream = stream or _nowhere()
        if isinstance(self._stream, TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")  # a path need not be text

    def write(self, text: str) -> int:
        """Write, if that is still possible."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is still possible."""
        self._try(self._stream.flush)

    def _try(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            function(*arguments)
        except (OSError, ValueError):  # ValueError: it is closed
            nowhere = _nowhere()
            with suppress(OSError, ValueError):  # what the stream still holds goes there, too
                os.dup2(nowhere.fileno(), self._stream.fileno())
            self._stream = nowhere

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; raised like Ctrl-C.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int):
        super().__init__(signum)
        self.signum = signum


def _stop(signum: int, _frame: object) -> NoReturn:
    raise Stopped(signum)


def _fail(reason: str) -> NoReturn:
    sys.stderr.write(f"{one_line(f'error: {reason}')}\n")
    sys.exit(2)


def run_script(main: Callable[[Sequence[str] | None], int | None]) -> None:
    """Run a script's `main` and leave the process: 0 when it is done, 2 with one line on bad input or a failed write.

    Output that nobody can take (a closed terminal, a full disk, `| head`) is dropped and stops nothing.
    SIGTERM and SIGHUP, which batch systems and closed terminals send, act like Ctrl-C; the exit code is 128 and the
    signal's number.
    """
    with _lasting_output():
        _run(main)


@contextmanager
def _lasting_output() -> Iterator[None]:
    out, err = _LastingStream(sys.stdout), _LastingStream(sys.stderr)
    with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
        try:
            yield
        finally:
            out.flush()
            err.flush()


def _run(main: Callable[[Sequence[str] | None], int | None]) -> NoReturn:
    to_terminal = _Terminal()
    to_terminal.setLevel(logging.INFO)
    to_terminal.setFormatter(_Lines("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[to_terminal])
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as under nohup
            signal.signal(signum, _stop)
    try:
        sys.exit(main(None) or 0)
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    except KeyboardInterrupt as error:
        number = error.signum if isinstance(error, Stopped) else signal.SIGINT
        sys.stderr.write(f"interrupted by {signal.Signals(number).name}\n")
        sys.exit(128 + number)
