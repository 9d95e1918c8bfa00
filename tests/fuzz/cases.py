"""One case: a file is written, read, and what comes of it is judged."""

import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from model_src.files import LONGEST_LINE, InputError
from tests.fuzz.mutations import changed, damaged, graphs, places
from tests.fuzz.target import Target, plain

MOST_SECONDS = 20  # of processor time, for a file of some kilobytes
KINDS = ("one field", "bytes", "fields", "graph")


class Fault(AssertionError):
    """A file was neither refused in one line nor a sound network."""


@st.composite
def files(draw: Callable[..., Any], target: Target) -> tuple[str, bytes] | None:
    """The kind of a case and its file; a third of the cases change one field. None where it cannot be written."""
    tree, ways, content = draw(st.sampled_from(target.seeds))
    kind = KINDS[draw(st.integers(0, 2))]
    if kind == "bytes":
        return kind, draw(damaged(content))
    if target.takes_graphs and kind == "fields":
        tree = plain(draw(graphs()).state_dict())
        if draw(st.booleans()):
            return "graph", target.write(tree)
        ways = places(tree)
    tree = draw(changed(tree, ways, most=1 if kind == "one field" else 4))
    try:
        content = target.write(tree)
        return (kind, content) if isinstance(content, bytes) else None
    except Exception:  # such data has no form in a file; of whatever kind the writers' errors are
        return None


def outcome(target: Target, path: Path) -> str:
    """What becomes of a file: "accepted" or "refused".

    Raises:
        Fault: Anything else.
    """
    begin, before = time.process_time(), _memory()
    try:
        found = target.load(path)
    except InputError as error:
        result, text = "refused", str(error)
        if len(text) > LONGEST_LINE or not text.isprintable():
            raise Fault(f"{path}: the text of its error is no short line: {text!r}") from error
    except Exception as error:
        raise Fault(f"{path}: {type(error).__name__}: {error}") from error
    else:
        result = "accepted"
        try:
            target.judge(found)
        except Exception as error:
            raise Fault(f"{path}: accepted, but {type(error).__name__}: {error}") from error
    if (seconds := time.process_time() - begin) > MOST_SECONDS:
        raise Fault(f"{path}: {seconds:.0f} s")
    if (grown := _memory() - before) > MOST_BYTES:
        raise Fault(f"{path}: {grown >> 20} MiB")
    return result


MOST_BYTES = 3 << 29  # images whose maps take 512 MiB run twice


def _memory() -> int:
    """The largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check(target: Target, case: tuple[str, bytes] | None, path: Path, counts: Counter[str]) -> None:
    """Write a case's file and see what becomes of it; a network that is whole must be accepted.

    Raises:
        Fault: See `outcome`.
    """
    if case is None:
        return
    kind, content = case
    path.write_bytes(content)
    result = outcome(target, path)
    if kind == "graph" and result != "accepted":
        raise Fault(f"{path}: a whole network is refused")
    counts[result] += 1
    counts[kind] += 1
