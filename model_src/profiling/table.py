"""Tables of layers with their times, as CSV files."""

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from model_src.comp_graph.ops import OPERATIONS
from model_src.files import InputError, naming, read_text, save_rows
from model_src.profiling.layers import Layer

_MS, _SETTING = "ms", "setting"
_COLUMNS = (*Layer._fields, _MS)


def write_table(path: Path, times: Mapping[Layer, float], setting: str) -> None:
    """Write milliseconds of layers, and where they were measured."""
    save_rows([{**layer._asdict(), _MS: f"{ms:.6f}", _SETTING: setting} for layer, ms in times.items()], path)


def read_table(path: Path) -> dict[Layer, float]:
    """Read milliseconds of layers; the columns are those of `Layer`, and `ms`.

    Raises:
        InputError: The file cannot be read, lacks a column, has no rows, or one that is no layer.
    """
    reader = csv.DictReader(StringIO(read_text(path), newline=""))
    with naming(path):
        if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or [])]:
            raise InputError(f"not a table of layers: it has no column {missing[0]}")
        found = {}
        for row in reader:
            try:
                name, *sizes = (row[column] for column in Layer._fields)
                layer, ms = Layer(name, *map(int, sizes)), float(row[_MS])
            except (TypeError, ValueError, csv.Error) as error:
                raise InputError(f"line {reader.line_num}: no layer with its time: {error}") from error
            if name not in OPERATIONS or not 0 < ms < float("inf") or min(layer[1:]) < 0 or layer.groups < 1:
                raise InputError(f"line {reader.line_num}: no layer with its time")
            found[layer] = ms
        if not found:
            raise InputError("a table of layers without rows")
    return found
