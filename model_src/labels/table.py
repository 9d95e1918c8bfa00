"""Tables of networks' accuracies as CSV files: ours, and any that has a network and an accuracy in a line."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import IO, Any, NamedTuple, TypeVar

from model_src.csv_tables import check_columns
from model_src.files import InputError, atomic_write, naming, read_text

T = TypeVar("T")

DECIMALS = 6  # of accuracies and losses
TEACHER, TRAIN = "teacher", "train"  # sources of accuracies, see `LabelRow`


class LabelRow(NamedTuple):
    """An accuracy of a network, and what is known about it.

    Attributes:
        config_hash: What the network was built from, as a hash; in tables of others, their name of the network.
        graph_hash: The canonical hash of its graph.
        accuracy: Fraction of the test images that are right, after the last epoch; None if the training failed.
        source: `teacher`: a predictor estimated it; `train`: a training measured it.
        epochs: Passes of the training over its images; None for a teacher.
        seed: Of the training, or of the draw that a teacher's networks come from; None if the table does not say.
        loss: Mean cross-entropy of the test images after the last epoch; None if the training failed.
        images: Training images, the first so many of the data set.
        batch_size: Images per step.
        seconds: Wall time; None if the training failed.
        device: What it ran on.
        failure: Why the training failed; empty if it did not.
        recipe: Name of the recipe of the training.
        held_out: Fraction of the training images right that were held out; None where none were, or it failed.
    """

    config_hash: str
    graph_hash: str = ""
    accuracy: float | None = None
    source: str = ""
    epochs: int | None = None
    seed: int | None = None
    loss: float | None = None
    images: int | None = None
    batch_size: int | None = None
    seconds: float | None = None
    device: str = ""
    failure: str = ""
    recipe: str = ""
    held_out: float | None = None


MEASURED_COLUMNS = LabelRow._fields
OLD_MEASURED_COLUMNS = MEASURED_COLUMNS[: MEASURED_COLUMNS.index("recipe")]  # of version 0.1
ESTIMATED_COLUMNS = MEASURED_COLUMNS[: MEASURED_COLUMNS.index("loss")]
# These must not change from row to row: they say what kind of accuracy it is.
_KIND_COLUMNS = ("source", "epochs", "images", "batch_size", "recipe")
_WHOLE_NUMBERS, _FRACTIONS = ("epochs", "seed", "images", "batch_size"), ("loss", "seconds", "held_out")
_NUMBERS = dict.fromkeys(_WHOLE_NUMBERS, int) | dict.fromkeys(_FRACTIONS, float)


def write_label_table(path: str | Path, rows: Iterable[LabelRow], columns: Sequence[str] = ESTIMATED_COLUMNS) -> None:
    """Write a CSV file with a header, one line per row."""
    with atomic_write(path, "w") as file:
        write_rows(file, rows, columns, header=True)


def write_rows(file: IO[str], rows: Iterable[LabelRow], columns: Sequence[str], header: bool) -> None:
    """Write lines of a table: accuracies with six decimals, nothing for None."""
    writer = csv.writer(file, lineterminator="\n")
    if header:
        writer.writerow(columns)
    for row in rows:
        cells = row._asdict()
        if row.accuracy is not None:
            cells["accuracy"] = f"{row.accuracy:.{DECIMALS}f}"
        writer.writerow([cells[column] for column in columns])


def read_label_table(path: str | Path) -> dict[str, float]:
    """Read the accuracies of a table: network, as the first column has it -> mean over its seeds (a fraction).

    Raises:
        InputError: The table cannot be read, see `read_rows`, or has no accuracies.
    """
    rows = {(row.config_hash, row.seed): row.accuracy for row in read_rows(path) if row.accuracy is not None}
    if not rows:
        raise InputError(f"{path}: has no rows")
    return mean_accuracies((key, accuracy) for (key, _), accuracy in rows.items())


def mean_accuracies(accuracies: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """Network -> mean of its accuracies; those that are None do not count."""
    found: dict[str, list[float]] = {}
    for key, accuracy in accuracies:
        if accuracy is not None:
            found.setdefault(key, []).append(accuracy)
    return {key: fmean(values) for key, values in found.items()}


def read_rows(path: str | Path) -> list[LabelRow]:
    """Read the rows of a CSV file (`.csv` or `.csv.gz`) with a header.

    The first column is the network; the accuracy is the last column whose name contains `acc`. If any accuracy of that
    column exceeds 1, the whole column is taken as percent. Of tables of others, only `seed` is read besides.

    Raises:
        InputError: The file cannot be read, has no such column or two of a name, a value is no number or not the only
            one of its network and seed, or rows differ in their source or in what their trainings were given.
    """
    path = Path(path)
    try:
        rows = list(_consistent(_parsed(path, StringIO(read_text(path), newline=""))))
    except csv.Error as error:
        raise InputError(f"{path}: damaged, or not a CSV file: {error}") from error
    unit = 100 if any(row.accuracy is not None and row.accuracy > 1 for row in rows) else 1
    return [row if row.accuracy is None else row._replace(accuracy=row.accuracy / unit) for row in rows]


def _parsed(path: Path, file: IO[str]) -> Iterator[tuple[str, LabelRow]]:
    """Every row, with its place in the file; accuracies as they stand there."""
    reader = csv.reader(file)
    header = next(reader, [])
    accuracy_columns = [name for name in header[1:] if "acc" in name.lower()]
    if not accuracy_columns:
        raise InputError(f"{path}: needs a header with a key and an accuracy column, has {', '.join(header) or 'none'}")
    with naming(path):
        check_columns(header)
    known = LabelRow._fields[1:] if "source" in header else ("seed",)
    for line in filter(None, reader):
        place, cells = f"{path}, line {reader.line_num}", dict(zip(header[1:], line[1:], strict=False))
        if "source" in header and len(line) != len(header):
            raise InputError(f"{place}: {len(line)} cells in a table of {len(header)} columns")
        values: dict[str, Any] = {name: text for name, text in cells.items() if name in known}
        for name in values.keys() & _NUMBERS.keys():
            values[name] = _number(values[name], _NUMBERS[name], f"{place}: no number in column {name}")
        values["accuracy"] = None
        if not cells.get("failure"):
            problem = f"{place}: no accuracy in column {accuracy_columns[-1]}"
            values["accuracy"] = _number(cells.get(accuracy_columns[-1], ""), float, problem)
            if values["accuracy"] is None or not 0 <= values["accuracy"] <= 100:
                raise InputError(problem)
        yield place, LabelRow(line[0], **values)


def _number(text: str, kind: Callable[[str], T], problem: str) -> T | None:
    try:
        return kind(text) if text else None
    except ValueError as error:
        raise InputError(problem) from error


def _consistent(rows: Iterable[tuple[str, LabelRow]]) -> Iterator[LabelRow]:
    """The rows, if they are of one kind and no network has two accuracies of one seed."""
    kind: dict[str, Any] = {}
    accuracies: dict[tuple[str, int | None], float | None] = {}
    for place, row in rows:
        own = {name: getattr(row, name) for name in _KIND_COLUMNS}
        kind = kind or own
        if own != kind:
            raise InputError(f"{place}: {own} in a table of {kind}, which differ in level")
        known = accuracies.setdefault((row.config_hash, row.seed), row.accuracy)
        if None not in (known, row.accuracy) and known != row.accuracy:
            raise InputError(f"{place}: a second accuracy for {row.config_hash}")
        yield row
