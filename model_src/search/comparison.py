"""The page that compares searches: fronts over each other, hypervolume with its spread, settings that differ."""

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from model_src.files import InputError, save_text
from model_src.search import charts
from model_src.search.page import chart_width, points_chart, progress_charts, render
from model_src.search.page_tables import Cell, Column
from model_src.search.points import ACCURACY, SCORE, Point, Progress, View, progress, value_column, views_of
from model_src.search.repeating import OF_THE_RUN, as_text
from model_src.search.stored import StoredSearch

# Seen on light and on dark ground; a ninth search has the first colour again.
COLOURS = ("#d3402b", "#2f7fd1", "#2f9e5b", "#b5730a", "#8a5bd6", "#0f9aa8", "#c2459c", "#7c8794")

# What differs -> what to bear in mind.
_NOTES = {
    "SHA-256 of predictor": "The searches had different predictors, whose scores need not be on one scale.",
    "hash of the input": "The searches began with different networks; gains and shares are those over each one's own.",
}

Runs = Sequence[Sequence[Progress]]


def write_comparison(searches: Sequence[StoredSearch], path: Path) -> None:
    """Write a page that compares searches.

    Args:
        searches: The searches, for the same objectives.
        path: Of the page.

    Raises:
        InputError: Their objectives differ, or a file of a folder is damaged.
        OSError: The page cannot be written.
    """
    objectives = sorted({" ".join(one.name for one in search.objectives) for search in searches})
    if len(objectives) > 1:
        raise InputError(f"-report: these searches have different objectives: {', '.join(objectives)}")
    column = ACCURACY if all(value_column(search) == ACCURACY for search in searches) else SCORE
    found = [views_of(search, column) for search in searches]
    steps = [progress(*pair) for pair in zip(searches, found, strict=True)]
    views, width = [one[0] for one in found], chart_width(len(found[0]))
    names = [search.folder.path.resolve().name for search in searches]
    groups = _alike(searches)
    differences = _differences(searches)
    volumes, best = progress_charts(steps, views[0].label)
    page = render(
        "comparison.html",
        name=f"{len(searches)} searches",
        searches=[
            (name, COLOURS[at % len(COLOURS)], os.path.relpath(searches[at].folder.report_path, path.parent))
            for at, name in enumerate(names)
        ],
        panels=[(points_chart(_shown(over), over[0], width), over) for over in zip(*found, strict=True)],
        volumes=volumes,
        bands=[_band(volumes[0], [steps[at] for at in group]) for group in groups if len(group) > 1],
        best=best,
        outcomes=_outcomes(views, steps),
        spread=_spread([[steps[at] for at in group] for group in groups], groups),
        differences=differences,
        notes=[note for word, note in _NOTES.items() if any(word in name for name, _ in differences)],
    )
    save_text(page, path)


def _shown(views: Sequence[View]) -> list[Point]:
    return [point for view in views for point in (view.source, *view.results)]


def _alike(searches: Sequence[StoredSearch]) -> list[list[int]]:
    """The searches' positions, those together that differ in nothing but their seed."""
    groups: dict[str, list[int]] = {}
    for at, search in enumerate(searches):
        key = [(name, value) for name, value in search.flags.items() if name not in (*OF_THE_RUN, "seed")]
        groups.setdefault(repr((search.source_row["hash"], sorted(key))), []).append(at)
    return list(groups.values())


def _band(canvas: charts.Canvas, runs: Runs) -> str:
    """The outline of the range of hypervolumes of several searches, over the iterations that all of them have."""
    columns = list(zip(*runs, strict=False))
    ends = [(step[0].iteration, [one.hypervolume for one in step]) for step in columns]
    outline = [(at, min(values)) for at, values in ends] + [(at, max(values)) for at, values in reversed(ends)]
    return " ".join(f"{canvas.x(at)},{canvas.y(value)}" for at, value in outline)


def _outcomes(views: Sequence[View], steps: Runs) -> list[Column]:
    """What every search found."""
    best = [max((point.value for point in view.results), default=view.source.value) for view in views]
    volumes = [run[-1].hypervolume if run else 0.0 for run in steps]
    gains = [value - view.source.value for value, view in zip(best, views, strict=True)]
    return [
        Column("search", [Cell(str(at), at) for at in range(1, len(views) + 1)]),
        Column("results", [Cell(str(len(view.results)), len(view.results)) for view in views]),
        Column(f"best {views[0].label} of a result", [Cell(f"{value:.3f}", value) for value in best]),
        Column("gain over the input", [Cell(f"{value:+.3f}", value) for value in gains]),
        Column("hypervolume", [Cell(f"{value:.4f}", value) for value in volumes]),
        Column("iterations", [Cell(str(len(run)), len(run)) for run in steps]),
    ]


def _spread(groups: Sequence[Runs], positions: Sequence[Sequence[int]]) -> list[Column]:
    """Mean and deviation of the last hypervolume, over searches that differ in their seed alone."""
    last = [[run[-1].hypervolume if run else 0.0 for run in runs] for runs in groups]
    texts = [f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "") for values in last]
    return [
        Column("searches", [Cell(", ".join(str(at + 1) for at in group), group[0]) for group in positions]),
        Column("hypervolume", [Cell(text, fmean(values)) for text, values in zip(texts, last, strict=True)]),
        Column("lowest", [Cell(f"{min(values):.4f}", min(values)) for values in last]),
        Column("highest", [Cell(f"{max(values):.4f}", max(values)) for values in last]),
    ]


def _differences(searches: Sequence[StoredSearch]) -> list[tuple[str, list[str]]]:
    """Settings, versions and files in which the searches are not all alike, with the value of each search."""
    told = []
    for search in searches:
        facts = {f"-{name}": as_text(value) for name, value in search.flags.items() if name not in OF_THE_RUN}
        facts |= {name: str(search.details.get(name) or "")[:12] for name in ("version", "revision")}
        facts |= {f"SHA-256 of {name}": one["sha256"][:16] for name, one in search.details.get("files", {}).items()}
        told.append({**facts, "hash of the input": search.source_row["hash"]})
    names = dict.fromkeys(name for facts in told for name in facts)
    rows = [(name, [facts.get(name, "") for facts in told]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
