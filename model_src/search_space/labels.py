"""Tables of networks' accuracies, as fractions."""

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from statistics import fmean
from typing import IO, Any, NamedTuple

from model_src.files import InputError, atomic_write

# Columns of our tables that must not change from row to row: they say what kind of accuracy it is.
_KIND_COLUMNS = ("source", "epochs", "images", "batch_size")


class LabelRow(NamedTuple):
    """A row of a label table of ours.

    Attributes:
        config_hash: What it was built from, see `config_hash`.
        graph_hash: The canonical hash of its graph.
        accuracy: A fraction.
        source: `teacher`: a predictor estimated it. Tables of measured accuracies have `train` and more columns.
        epochs: Epochs of a training; None for a teacher.
        seed: Seed of a training, or of the draw that a teacher's networks come from.
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
    column exceeds 1, the whole column is taken as percent. Where there is a column `seed`, a network's accuracy is the
    mean over its seeds; rows that name a `failure` are left out.

    Raises:
        InputError: The file cannot be read, has no such column, a value is no accuracy or not the only one of its
            network and seed, or rows differ in their source or in what their trainings were given.
    """
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
            found: dict[str, dict[str, float]] = {}
            for line, key, seed, accuracy in _rows(path, file):
                if found.setdefault(key, {}).setdefault(seed, accuracy) != accuracy:
                    raise InputError(f"{path}, line {line}: a second accuracy for {key}")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: damaged, or not a CSV file: {error}") from error
    if not found:
        raise InputError(f"{path}: has no rows")
    unit = 100 if max(max(accuracies.values()) for accuracies in found.values()) > 1 else 1
    return {key: fmean(accuracies.values()) / unit for key, accuracies in found.items()}


def _rows(path: Path, file: IO[str]) -> Iterator[tuple[int, str, str, float]]:
    """Line number, key, seed (empty where there is no such column), accuracy."""
    reader = csv.reader(file)
    header = next(reader, [])
    columns = [index for index, name in enumerate(header) if index and "acc" in name.lower()]
    if not columns:
        raise InputError(f"{path}: needs a header with a key and an accuracy column, has {', '.join(header) or 'none'}")
    kind_columns = _KIND_COLUMNS if "source" in header else ()
    kind = None
    for row in filter(None, reader):
        named = dict(zip(header, row, strict=False))
        if named.get("failure"):
            continue
        try:
            accuracy = float(row[columns[-1]])
        except (IndexError, ValueError):
            accuracy = math.nan
        if not 0 <= accuracy <= 100:
            raise InputError(f"{path}, line {reader.line_num}: no accuracy in column {header[columns[-1]]}")
        own = {name: named[name] for name in kind_columns if name in named}
        kind = kind or own
        if own != kind:
            raise InputError(f"{path}, line {reader.line_num}: {own} in a table of {kind}, which differ in level")
        yield reader.line_num, row[0], named.get("seed", ""), accuracy
