"""The picture of a search: what was accepted, and the front."""

from pathlib import Path

from model_src.files import atomic_write
from model_src.search.objectives import FLOPS, Objective
from model_src.search.report import accuracy
from model_src.search.result import SearchResult


def draw_pareto(result: SearchResult, path: Path) -> None:
    """Write a picture of every accepted network and the front over cost and what they are ranked by.

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
    axes.scatter(
        [source.cost], [_on_axis(source.merit, scale)], marker="*", s=160, color="black", zorder=3, label="input"
    )
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


def _on_axis(score: float, scale: tuple[float, float] | None) -> float:
    return score if scale is None else accuracy(score, scale)


def _axis_label(objective: Objective) -> str:
    return "FLOPs (millions)" if objective is FLOPS else f"{objective.title} ({objective.unit})"
