"""Measuring networks of a search: by training them, or by a table that the user made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.csv_tables import parsed_rows
from model_src.files import InputError, naming, read_text
from model_src.search.feedback import MeasuredNetwork, ToMeasure
from model_src.training.labels import Measurement, Subject, trained_rows

HASH, ACCURACY, FILE, SWAPS = "hash", "measured", "file", "swaps"  # columns of the table, as of pareto.csv
_MOST_DIGITS = 9  # of a number of swaps


@dataclass(frozen=True)
class Trainings:
    """Measures networks by trainings, which are kept in a table and not repeated; see `feedback.Measure`.

    What counts is the accuracy on the training images that are held out: test images are not for choices.

    Attributes:
        measurement: How networks are trained.
        path: The table.
        from_scratch: Begin with fresh weights, also where there are inherited ones.
    """

    measurement: Measurement
    path: Path
    from_scratch: bool = False

    def __call__(self, networks: Mapping[str, ToMeasure]) -> Iterator[tuple[str, float | None]]:
        """Train networks, given by their hashes in the search."""
        subjects = [
            Subject(graph, identity, canonical_hash(graph), None if self.from_scratch else inherited)
            for identity, (graph, inherited) in networks.items()
        ]
        for row in trained_rows(subjects, self.measurement, self.path):
            if row.config_hash in networks:
                yield row.config_hash, row.held_out


def read_measured(path: Path) -> list[MeasuredNetwork]:
    """Read a table of networks that the user has measured: a CSV file with columns `hash` and `measured`.

    Lines where `measured` is empty are left out. If any exceeds 1, all are percent. With columns `file` (the network's,
    relative to the table's folder) and `swaps`, as pareto.csv has them, a search learns from a network at once,
    otherwise when it meets it.

    Raises:
        InputError: The table cannot be read, see `parsed_rows`, or has another value in it, or a network cannot
            be loaded.
    """
    with naming(path):
        rows = [(line, row) for line, row in parsed_rows(read_text(path), (HASH, ACCURACY)) if row[ACCURACY]]
        numbers = [_accuracy(row[ACCURACY], line) for line, row in rows]
    unit = 100 if max(numbers, default=0) > 1 else 1
    return [_network(row, number / unit, path, line) for (line, row), number in zip(rows, numbers, strict=True)]


def _accuracy(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise InputError(f"line {line}: {text!r} is no accuracy")
    return value


def _network(row: Mapping[str, str], accuracy: float, path: Path, line: int) -> MeasuredNetwork:
    identity, name, swaps = row[HASH], row.get(FILE), row.get(SWAPS) or "0"
    if not (swaps.isdecimal() and len(swaps) <= _MOST_DIGITS):
        raise InputError(f"{path}: line {line}: {swaps!r} is no number of swaps")
    graph = load_cg(path.parent / name) if name else None
    return MeasuredNetwork(identity, accuracy, graph, int(swaps))
