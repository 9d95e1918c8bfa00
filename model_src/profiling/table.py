"""Tables of layers with their times, as CSV files."""

from collections.abc import Mapping
from pathlib import Path

from model_src.comp_graph.ops import OPERATIONS
from model_src.csv_tables import parsed_rows, save_rows
from model_src.files import InputError, naming, read_text
from model_src.profiling.layers import Layer

_MS, _SETTING = "ms", "setting"
_COLUMNS = (*Layer._fields, _MS)
_LARGEST, _MS_RANGE = 1 << 31, (1e-9, 1e9)


def write_table(path: Path, times: Mapping[Layer, float], setting: str) -> None:
    """Write milliseconds of layers, and where they were measured."""
    save_rows([{**layer._asdict(), _MS: f"{ms:.6f}", _SETTING: setting} for layer, ms in times.items()], path)


def read_table(path: Path) -> dict[Layer, float]:
    """Read milliseconds of layers; the columns are those of `Layer`, and `ms`.

    Raises:
        InputError: The file cannot be read, see `parsed_rows`, has no rows, or one that is no layer.
    """
    with naming(path):
        found = {}
        for line, row in parsed_rows(read_text(path), _COLUMNS):
            try:
                name, *sizes = (row[column] for column in Layer._fields)
                layer, ms = Layer(name, *map(int, sizes)), float(row[_MS])
            except ValueError as error:
                raise InputError(f"line {line}: no layer with its time: {error}") from error
            if name not in OPERATIONS or not _MS_RANGE[0] <= ms <= _MS_RANGE[1] or not _are_sizes(layer):
                raise InputError(f"line {line}: no layer with its time")
            found[layer] = ms
        if not found:
            raise InputError("a table of layers without rows")
    return found


def _are_sizes(layer: Layer) -> bool:
    return all(0 <= size <= _LARGEST for size in layer[1:]) and layer.groups > 0
