"""The picture of a search: what was accepted, and the front."""

from pathlib import Path
from typing import TYPE_CHECKING

from model_src.files import atomic_write
from model_src.search.objectives import FLOPS, Objective, Window
from model_src.search.report import accuracy
from model_src.search.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_pareto(result: SearchResult, path: Path) -> None:
    """Write a picture of every accepted network and the front over cost and what they are ranked by; an SVG beside.

    That is in percent of accuracy where it is known, otherwise in the unit of the score; where measured networks have
    corrected the scores, in points of accuracy above the input.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    corrected = result.lesson is not None and result.lesson.correction is not None
    source, scale = result.source, None if corrected else result.scorer.accuracy_scale
    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    merits, costs, iterations = zip(*result.visited, strict=True)
    shown = [_on_axis(merit, scale) for merit in merits]
    dots = axes.scatter(costs, shown, c=iterations, cmap="viridis", s=8, alpha=0.5, linewidths=0, label="accepted")
    front = sorted(result.front, key=lambda one: one.cost)
    xs, ys = [one.cost for one in front], [_on_axis(one.merit, scale) for one in front]
    axes.step(xs, ys, "o-", where="post", color="#E24A33", ms=4, label="front")
    ranks = {one.identity: rank for rank, one in enumerate(result.front)}
    for one, x, y in zip(front, xs, ys, strict=True):
        axes.annotate(str(ranks[one.identity]), (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=7)
    _draw_input(axes, source.cost, _on_axis(source.merit, scale), result.goal.windows[0])
    label = "predicted score" if scale is None else "predicted accuracy (%)"
    if corrected:
        label = "gain that measured networks let expect (points) - caution × deviation"
    elif any(one.merit != one.score for one in (source, *front)):
        label += " - caution × deviation"
        means = [_on_axis(one.score, scale) for one in (source, *front)]
        axes.scatter([source.cost, *xs], means, s=24, facecolors="none", edgecolors="#555555", label="without caution")
    axes.set(xlabel=_axis_label(result.goal.windows[0].objective), ylabel=label)
    axes.set_title(source.graph.name[:60].encode(errors="replace").decode(), parse_math=False)
    axes.legend(loc="best")
    figure.colorbar(dots, label="iteration", ticks=MaxNLocator(integer=True))
    with atomic_write(path) as file:
        FigureCanvasAgg(figure).print_png(file)
    with atomic_write(path.with_suffix(".svg")) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})


def _draw_input(axes: "Axes", cost: float, merit: float, window: Window) -> None:
    """The input with lines through it, and the window that results lie in, shaded; the view stays where it is."""
    limits = axes.get_xlim()
    low, high = (window.source * (1 - percent / 100) for percent in (window.max_decrease, window.min_decrease))
    axes.axvspan(max(low, limits[0]), min(high, limits[1]), color="#888888", alpha=0.08, lw=0, label="window")
    axes.set_xlim(limits)
    axes.axvline(cost, color="black", lw=0.6, ls=":")
    axes.axhline(merit, color="black", lw=0.6, ls=":")
    axes.scatter([cost], [merit], marker="*", s=160, color="black", zorder=3, label="input")


def _on_axis(score: float, scale: tuple[float, float] | None) -> float:
    return score if scale is None else accuracy(score, scale)


def _axis_label(objective: Objective) -> str:
    return "FLOPs (millions)" if objective is FLOPS else f"{objective.title} ({objective.unit})"
