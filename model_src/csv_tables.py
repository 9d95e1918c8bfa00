"""Tables in CSV files: a header, and a line for each row."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from model_src.files import atomic_write, naming, read_text


def save_rows(rows: Sequence[Mapping[str, object]], path: str | Path) -> None:
    """Write a CSV table with the columns of its first row; an interruption leaves the old file as it was."""
    with atomic_write(path, "w") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def load_rows(path: str | Path) -> list[dict[str, str]]:
    """Read a CSV table, a dictionary per row.

    Raises:
        InputError: It cannot be read, or see `parsed_rows`.
    """
    with naming(path):
        return [row for _, row in parsed_rows(read_text(path))]


def parsed_rows(text: str, needed: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV table, each with the number of its line; empty lines are left out.

    Args:
        text: What the file holds.
        needed: Columns that must be there.

    Raises:
        ValueError: One is not, two columns share a name, a line has more or fewer cells, or it is not a CSV table.
    """
    reader = csv.DictReader(StringIO(text, newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or [])
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"not a table ({error})") from error
    if missing := [name for name in needed if name not in columns]:
        raise ValueError(f"has no column {' and no column '.join(missing)}")
    check_columns(columns)
    if others := [line for line, row in rows if None in row or None in row.values()]:
        raise ValueError(f"line {others[0]}: not as many cells as there are columns")
    return rows


def check_columns(names: Sequence[str]) -> None:
    """Check that no two columns share a name.

    Raises:
        ValueError: Two do.
    """
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"has two columns {twice[0]}")
