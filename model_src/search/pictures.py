"""The picture of a search: what was accepted, and the front."""

from pathlib import Path
from typing import TYPE_CHECKING

from model_src.files import atomic_write
from model_src.search.objectives import FLOPS, Objective, Window
from model_src.search.pareto import stairs
from model_src.search.report import accuracy
from model_src.search.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

Scale = tuple[float, float] | None  # see `Scorer`


def draw_pareto(result: SearchResult, path: Path) -> None:
    """Write a picture of every accepted network and the front over costs and what they are ranked by; an SVG beside.

    There is a panel for each objective, in which a line joins the networks that none beats in this cost alone. What
    they are ranked by is in percent of accuracy where it is known, otherwise in the unit of the score; where measured
    networks have corrected the scores, in points of accuracy above the input.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    corrected = result.lesson is not None and result.lesson.correction is not None
    scale, count = None if corrected else result.scorer.accuracy_scale, result.goal.n_objectives
    figure = Figure(figsize=(1 + 6 * count, 5), dpi=120, layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    shows_means = not corrected and any(one.merit != one.score for one in (result.source, *result.front))
    dots = [_draw_panel(axes, result, at, scale, shows_means) for at, axes in enumerate(panels)]
    label = "predicted score" if scale is None else "predicted accuracy (%)"
    if corrected:
        label = "gain that measured networks let expect\n(points) - caution × deviation"
    elif shows_means:
        label += " - caution × deviation"
    panels[0].set_ylabel(label)
    panels[0].legend(loc="best")
    name = result.source.graph.name[:60].encode(errors="replace").decode()
    figure.suptitle(name, parse_math=False, fontsize="large")
    figure.colorbar(dots[0], ax=panels, label="iteration", ticks=MaxNLocator(integer=True))
    with atomic_write(path) as file:
        FigureCanvasAgg(figure).print_png(file)
    with atomic_write(path.with_suffix(".svg")) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})


def _draw_panel(axes: "Axes", result: SearchResult, at: int, scale: Scale, shows_means: bool) -> "PathCollection":
    """The networks over one objective; the dots of the accepted ones, whose colours are iterations."""
    source, front, window = result.source, result.front, result.goal.windows[at]
    merits, *costs, iterations = zip(*result.visited, strict=True)
    shown = [_on_axis(merit, scale) for merit in merits]
    dots = axes.scatter(costs[at], shown, c=iterations, cmap="viridis", s=8, alpha=0.5, linewidths=0, label="accepted")
    xs, ys = [one.costs[at] for one in front], [_on_axis(one.merit, scale) for one in front]
    edge = stairs([one.merit for one in front], xs)
    axes.step([xs[i] for i in edge], [ys[i] for i in edge], where="post", color="#E24A33")
    axes.plot(xs, ys, "o", color="#E24A33", ms=4, label="front")
    for rank, place in enumerate(zip(xs, ys, strict=True)):
        axes.annotate(str(rank), place, (0, 5), textcoords="offset points", ha="center", fontsize=7)
    _draw_input(axes, source.costs[at], _on_axis(source.merit, scale), window)
    if shows_means:
        means = [_on_axis(one.score, scale) for one in (source, *front)]
        xs = [source.costs[at], *xs]
        axes.scatter(xs, means, s=24, facecolors="none", edgecolors="#555555", label="without caution")
    axes.set_xlabel(_axis_label(window.objective))
    return dots


def _draw_input(axes: "Axes", cost: float, merit: float, window: Window) -> None:
    """The input with lines through it, and the window that results lie in, shaded; the view stays where it is."""
    limits = axes.get_xlim()
    low, high = (window.source * (1 - percent / 100) for percent in (window.max_decrease, window.min_decrease))
    axes.axvspan(max(low, limits[0]), min(high, limits[1]), color="#888888", alpha=0.08, lw=0, label="window")
    axes.set_xlim(limits)
    axes.axvline(cost, color="black", lw=0.6, ls=":")
    axes.axhline(merit, color="black", lw=0.6, ls=":")
    axes.scatter([cost], [merit], marker="*", s=160, color="black", zorder=3, label="input")


def _on_axis(score: float, scale: Scale) -> float:
    return score if scale is None else accuracy(score, scale)


def _axis_label(objective: Objective) -> str:
    return "FLOPs (millions)" if objective is FLOPS else objective.label
