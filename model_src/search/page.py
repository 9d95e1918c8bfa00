"""The page about a search, `report.html`: one file that opens from disk, without a network."""

import re
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from model_src.comp_graph.drawing import describe
from model_src.comp_graph.ops import OPERATIONS
from model_src.files import save_text
from model_src.search import charts
from model_src.search.change_drawings import STEP_COLOURS
from model_src.search.children import Swap
from model_src.search.genealogy import Step
from model_src.search.network_pictures import header
from model_src.search.page_tables import counted, iteration_table, propagation_table, results_table
from model_src.search.points import Point, Progress, View, progress, views_of
from model_src.search.repeating import repeating_command, settings
from model_src.search.stored import StoredNetwork, StoredSearch

MOST_DRAWN = 4_500_000  # characters of drawings in a page; those of later ranks lie beside it


def render(template: str, **content: Any) -> str:
    """A page from a template of this package; what goes in is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("model_src.search"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(step_colours=STEP_COLOURS, **content)


def write_report(search: StoredSearch, drawings: Mapping[int, str]) -> None:
    """Write the page about a search into its folder.

    Args:
        search: The search.
        drawings: Rank -> SVG of what changed; it is trusted, so never from a file.

    Raises:
        InputError: A file of the folder is damaged.
        OSError: The page cannot be written.
    """
    views = views_of(search)
    view, steps = views[0], progress(search, views)
    points = [view.source, *view.points]
    page = render(
        "report.html",
        name=search.folder.path.resolve().name,
        summary=_summary(search, view),
        details=search.details,
        panels=[_panel(one, chart_width(len(views))) for one in views],
        facts=_facts(search, points),
        colours=charts.colours(1 + max(point.iteration for point in points)),
        results=results_table(search),
        networks=_networks(search, drawings),
        iterations=iteration_table(search, view, steps),
        lines=progress_charts([steps], view.label),
        propagation=propagation_table(search),
        command=repeating_command(search.flags),
        settings=settings(search.flags),
    )
    save_text(page, search.folder.report_path)


def _summary(search: StoredSearch, view: View) -> list[str]:
    """What the search started from and what came of it, in sentences."""
    title, *lines = header(search.source_row, search.source_row)
    name = "" if search.source is None else f" {search.source.name[:60]}"
    told = [f"{title}{name}: {'; '.join(lines)}."]
    if search.turns:
        n_scored = sum(one.n_scored for turn in search.turns for one in turn.mutations)
        seconds = search.turns[-1].seconds
        iterations = f"{len(search.turns)} iterations, which took {seconds:,.0f} s"
        told.append(f"{n_scored:,} networks were scored in {iterations}.")
    measured_by = search.details.get("measured_by")
    if isinstance(measured_by, dict):
        told += [f"{column}, where it is known, was measured by {setting}." for column, setting in measured_by.items()]
    if view.results:
        best = max(point.value for point in view.results)
        told.append(
            f"Results: {len(view.results)}. Their best {view.label}: {best:.3f}; the input's: {view.source.value:.3f}."
        )
    return told


def chart_width(count: int) -> int:
    """Of a chart of networks, where so many stand beside each other."""
    return 760 if count == 1 else 560


def _panel(view: View, width: int) -> dict[str, Any]:
    """The networks over an objective: where they lie, and the measured ones of them."""
    points = [view.source, *view.points]
    return {
        "view": view,
        "points": sorted(enumerate(points), key=lambda pair: pair[1].rank is not None),  # results on top
        "chart": points_chart(points, view, width),
        "measured": _measured_chart(view, width),
    }


def points_chart(shown: Sequence[Point], view: View, width: int) -> charts.Canvas:
    """Where points lie, with the deviations of results, and with the ends of a window that is not much wider."""
    costs = [point.cost for point in shown]
    room = 0.5 * (max(costs) - min(costs)) or 1.0
    low, high = min(costs) - room, max(costs) + room
    costs += [min(max(end, low), high) for end in view.window or ()]
    values = [point.value for point in shown]
    values += [point.value + sign * point.deviation for point in shown if point.rank is not None for sign in (-1, 1)]
    return charts.canvas((view.objective.label, costs), (view.label, values), width, 440)


def _measured_chart(view: View, width: int) -> charts.Canvas | None:
    """Where measured accuracies lie; None where there are none."""
    shown = [point for point in (view.source, *view.points) if not isnan(point.measured)]
    if not shown:
        return None
    costs, values = [point.cost for point in shown], [point.measured for point in shown]
    return charts.canvas((view.objective.label, costs), ("measured accuracy (%)", values), width, 300)


def progress_charts(searches: Sequence[Sequence[Progress]], label: str) -> list[tuple[charts.Canvas, list[str]]]:
    """Charts of the hypervolume and of the best value by iteration, with a line per search, as SVG has its points."""
    made = []
    for title, attribute in (("hypervolume", "hypervolume"), (f"best {label}", "best")):
        lines = [[(step.iteration, getattr(step, attribute)) for step in steps] for steps in searches]
        pairs = [pair for line in lines for pair in line]
        numbers, values = [x for x, _ in pairs], [y for _, y in pairs]
        canvas = charts.canvas(("iteration", numbers), (title, values), 460, 300, counts=True)
        made.append((canvas, [" ".join(f"{canvas.x(x)},{canvas.y(y)}" for x, y in line) for line in lines]))
    return made


def _facts(search: StoredSearch, points: Sequence[Point]) -> list[dict[str, Any]]:
    """What the page tells of every point that is pointed at or clicked."""
    origins = {one.identity: one.origin for turn in search.turns for one in turn.rescored if one.origin}
    found = []
    for point in points:
        rank = {None: "", -1: "input"}.get(point.rank, str(point.rank))
        title, *lines = header({**point.row, "rank": rank}, search.source_row)
        lines.append(f"{point.row['swaps']} swaps from the input" if point.row.get("swaps") else "")
        if origin := origins.get(point.row["hash"]):
            inserted = counted(node.operation.name for node in origin.swap.segment.graph.nodes)
            lines.append(f"last swap: {len(origin.swap.indices)} nodes out; in: {inserted}")
        if not point.is_accepted:
            lines.append("not accepted")
        found.append(
            {
                "title": title if rank else f"Network of iteration {point.iteration}",
                "lines": [line for line in lines if line],
                "rank": point.rank,
                "hash": point.row["hash"],
                "parent": point.row.get("parent", ""),
            }
        )
    return found


def _networks(search: StoredSearch, drawings: Mapping[int, str]) -> list[dict[str, Any]]:
    """The results with their drawings and genealogies; drawings as long as there is room for them."""
    found, room = [], MOST_DRAWN
    for one in search.results:
        drawing = _inline(drawings.get(one.rank, ""))
        room -= len(drawing)
        found.append(
            {
                "rank": one.rank,
                "header": header(one.row, search.source_row),
                "drawing": drawing if room >= 0 else "",
                "files": _files(search, one),
                "steps": [_told(step, number) for number, step in enumerate(search.steps.get(one.rank, ()))],
            }
        )
    return found


def _inline(svg: str) -> str:
    """An SVG as a part of a page: without the head of its file, and without ids, which pages have once."""
    return re.sub(r' id="[^"]*"', "", svg[svg.find("<svg") :]) if svg else ""


def _files(search: StoredSearch, one: StoredNetwork) -> list[str]:
    folder = search.folder
    paths = [one.path, folder.rank_picture(one.rank), folder.mutant_picture(one.rank), folder.changes_picture(one.rank)]
    return [path.name for path in paths if path.exists()]


def _name(label: str) -> str:
    operation = OPERATIONS.find(label)
    return operation.name if operation else label


def _told(step: Step, number: int) -> dict[str, Any]:
    """A swap as a row of a genealogy."""
    return {
        "number": number + 1,
        "colour": STEP_COLOURS[number % len(STEP_COLOURS)],
        "iteration": step["iteration"],
        "removed": counted(_name(label) for _, label in step["removed"]),
        "inserted": counted(describe(node) for node in Swap.from_state_dict(step["swap"]).segment.graph.nodes),
        "parent_score": step["parent_score"],
        "score": step["score"],
    }
