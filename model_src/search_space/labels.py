"""Accuracies of networks, from a table or from the `analog-nasbench` package, as fractions; and the tables we write."""

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NamedTuple

from model_src.files import InputError, atomic_write, load_pickle
from model_src.search_space import nb201

ANALOG_NASBENCH = "analog-nasbench"
_ANALOG_DATA = "analognasbench/data.anb"
_ANALOG_CLASSES = {("analognasbench.data", name): SimpleNamespace for name in ("Architecture", "DriftMeasurement")}
_ANALOG_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
# Its cells list the edges 0->1, 0->2, 0->3, 1->2, 1->3, 2->3; this is where each edge of a config stands there.
_ANALOG_POSITIONS = (0, 1, 3, 2, 4, 5)


class LabelRow(NamedTuple):
    """A row of a label table of ours.

    Attributes:
        config_hash: What it was built from, see `config_hash`.
        graph_hash: The canonical hash of its graph.
        accuracy: A fraction.
        source: `train`, or `teacher` where a predictor estimated it.
        epochs: Epochs that it was trained for; None for a teacher.
        seed: Seed of the training, or of the draw that a teacher's networks come from.
    """

    config_hash: str
    graph_hash: str
    accuracy: float
    source: str
    epochs: int | None
    seed: int


def config_hash(config: Any) -> str:
    """Identify a network by what it was built from, plain JSON data: 16 hexadecimal digits.

    It needs no graph, so a table can be searched quickly; different configs of one graph have different hashes.
    """
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def write_label_table(path: str | Path, rows: Iterable[LabelRow]) -> None:
    """Write a CSV file with a header, one row per network, accuracies with six decimals."""
    with atomic_write(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LabelRow._fields)
        writer.writerows(row._replace(accuracy=f"{row.accuracy:.6f}") for row in rows)


def read_label_table(path: str | Path) -> dict[str, float]:
    """Read the accuracies of a CSV file (`.csv` or `.csv.gz`) with a header: network key -> accuracy.

    The first column is the key; the accuracy is the last column whose name contains `acc`. If any accuracy of that
    column exceeds 1, the whole column is taken as percent.

    Raises:
        InputError: The file cannot be read, has no such column, or a value is no accuracy or not the only one of
            its network.
    """
    path = Path(path)
    try:
        opened = gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(newline="")
        with opened as file:
            labels = {}
            for line, key, accuracy in _rows(path, file):
                if labels.setdefault(key, accuracy) != accuracy:
                    raise InputError(f"{path}, line {line}: a second accuracy for {key}")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: damaged, or not a CSV file: {error}") from error
    if not labels:
        raise InputError(f"{path}: has no rows")
    unit = 100 if max(labels.values()) > 1 else 1
    return {key: accuracy / unit for key, accuracy in labels.items()}


def _rows(path: Path, file: IO[str]) -> Iterator[tuple[int, str, float]]:
    reader = csv.reader(file)
    header = next(reader, [])
    columns = [index for index, name in enumerate(header) if index and "acc" in name.lower()]
    if not columns:
        raise InputError(f"{path}: needs a header with a key and an accuracy column, has {', '.join(header) or 'none'}")
    for row in filter(None, reader):
        try:
            key, accuracy = row[0], float(row[columns[-1]])
        except (IndexError, ValueError):
            accuracy = math.nan
        if not 0 <= accuracy <= 100:
            raise InputError(f"{path}, line {reader.line_num}: no accuracy in column {header[columns[-1]]}")
        yield reader.line_num, key, accuracy


def read_analog_nasbench(path: str | Path | None = None) -> dict[str, float]:
    """Read the measured CIFAR-10 accuracies of all 15,625 NAS-Bench-201 cells: architecture string -> accuracy.

    Args:
        path: The data file of the PyPI package `analog-nasbench`; None looks for the installed package. None of the
            package's code is run.

    Raises:
        InputError: The package is not installed, or its file is not what it was in version 0.1.3.
    """
    cells = load_pickle(path or _analog_data_path(), _ANALOG_CLASSES)
    try:
        return {
            nb201.architecture_string([_ANALOG_OPS[codes[position]] for position in _ANALOG_POSITIONS]): (
                cell.baseline_accuracy / 100
            )
            for codes, cell in cells.items()
        }
    except (AttributeError, TypeError, IndexError) as error:
        raise InputError(f"{path or ANALOG_NASBENCH}: not the cells of {ANALOG_NASBENCH} 0.1.3: {error}") from error


def _analog_data_path() -> Path:
    try:
        return Path(str(metadata.distribution(ANALOG_NASBENCH).locate_file(_ANALOG_DATA)))
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"-label {ANALOG_NASBENCH} needs that package: pip install --no-deps {ANALOG_NASBENCH}==0.1.3"
        ) from error
