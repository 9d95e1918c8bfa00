"""What a loader is to the fuzzer, and data as files."""

import copyreg
import gzip
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import places


@dataclass(frozen=True)
class Target:
    """A loader.

    Attributes:
        suffix: Of the name of its files.
        trees: Well-formed files as dictionaries, lists and plain values.
        write: Such data as a file.
        load: Read a file and look at all of it; what it gives is judged.
        judge: Raises an AssertionError unless it is sound.
        share: How many of the cases of a run are its, beside the others.
        takes_graphs: Whether a network's state is one of its trees.
    """

    suffix: str
    trees: Callable[[], list[Any]]
    write: Callable[[Any], bytes]
    load: Callable[[Path], Any]
    judge: Callable[[Any], object] = bool
    share: int = 4
    takes_graphs: bool = False

    @property
    def seeds(self) -> list[tuple[Any, list[tuple], bytes]]:
        """The trees, the ways to their fields, and the files."""
        return _seeds(self)


@cache
def _seeds(target: Target) -> list[tuple[Any, list[tuple], bytes]]:
    return [(tree, places(tree), target.write(tree)) for tree in target.trees()]


def plain(value: Any) -> Any:
    """Data with lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def as_gzip(tree: Any) -> bytes:
    return gzip.compress(as_json(tree), 1, mtime=0)


class _Pickler(pickle.Pickler):
    """Writes what `filled` made as objects that are made without a call and given a state."""

    def reducer_override(self, value: Any) -> Any:
        state = getattr(value, "__dict__", {}).get("_state", NotImplemented)
        return state if state is NotImplemented else (copyreg.__newobj__, (type(value),), state)


def as_pickle(tree: Any) -> bytes:
    file = BytesIO()
    _Pickler(file, 4).dump(tree)
    return file.getvalue()


def filled(kind: type, state: Any) -> Any:
    """An object that pickles as one of a class with any state."""
    value = object.__new__(kind)
    value.__dict__["_state"] = state
    return value


def as_table(tree: Any) -> bytes:
    return "\n".join(",".join(str(cell) for cell in row) for row in tree).encode("utf-8", "surrogatepass")


def as_raw(tree: Any) -> bytes:
    return tree["content"]
