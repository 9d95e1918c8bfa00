"""What a search found, as rows and as text."""

import math
from collections.abc import Sequence

from model_src.comp_graph.tf_comp_graph_utils import parameter_count
from model_src.search.objectives import Goal, Window
from model_src.search.pareto import Individual
from model_src.search.result import SearchResult
from model_src.search.result_folder import rank_name
from model_src.search.workers import Scorer

_OWN_COLUMNS = ("sd", "change_percent")  # behind `score_`

Row = dict[str, str | int]


def pareto_rows(result: SearchResult) -> list[Row]:
    """One row per result, the input first; changes are relative to the input.

    The published columns come first, then those of objectives other than FLOPs (the value and its change in percent),
    then what is known of the prediction: deviation, prediction of the last swap's own split, accuracy and its deviation
    in percent, parameters, swaps from the input, share (0 to 1) of pieces that networks have from which the predictors
    learnt, score of every predictor; where the input came with weights, how many layers inherit, how many do not, and
    how far the output is from the input's before any training (the difference's norm over the norm of the input's);
    where networks were measured, the accuracy in percent and its change in points.
    What is not known is empty.
    """
    source = result.source
    networks = [("input", "", source, source.graph)]
    networks += [(str(one.rank), rank_name(one.rank), one.found, one.graph) for one in result.networks]
    return [
        {
            "rank": rank,
            "file": file,
            "score": f"{found.score:.6f}",
            "score_change_percent": f"{result.goal.score_gain(found.score):.4f}",
            "mflops": f"{found.mflops:.6f}",
            "mflops_change_percent": change_cell(result.goal.windows[result.goal.flops], found.mflops),
            "nodes": graph.n_nodes,
            "nodes_change": graph.n_nodes - source.graph.n_nodes,
            "iteration": found.iteration,
            "hash": found.identity,
            **_other_objectives(result.goal, found),
            **prediction_cells(found, result.scorer),
            "params": parameter_count(graph),
            "swaps": found.n_swaps,
            "known_share": _or_empty(found.rating.known_share if found.rating else math.nan),
            **member_cells(found, result.scorer),
            **_measured_cells(result, found),
            **inherited,
        }
        for (rank, file, found, graph), inherited in zip(networks, _inherited_cells(result), strict=True)
    ]


def _inherited_cells(result: SearchResult) -> list[Row]:
    """Layers that have the input's weights, those that do not, and what comes of it, where the input came with any."""
    if result.weights is None:
        return [{}] * (1 + len(result.networks))
    source: Row = {"inherited": len(result.weights), "not_inherited": 0, "output_distance": _or_empty(0.0)}
    found = [one.inherited for one in result.networks if one.inherited]
    rows: list[Row] = [
        {"inherited": len(one.weights), "not_inherited": len(one.new), "output_distance": _or_empty(distance)}
        for one, distance in zip(found, result.distances, strict=True)
    ]
    return [source, *rows]


def _measured_cells(result: SearchResult, found: Individual) -> Row:
    """Measured accuracy and its change against the input, in percent and in points; nothing where none is measured."""
    if not result.measured:
        return {}
    accuracy, start = (result.measured.get(one.identity, math.nan) for one in (found, result.source))
    return {"measured": _or_empty(100 * accuracy), "measured_change": _or_empty(100 * (accuracy - start))}


def change_cell(window: Window, value: float) -> str:
    """In percent of the input's value."""
    return f"{0 - window.decrease(value):.4f}"


def _other_objectives(goal: Goal, found: Individual) -> Row:
    cells: Row = {}
    for position, (window, cost) in enumerate(zip(goal.windows, found.costs, strict=False)):
        if position != goal.flops:
            column = window.objective.column
            cost = math.nan if found.is_estimated and window.objective.is_measured else cost
            change = "" if math.isnan(cost) else change_cell(window, cost)
            cells |= {column: _or_empty(cost), f"{column}_change_percent": change}
    return cells


