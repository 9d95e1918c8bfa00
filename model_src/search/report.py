"""What a search found, as rows and as text."""

from collections.abc import Callable, Sequence

from model_src.propagation.milp import Statistics
from model_src.search.objectives import Goal, Window
from model_src.search.pareto import Individual
from model_src.search.result_folder import rank_name
from model_src.search.session import SearchResult

Row = dict[str, str | int]


def pareto_rows(result: SearchResult) -> list[Row]:
    """One row per result, the input first; changes are relative to the input.

    The columns of objectives other than FLOPs come last: the value and its change in percent.
    """
    source = result.source
    networks = [("input", "", source, source.graph.n_nodes)]
    networks += [(str(one.rank), rank_name(one.rank), one.found, one.graph.n_nodes) for one in result.networks]
    return [
        {
            "rank": rank,
            "file": file,
            "score": f"{found.score:.6f}",
            "score_change_percent": f"{result.goal.score_gain(found.score):.4f}",
            "mflops": f"{found.mflops:.6f}",
            "mflops_change_percent": _change(result.goal.windows[result.goal.flops], found.mflops),
            "nodes": n_nodes,
            "nodes_change": n_nodes - source.graph.n_nodes,
            "iteration": found.iteration,
            "hash": found.identity,
            **_other_objectives(result.goal, found),
        }
        for rank, file, found, n_nodes in networks
    ]


def _change(window: Window, value: float) -> str:
    """In percent of the input's value."""
    return f"{0 - window.decrease(value):.4f}"


def _other_objectives(goal: Goal, found: Individual) -> Row:
    cells: Row = {}
    for position, (window, cost) in enumerate(zip(goal.windows, found.costs, strict=False)):
        if position != goal.flops:
            column = window.objective.column
            cells |= {column: f"{cost:.6f}", f"{column}_change_percent": _change(window, cost)}
    return cells


def frontier_table(rows: Sequence[Row], goal: Goal, accuracy_of: Callable[[float], float | None]) -> str:
    """The table for the terminal.

    Args:
        rows: See `pareto_rows`.
        goal: Of the search.
        accuracy_of: Turns a score into an accuracy (fraction), or None where the predictor cannot say.
    """
    costs = [window.objective for window in (goal.windows[goal.flops], *goal.windows[: goal.n_objectives])]
    units = dict.fromkeys((cost.column, cost.unit) for cost in costs)
    accuracies = [accuracy_of(float(row["score"])) for row in rows]
    columns = [
        ["rank", *(str(row["rank"]) for row in rows)],
        ["score", *(f"{float(row['score']):.4f}" for row in rows)],
        _change_cells(rows, "score"),
        *(cells for column, unit in units for cells in (_cost_cells(rows, column, unit), _change_cells(rows, column))),
        ["nodes", *(str(row["nodes"]) for row in rows)],
        ["iteration", *(str(row["iteration"]) for row in rows)],
    ]
    if any(accuracy is not None for accuracy in accuracies):
        columns.append(["accuracy", *("-" if one is None else f"{100 * one:.2f} %" for one in accuracies)])
    widths = [max(map(len, cells)) for cells in columns]
    lines = zip(*columns, strict=True)
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _cost_cells(rows: Sequence[Row], column: str, unit: str) -> list[str]:
    return [unit, *(f"{float(row[column]):.2f}" for row in rows)]


def _change_cells(rows: Sequence[Row], column: str) -> list[str]:
    return ["change", *(f"{float(row[f'{column}_change_percent']):+.2f} %" for row in rows)]


def mutation_text(result: SearchResult) -> str:
    """The published text report: every result against the input, counts and times."""
    source, goal = result.source, result.goal
    n_nodes = source.graph.n_nodes
    lines = [
        str([(one.found.score, one.found.mflops, one.found.iteration) for one in result.networks]),
        f"User cg perfs: Accuracy {source.score:.4f}, Flops {source.mflops:.4f}, Nodes {n_nodes}",
        f"Number of results: {len(result.networks)}",
    ]
    for one in result.networks:
        score, mflops = one.found.score, one.found.mflops
        lines.append(
            f"Rank {one.rank}: Accuracy {score:.4f}, Flops {mflops:.4f}, {one.graph.n_nodes} Nodes, "
            f"Iteration {one.found.iteration}, Delta Accuracy {goal.score_gain(score):.4f}%, "
            f"Delta Flops {_change(goal.windows[goal.flops], mflops)}%, Delta Nodes {one.graph.n_nodes - n_nodes}"
        )
    lines += [
        f"Total time: {result.seconds:.1f} s",
        *_propagation_lines(result.propagation),
        f"Total visited architectures: {len(result.visited)}",
        f"Visited architectures without repetition: {result.n_distinct}",
    ]
    return "\n".join(lines) + "\n"


def _propagation_lines(statistics: Statistics) -> list[str]:
    successes, failures = statistics.successes, statistics.failures
    lines = [
        f"Total calls to MILP: {statistics.calls}",
        f"MILP Success/Fails: {successes.count}/{failures.count}",
    ]
    if statistics.unproven:
        lines.append(f"MILP fails without proof: {statistics.unproven}")
    for name, tally in (("success", successes), ("fail", failures)):
        if tally.count > 1:
            lines.append(f"MILP {name} time: {1e3 * tally.mean:.3f} ± {1e3 * tally.deviation:.3f} ms")
    calls = max(statistics.calls, 1)
    for name, count in (("conv", statistics.conv), ("pool", statistics.pool), ("concat", statistics.concat)):
        lines.append(f"Average {name} nodes per call: {count / calls:.3f}")
    return lines
