"""Networks of a search as points over their costs, and how far the search had come after every iteration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from model_src.files import InputError
from model_src.search.config import SearchConfig
from model_src.search.objectives import Objective
from model_src.search.pareto import hypervolume, stairs
from model_src.search.stored import Cells, StoredSearch

ACCURACY, SCORE = "accuracy", "score"
_LABELS = {ACCURACY: "predicted accuracy (%)", SCORE: "predicted score"}


@dataclass(frozen=True)
class Point:
    """A network.

    Attributes:
        row: Its row of the history, or of the results.
        cost: In the unit of the objective.
        value: Score, or accuracy in percent.
        deviation: Of the value; nan where it is not known.
        iteration: When it was found; 0 is the input.
        rank: Among the results; None for others, -1 for the input.
        measured: Accuracy in percent; nan where it is not known.
    """

    row: Cells
    cost: float
    value: float
    deviation: float
    iteration: int
    rank: int | None
    measured: float

    @property
    def is_accepted(self) -> bool:
        """Whether the search could go on from it."""
        return self.rank is not None or self.row.get("accepted") == "1"


@dataclass(frozen=True)
class View:
    """The networks of a search over an objective.

    Attributes:
        objective: The objective.
        label: What the values are.
        source: The input.
        points: All other networks that are known one by one.
        window: Between which costs results were to lie; None where that is not known.
    """

    objective: Objective
    label: str
    source: Point
    points: Sequence[Point]
    window: tuple[float, float] | None

    @property
    def results(self) -> list[Point]:
        """The results, best rank first."""
        found = [point for point in self.points if point.rank is not None]
        return sorted(found, key=lambda point: point.rank or 0)

    @property
    def front(self) -> list[Point]:
        """The results that none beats over value and cost, by cost."""
        results = self.results
        return [results[at] for at in stairs([one.value for one in results], [one.cost for one in results])]

    @property
    def most(self) -> float:
        """The highest cost that counts for the hypervolume: the window's end, or the highest cost of all."""
        return self.window[1] if self.window else max(point.cost for point in (self.source, *self.points))


def value_column(search: StoredSearch) -> str:
    """What a search can show: accuracy where it is known of all networks, otherwise the score."""
    rows = (search.source_row, *(one.row for one in search.results), *search.history)
    return ACCURACY if search.history and all(row.get(ACCURACY) for row in rows) else SCORE


def views_of(search: StoredSearch, column: str | None = None) -> list[View]:
    """The networks of a search over each of its objectives: those of its history, and results that are not in it.

    Args:
        search: The search.
        column: What to show, see `value_column`.

    Raises:
        InputError: A table has no number where one belongs.
    """
    column = column or value_column(search)
    results = {one.row["hash"]: one for one in search.results}
    source, *history = search.history or [search.source_row]
    known = {row["hash"] for row in history}
    rows = [*history, *(one.row for key, one in results.items() if key not in known)]
    rows = [row for row in rows if all(row.get(one.column) != "" for one in search.objectives)]  # "": not measured

    def point(row: Cells, objective: Objective) -> Point:
        found = results.get(row["hash"])
        told = found.row if found else search.source_row if row is source else {}
        rank = found.rank if found else -1 if row is source else None
        cost, value, iteration = float(row[objective.column]), float(row[column]), int(row["iteration"])
        return Point(row, cost, value, _number(row, f"{column}_sd"), iteration, rank, _number(told, "measured"))

    try:
        starts = [point(source, one) for one in search.objectives]
        points = [[point(row, one) for row in rows] for one in search.objectives]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{search.folder.path}: not the tables of a search ({type(error).__name__}: {error})"
        ) from error
    return [
        View(objective, _LABELS[column], start, found, _window(search.flags, objective, start.cost))
        for objective, start, found in zip(search.objectives, starts, points, strict=True)
    ]


def _number(row: Cells, name: str) -> float:
    return float(row.get(name) or math.nan)


def _window(flags: Mapping[str, Any], objective: Objective, start: float) -> tuple[float, float] | None:
    names = {entry.name for entry in fields(SearchConfig)} & flags.keys()
    try:
        limits = SearchConfig(**{name: flags[name] for name in names}).limits()
    except (TypeError, AttributeError, InputError):  # flags of another version
        return None
    _, least, most = next(limit for limit in limits if limit[0].name == objective.name)
    return max(0.0, start * (1 - most / 100)), start * (1 - least / 100)


@dataclass(frozen=True)
class Progress:
    """How far a search had come after an iteration.

    Attributes:
        iteration: From 1.
        best: The highest value so far, the input's included.
        hypervolume: What the accepted networks so far dominate between the input's value and the highest costs that
            count: gain x share of the input's cost, of each objective.
    """

    iteration: int
    best: float
    hypervolume: float


def progress(search: StoredSearch, views: Sequence[View]) -> list[Progress]:
    """How far the search had come after each of its iterations, over all its objectives together."""
    start, starts = views[0].source, [view.source.cost for view in views]
    found = [
        (point.iteration, point.value, [one.cost for one in points])
        for points in zip(*(view.points for view in views), strict=True)
        if (point := points[0]).is_accepted
    ]
    if not search.history:  # as published: all that was accepted is known by score and costs alone
        found += [
            (number, value, costs)
            for number, turn in enumerate(search.turns, start=1)
            for brought in turn.mutations
            for value, *costs in brought.visited
        ]
    most, steps = [view.most / view.source.cost for view in views], []
    for iteration in range(1, max([len(search.turns), *(number for number, _, _ in found)], default=0) + 1):
        reached = [(value, costs) for at, value, costs in found if at <= iteration]
        shares = [[cost / first for cost, first in zip(costs, starts, strict=True)] for _, costs in reached]
        volume = hypervolume([value - start.value for value, _ in reached], shares, most)
        steps.append(Progress(iteration, max([start.value, *(value for value, _ in reached)]), volume))
    return steps