def prediction_cells(found: Individual, scorer: Scorer) -> Row:
    """What is known of a network's prediction; accuracies are in percent and clipped to what there can be."""
    sd, scale = found.rating.sd if found.rating else math.nan, scorer.accuracy_scale
    return {
        "score_sd": _or_empty(sd),
        "prescreen_score": f"{found.prescreen_score:.6f}",
        "accuracy": _or_empty(accuracy(found.score, scale)),
        "accuracy_sd": "" if scale is None else _or_empty(100 * scale[1] * sd),
    }


def member_cells(found: Individual, scorer: Scorer) -> Row:
    """The score of every predictor, where a network was scored as a whole."""
    if not found.rating:
        return {}
    cells = zip(scorer.names, found.rating.members, strict=True)
    return {f"score_{name}{'_' * (name in _OWN_COLUMNS)}": f"{score:.6f}" for name, score in cells}


def accuracy(score: float, scale: tuple[float, float] | None) -> float:
    """Accuracy in percent, from 0 to 100; nan where no scale is known."""
    return math.nan if scale is None else 100 * min(max(scale[0] + scale[1] * score, 0.0), 1.0)


def _or_empty(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def history_rows(result: SearchResult) -> list[Row]:
    """One row per network that was scored as a whole, the input first, in the order of the search."""
    return [
        {
            "iteration": one.iteration,
            "hash": one.identity,
            "parent": one.origin.parent.identity if one.origin else "",
            "score": f"{one.score:.6f}",
            **prediction_cells(one, result.scorer),
            "merit": f"{one.merit:.6f}",
            "accepted": int(result.goal.keeps(one.merit, one.costs)),
            "mflops": f"{one.mflops:.6f}",
            **_other_objectives(result.goal, one),
            "swaps": one.n_swaps,
            "known_share": _or_empty(one.rating.known_share if one.rating else math.nan),
            **member_cells(one, result.scorer),
        }
        for one in (result.source, *result.history)
    ]


def frontier_table(result: SearchResult, rows: Sequence[Row]) -> str:
    """The table for the terminal: predicted accuracy where it is known, otherwise standard deviations.

    Args:
        result: The search.
        rows: See `pareto_rows`.
    """
    goal, found = result.goal, [result.source, *(one.found for one in result.networks)]
    costs = [window.objective for window in (goal.windows[goal.flops], *goal.windows[: goal.n_objectives])]
    units = dict.fromkeys((cost.column, cost.unit) for cost in costs)
    columns = [
        ["rank", *(str(row["rank"]) for row in rows)],
        *_measured_columns(rows),
        *_prediction_columns(found, result.scorer.accuracy_scale),
        *(cells for column, unit in units for cells in (_cost_cells(rows, column, unit), _change_cells(rows, column))),
        *([] if "params" in {column for column, _ in units} else [_cost_cells(rows, "params", "parameters")]),
        ["nodes", *(str(row["nodes"]) for row in rows)],
        ["iteration", *(str(row["iteration"]) for row in rows)],
        ["swaps", *(str(row["swaps"]) for row in rows)],
        *_inherited_columns(rows),
    ]
    widths = [max(map(len, cells)) for cells in columns]
    lines = zip(*columns, strict=True)
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([*text, *_legend(found), *([f"measured: {result.lesson}"] if result.lesson else [])])


def _inherited_columns(rows: Sequence[Row]) -> list[list[str]]:
    if "inherited" not in rows[0]:
        return []
    layers = [(int(row["inherited"]), int(row["not_inherited"])) for row in rows]
    distances = [f"{float(row['output_distance']):.2f}" if row["output_distance"] else "-" for row in rows]
    return [
        ["layers inherited", *(f"{kept} of {kept + new}" for kept, new in layers)],
        ["output differs by", *distances],
    ]


def _measured_columns(rows: Sequence[Row]) -> list[list[str]]:
    if "measured" not in rows[0]:
        return []
    accuracies = [f"{float(row['measured']):.2f} %" if row["measured"] else "-" for row in rows]
    changes = [f"{float(row['measured_change']):+.2f}" if row["measured_change"] else "" for row in rows]
    return [["measured", *accuracies], ["points", *changes]]


def _prediction_columns(found: Sequence[Individual], scale: tuple[float, float] | None) -> list[list[str]]:
    """Prediction with its deviation, and the change against the input with a mark where predictors disagree on it."""
    source, *_ = found
    title, unit, change, digits = (
        ("predicted accuracy", " %", "points", 2) if scale else ("predicted score", "", "change", 3)
    )
    values = [accuracy(one.score, scale) if scale else one.score for one in found]
    deviation = 100 * scale[1] if scale else 1.0
    predicted = [title]
    for one, value in zip(found, values, strict=True):
        sd = deviation * one.rating.sd if one.rating else math.nan
        predicted.append(f"{value:.{digits}f}" + ("" if math.isnan(sd) else f" ± {sd:.{digits}f}") + unit)
    changes = [f"{value - values[0]:+.{digits}f}{_mark(one, source)}" for one, value in zip(found, values, strict=True)]
    return [predicted, [change, *changes]]


def _mark(one: Individual, source: Individual) -> str:
    """A question mark where predictors disagree on whether a network is better than the input."""
    if not one.rating or not source.rating or one is source:
        return " "
    gains = [own > other for own, other in zip(one.rating.members, source.rating.members, strict=True)]
    return " " if all(gains) or not any(gains) else "?"


def _legend(found: Sequence[Individual]) -> list[str]:
    source, *results = found
    lines = []
    if any(one.rating and not math.isnan(one.rating.sd) for one in found):
        lines.append("±: deviation, judged by how far the predictors are from each other")
    if any(_mark(one, source) == "?" for one in results):
        lines.append("?: the predictors disagree on whether it is better than the input")
    return lines


def _cost_cells(rows: Sequence[Row], column: str, unit: str) -> list[str]:
    form = ",.0f" if column == "params" else ".2f"
    return [unit, *(format(float(row[column]), form) if row[column] else "-" for row in rows)]


def _change_cells(rows: Sequence[Row], column: str) -> list[str]:
    cells = [str(row[f"{column}_change_percent"]) for row in rows]
    return ["change", *(f"{float(cell):+.2f} %" if cell else "" for cell in cells)]


def summary(result: SearchResult) -> str:
    """How the search went, a line each: whether it was cut short, how much it looked at, why it found nothing."""
    lines = ["Interrupted: these are the results so far."] if result.interrupted else []
    if result.out_of_time:
        lines.append("-max_minutes is over: these are the results so far.")
    rescored = f", {len(result.history):,} of them as whole networks" if result.history else ""
    accepted = result.n_distinct - 1
    lines.append(f"{result.n_scored:,} networks scored in {result.seconds:.0f} s{rescored}, {accepted:,} accepted")
    return "\n".join([*lines, *_why_nothing(result)])


def _why_nothing(result: SearchResult) -> list[str]:
    """Where a search found nothing: what became of the networks, and what to change."""
    if result.networks:
        return []
    outside, inside = result.n_outside, len(result.history)
    if inside:
        better = "better, with costs as measured inside of it" if result.goal.estimates else "better"
        others = max(0, result.n_scored - outside - inside)
        where = f"{outside:,} lay outside of it, {others:,} were not among the most promising, "
        where += f"of the other {inside:,}, scored as a whole, none is {better}"
    else:
        where = f"{outside:,} were better but outside of it, the other {result.n_scored - outside:,} were not"
    return [
        f"No network is better than the input inside the window: {where}.",
        "Try a wider window (-min_decrease_percent, -max_decrease_percent), -max_score_drop, or a higher -epoch.",
    ]
