"""Costs that were measured, in files: a search that goes on or comes later does not measure again.

A file is a table with a row per measurement, written as soon as it is made. Several searches may write into one.
"""

import csv
import fcntl
import math
import os
from collections.abc import Mapping
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import IO, NamedTuple

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.csv_tables import parsed_rows
from model_src.files import InputError, read_text

_LONGEST_ROW = 1 << 16  # bytes
_COLUMNS = ("hash", "input", "cost", "spread", "runs", "setting")


class Reading(NamedTuple):
    """What measuring a network gave.

    Attributes:
        cost: In the unit of the objective; nan where it could not be measured.
        spread: How well it is known, as a share of the cost; nan where that is not known.
        runs: Measurements that it comes from.
        failure: Why there is no cost; empty where there is one.
    """

    cost: float
    spread: float = math.nan
    runs: int = 1
    failure: str = ""


def key_of(cg: ComputeGraph) -> str:
    """What networks are known by: canonical hash and size of the input."""
    return f"{canonical_hash(cg)},{'x'.join(map(str, cg.input_shape[1:]))}"


class Remembered:
    """Costs of one setting.

    Args:
        setting: All that a cost depends on besides the network, in one line.
        own: The table of one search, which also knows what could not be measured; None for none.
        shared: The folder of tables that searches share; None for none.

    Raises:
        InputError: A table is damaged.
    """

    def __init__(self, setting: str, own: Path | None = None, shared: Path | None = None):
        self.setting, self._own = setting, own
        self._shared = shared / f"{blake2b(setting.encode(), digest_size=8).hexdigest()}.csv" if shared else None
        self._everybodys = self._read(self._shared)
        self._known = self._read(own)

    def get(self, key: str) -> float | None:
        """The cost of a network; nan where this search could not measure it, None where it is not known."""
        if key in self._known:
            return self._known[key].cost
        if key in self._everybodys:
            self._keep(key, self._everybodys[key])
            return self._everybodys[key].cost
        return None

    def add(self, key: str, reading: Reading) -> None:
        """Remember a measurement; when this returns it is on the disk."""
        self._keep(key, reading)
        if self._shared and not math.isnan(reading.cost):
            self._append(self._shared, key, reading)

    def _keep(self, key: str, reading: Reading) -> None:
        self._known[key] = reading
        if self._own:
            self._append(self._own, key, reading)

    def _append(self, path: Path, key: str, reading: Reading) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = ["" if math.isnan(value) else repr(value) for value in (reading.cost, reading.spread)]
        line = StringIO()
        csv.writer(line, lineterminator="\n").writerow([*key.split(","), *numbers, reading.runs, self.setting])
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut_off_rest(file)
            header = "" if file.tell() else f"{','.join(_COLUMNS)}\n"
            file.write(f"{header}{line.getvalue()}".encode())
            file.flush()
            os.fsync(file.fileno())

    def _read(self, path: Path | None) -> dict[str, Reading]:
        if path is None or not path.exists():
            return {}
        text = read_text(path)
        try:
            rows = parsed_rows(text[: text.rfind("\n") + 1], _COLUMNS if text else ())
            mine = [(line, row) for line, row in rows if row["setting"] == self.setting]
            return {f"{row['hash']},{row['input']}": _reading(line, row) for line, row in mine}
        except ValueError as error:
            raise InputError(f"{path}: not a table of measured costs, delete it: {error}") from error


def _reading(line: int, row: Mapping[str, str]) -> Reading:
    try:
        cost, spread = (float(row[name] or math.nan) for name in ("cost", "spread"))
        runs = int(row["runs"])
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from error
    if cost < 0 or math.isinf(cost):
        raise ValueError(f"line {line}: {cost} is no cost")
    return Reading(cost, spread, runs)


def _cut_off_rest(file: IO[bytes]) -> None:
    """Go to the end of a table, without the unfinished line that a killed process left."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _LONGEST_ROW, 0))
    rest = file.read()
    if not rest.endswith(b"\n"):
        file.truncate(size - len(rest) + rest.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
