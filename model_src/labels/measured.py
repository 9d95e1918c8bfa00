"""Tables of accuracies that are measured: one row per training, written as soon as it ends."""

import os
from pathlib import Path
from typing import NamedTuple

import constants
from model_src.files import InputError, read_text, save_text
from model_src.labels.table import (
    MEASURED_COLUMNS,
    OLD_MEASURED_COLUMNS,
    TRAIN,
    LabelRow,
    read_rows,
    write_label_table,
    write_rows,
)

PUBLISHED = "published"  # the recipe of tables that name none


class Budget(NamedTuple):
    """What a training is given; accuracies of different budgets differ in level.

    Attributes:
        epochs: Passes over the images.
        images: Training images, the first so many of the data set.
        batch_size: Images per step.
        recipe: Name of the recipe.
    """

    epochs: int
    images: int
    batch_size: int
    recipe: str = PUBLISHED

    def __str__(self) -> str:
        return f"{self.epochs} epochs of {self.images} images, batches of {self.batch_size}, recipe {self.recipe}"


def table_of(family: str) -> Path:
    """Where the measured accuracies of a family are kept unless another file is named."""
    return constants.DATA_DIR / "labels" / f"{family}_measured.csv"


class MeasuredTable:
    """A table of one budget that grows row by row; an interruption loses no row that is in it.

    Args:
        path: The CSV file, which need not exist.
        budget: Of the trainings to come.

    Raises:
        InputError: The file is another kind of table, is damaged, or its trainings had another budget.
    """

    def __init__(self, path: str | Path, budget: Budget):
        self._path = Path(path)
        self.rows, header = _whole_rows(self._path)
        for row in self.rows:
            had = Budget(row.epochs or 0, row.images or 0, row.batch_size or 0, row.recipe)
            if had != budget or row.source != TRAIN:
                raise InputError(f"{path}: its rows are of {had}, not of {budget}; name another file by -save_labels")
        if header == OLD_MEASURED_COLUMNS:
            write_label_table(path, self.rows, MEASURED_COLUMNS)

    def has(self, graph_hash: str, seed: int) -> bool:
        """Whether a training is in the table, failed or not."""
        return any(row.graph_hash == graph_hash and row.seed == seed for row in self.rows)

    def append(self, row: LabelRow) -> None:
        """Write a row; when this returns it is on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", newline="") as file:
            write_rows(file, [row], MEASURED_COLUMNS, header=not file.tell())
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)


def _whole_rows(path: Path) -> tuple[list[LabelRow], tuple[str, ...]]:
    """The rows of a file and its header; a last line that a killed process left unfinished is cut off the file."""
    try:
        text = read_text(path) if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            save_text(whole, path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if not whole:
        return [], MEASURED_COLUMNS
    header = tuple(whole.partition("\n")[0].split(","))
    if header not in (MEASURED_COLUMNS, OLD_MEASURED_COLUMNS):
        raise InputError(f"{path}: not a table of measured labels; its header is {','.join(header)}")
    rows = read_rows(path)
    if header == OLD_MEASURED_COLUMNS:
        rows = [row._replace(recipe=PUBLISHED) for row in rows]
    return rows, header
