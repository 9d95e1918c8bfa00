"""The tables of the page about a search."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from model_src.files import InputError
from model_src.propagation.milp import Statistics
from model_src.search.objectives import OBJECTIVES, Objective
from model_src.search.points import Progress, View
from model_src.search.stored import Cells, StoredSearch


class Cell(NamedTuple):
    """What a table says, and what it is sorted by."""

    text: str = ""
    key: float | str = ""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    cells: list[Cell]


def results_table(search: StoredSearch) -> list[Column]:
    """The input and the results, with all that is known of them; columns without content are left out.

    Raises:
        InputError: What trainings left is damaged.
    """
    rows = [search.source_row, *(one.row for one in search.results)]
    ranks = [Cell(row["rank"], -1 if row["rank"] == "input" else int(row["rank"])) for row in rows]
    objectives = {one.column: one for one in (*OBJECTIVES.values(), *search.objectives)}
    costs = [(one.unit, one.column, "", _digits(one)) for one in objectives.values()]
    wanted = [
        ("accuracy (%)", "accuracy", "accuracy_sd", 2), ("measured (%)", "measured", "", 2),
        ("points", "measured_change", "", 2), ("score", "score", "score_sd", 3), *costs,
        ("nodes", "nodes", "", 0), ("iteration", "iteration", "", 0), ("swaps", "swaps", "", 0),
        ("layers inherited", "inherited", "", 0), ("output differs by", "output_distance", "", 2),
    ]  # fmt: skip
    columns = [Column("rank", ranks), Column("trained (%)", _trained(search, rows))]
    for title, name, deviation, digits in wanted:
        columns.append(Column(title, [_cell(row, name, deviation, digits) for row in rows]))
        if name in objectives:
            columns.append(Column("change (%)", [_change(row, search.source_row, name) for row in rows]))
    return [column for column in columns if any(cell.text for cell in column.cells)]


def _digits(objective: Objective) -> int:
    return 3 if objective.is_measured else 0 if objective.scale == 1 else 2


def _cell(row: Cells, name: str, deviation: str, digits: int) -> Cell:
    if not row.get(name):
        return Cell()
    spread = f" ± {float(row[deviation]):.{digits}f}" if row.get(deviation) else ""
    value = float(row[name])
    return Cell(f"{value:{'+' if 'change' in name else ''},.{digits}f}{spread}", value)


def _change(row: Cells, source: Cells, name: str) -> Cell:
    if not (row.get(name) and source.get(name) and float(source[name])) or row is source:
        return Cell()
    value = 100 * (float(row[name]) / float(source[name]) - 1)
    return Cell(f"{value:+.2f}", value)


def _trained(search: StoredSearch, rows: Sequence[Cells]) -> list[Cell]:
    """Mean accuracy of the last epochs, where networks were trained after the search."""
    found: dict[str, float] = {}
    try:
        for one in (search.trainings or {}).get("trained", []):
            if one["runs"] and not one["failure"]:
                rank = "input" if one["rank"] is None else str(one["rank"])
                found[rank] = 100 * fmean(run["last_accuracy"] for run in one["runs"])
    except (AttributeError, KeyError, TypeError) as error:
        path = search.folder.trainings_path
        raise InputError(f"{path}: not a training result ({type(error).__name__}: {error})") from error
    return [Cell(f"{found[row['rank']]:.2f}", found[row["rank"]]) if row["rank"] in found else Cell() for row in rows]


def iteration_table(search: StoredSearch, view: View, steps: Sequence[Progress]) -> list[Column]:
    """How far the search had come after every iteration, and where the time went."""

    def column(title: str, values: Iterable[float], digits: int = 0) -> Column:
        return Column(title, [Cell(f"{value:,.{digits}f}", value) for value in values])

    turns = search.turns
    columns = [
        column("iteration", (step.iteration for step in steps)),
        column(f"best {view.label}", (step.best for step in steps), 3),
        column("hypervolume", (step.hypervolume for step in steps), 4),
    ]
    if len(turns) != len(steps):
        return columns
    ends = [0.0, *(turn.seconds for turn in turns)]
    milp = [sum((one.propagation for one in turn.mutations), Statistics()) for turn in turns]
    return [
        *columns,
        column("results found", (sum(one.iteration == step.iteration for one in view.results) for step in steps)),
        column("networks scored", (sum(one.n_scored for one in turn.mutations) for turn in turns)),
        column("scored as a whole", (len(turn.rescored) for turn in turns)),
        column("seconds", (end - begin for begin, end in pairwise(ends)), 1),
        column("of them scoring whole networks", (turn.rescoring_seconds for turn in turns), 1),
        column("seconds of MILP, all processes", (one.successes.seconds + one.failures.seconds for one in milp), 1),
    ]


def propagation_table(search: StoredSearch) -> list[tuple[str, str]]:
    """What fitting sizes needed, a line each; nothing where no iterations are kept."""
    if not search.turns:
        return []
    total = sum((one.propagation for turn in search.turns for one in turn.mutations), Statistics())
    lines = [
        ("segments to fit", total.calls),
        ("answered from memory", total.repeated),
        ("did not fit already in forward propagation", total.forward_failures),
        ("MILP found sizes", total.successes.count),
        ("MILP found none", total.failures.count),
        ("of them without proof", total.unproven),
    ]
    means = (("found", total.successes), ("found none", total.failures))
    times = [
        (f"mean time where it {title}", f"{1e3 * tally.mean:.2f} ± {1e3 * tally.deviation:.2f} ms")
        for title, tally in means
        if tally.timed
    ]
    return [(title, f"{count:,}") for title, count in lines] + times


def counted(names: Iterable[str]) -> str:
    """Names of operations with how often each occurs: `2 × conv, relu`."""
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in Counter(names).items())
