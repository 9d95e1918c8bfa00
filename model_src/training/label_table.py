"""Tables of accuracies that we measure: one row per training, written as soon as it ends."""

import csv
import os
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from model_src.files import InputError, save_text

SOURCE = "train"


class Budget(NamedTuple):
    """What a training is given; accuracies of different budgets differ in level.

    Attributes:
        epochs: Passes over the images.
        images: Training images, the first so many of the data set.
        batch_size: Images per step.
    """

    epochs: int
    images: int
    batch_size: int


class MeasuredRow(NamedTuple):
    """A row: the columns of every label table of ours, and what else is known about a training.

    Attributes:
        config_hash: What the network was built from, as a hash.
        graph_hash: The canonical hash of its graph.
        accuracy: Fraction of the test images that are right after the last epoch; None if the training failed.
        source: `train`.
        epochs: See `Budget`.
        seed: Seed of the training.
        loss: Mean cross-entropy of the test images after the last epoch; None if the training failed.
        images: See `Budget`.
        batch_size: See `Budget`.
        seconds: Wall time.
        device: What it ran on.
        failure: Why the training failed; empty if it did not.
    """

    config_hash: str
    graph_hash: str
    accuracy: float | None = None
    source: str = SOURCE
    epochs: int = 0
    seed: int = 0
    loss: float | None = None
    images: int = 0
    batch_size: int = 0
    seconds: float | None = None
    device: str = ""
    failure: str = ""

    @property
    def budget(self) -> Budget:
        """What the training was given."""
        return Budget(self.epochs, self.images, self.batch_size)


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
        self.rows = _read_rows(self._path)
        for row in self.rows:
            if row.budget != budget or row.source != SOURCE:
                had, wanted = ("{} epochs of {} images, batches of {}".format(*one) for one in (row.budget, budget))
                raise InputError(f"{path}: its rows are of {had}, not of {wanted}; name another file by -save_labels")

    def has(self, graph_hash: str, seed: int) -> bool:
        """Whether a training is in the table, failed or not."""
        return any(row.graph_hash == graph_hash and row.seed == seed for row in self.rows)

    def accuracies(self) -> dict[str, float]:
        """Canonical hash -> mean accuracy over the trainings that did not fail."""
        found: dict[str, list[float]] = {}
        for row in self.rows:
            if row.accuracy is not None:
                found.setdefault(row.graph_hash, []).append(row.accuracy)
        return {graph_hash: fmean(accuracies) for graph_hash, accuracies in found.items()}

    def append(self, row: MeasuredRow) -> None:
        """Write a row; when this returns it is on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not self.rows:
                writer.writerow(MeasuredRow._fields)
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)


def _read_rows(path: Path) -> list[MeasuredRow]:
    """The rows of a file; a last line that a killed process left unfinished is cut off the file."""
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            save_text(whole, path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    lines = list(csv.reader(whole.splitlines()))
    if lines and tuple(lines[0]) != MeasuredRow._fields:
        raise InputError(f"{path}: not a table of measured labels; its header is {','.join(lines[0])}")
    return [_row(path, number, line) for number, line in enumerate(lines[1:], 2)]


def _row(path: Path, number: int, line: list[str]) -> MeasuredRow:
    try:
        row = MeasuredRow(**dict(zip(MeasuredRow._fields, line, strict=True)))
        accuracy, loss, seconds = (float(text) if text else None for text in (row.accuracy, row.loss, row.seconds))
        whole = {name: int(getattr(row, name)) for name in ("epochs", "seed", "images", "batch_size")}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, line {number}: not a row of measured labels: {error}") from error
    return row._replace(accuracy=accuracy, loss=loss, seconds=seconds, **whole)
