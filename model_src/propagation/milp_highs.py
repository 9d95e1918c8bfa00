"""The resolution problem solved in-process: sizes that must be equal are one unknown with a short list of values.

Every size in the Pyomo model equals another one, or is one of a node's few options, or is a sum. Merging the equal ones
and dropping values that no solution can have (exactly, axis by axis) settles most problems; HiGHS gets what is left.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np

from model_src.comp_graph.tf_comp_graph import Shape
from model_src.propagation.problem import (
    AXES,
    CHANGE,
    INFEASIBLE,
    LARGEST,
    MAX_NODES,
    MAX_SECONDS,
    OPTIMAL,
    SMALLEST,
    C,
    H,
    ResolutionProblem,
    W,
    smallest_stride,
)

Ends = tuple[int, int, int]  # the unknowns of (H, W, C)


@dataclass
class _System:
    """The unknowns of a problem.

    Attributes:
        gives: Per node, the unknowns of its output (H, W, C).
        reads: Per node, the unknowns of its input (H, W, C).
        values: Unknown -> the values that it may have.
        strided: Pairs (input, output) of unknowns that an integer stride must lead from and to.
        sums: Triples (terms, constant, sum) of unknowns, each after those that its terms are sums of.
    """

    gives: list[Ends]
    reads: list[Ends]
    values: dict[int, set[int]]
    strided: list[tuple[int, int]]
    sums: list[tuple[list[int], int, int]]


def solve_in_process(
    problem: ResolutionProblem, max_nodes: int = MAX_NODES, max_seconds: float = MAX_SECONDS
) -> tuple[str, list[Shape] | None]:
    """Solve a problem to proven optimality.

    Args:
        problem: The problem.
        max_nodes: Nodes of the search tree that HiGHS may visit.
        max_seconds: Seconds that HiGHS may take.

    Returns:
        `optimal` and the output (H, W, C) of every node; or `infeasible`, or what else stopped HiGHS, and None.
    """
    system = _system(problem)
    if not _narrow(system):
        return INFEASIBLE, None
    status = OPTIMAL
    if any(len(values) > 1 for values in system.values.values()):
        status = _choose_with_highs(problem, system, max_nodes, max_seconds)
    if status != OPTIMAL:
        return status, None
    values = system.values
    return status, [(min(values[h]), min(values[w]), min(values[c])) for h, w, c in system.gives]


def _system(problem: ResolutionProblem) -> _System:
    count = len(problem.kinds)
    merged = list(range(6 * count))  # axis by axis: outputs of all nodes, then inputs

    def find(size: int) -> int:
        while merged[size] != size:
            merged[size] = merged[merged[size]]
            size = merged[size]
        return size

    for axis in AXES:
        start = 2 * count * axis
        for node in range(count):
            if problem.passes_on(node, axis):
                merged[find(start + count + node)] = find(start + node)
            if not problem.sums(node, axis):
                for source in problem.predecessors[node]:
                    merged[find(start + count + node)] = find(start + source)

    def ends(first: int) -> list[Ends]:
        nodes = range(first, first + count)
        return [(find(node), find(2 * count + node), find(4 * count + node)) for node in nodes]

    gives, reads = ends(0), ends(count)
    return _System(
        gives,
        reads,
        _allowed_values(problem, gives, reads),
        sorted({(reads[n][k], gives[n][k]) for n in range(count) if problem.kinds[n] in CHANGE for k in (H, W)}),
        [
            (
                [gives[source][C] for source in problem.predecessors[n]],
                sum(s[C] for s in problem.outside[n]),
                gives[n][C],
            )
            for n in problem.order
            if problem.sums(n, C)
        ],
    )


def _allowed_values(problem: ResolutionProblem, gives: list[Ends], reads: list[Ends]) -> dict[int, set[int]]:
    """What ends and options leave of the range of every unknown; sums of others are not in it."""
    values: dict[int, set[int]] = {}

    def restrict(unknown: int, sizes: Iterable[int]) -> None:
        sizes = {size for size in sizes if SMALLEST <= size <= LARGEST}
        values[unknown] = values[unknown] & sizes if unknown in values else sizes

    for node in range(len(problem.kinds)):
        for axis in AXES:
            options = problem.options(node, axis)
            if options is not None:
                restrict(gives[node][axis], options)
            if node in problem.required:
                restrict(gives[node][axis], (problem.required[node][axis],))
            if not problem.sums(node, axis):
                for shape in problem.outside[node]:
                    restrict(reads[node][axis], (shape[axis],))
    return values


def _narrow(system: _System) -> bool:
    """Drop values that no solution can have, until nothing changes; False if an unknown has none left."""
    values = system.values
    for terms, constant, total in system.sums:
        _narrow_sum(values, terms, constant, total)
    before = None
    while before != (before := sum(map(len, values.values()))):
        for source, target in system.strided:
            pairs = [(a, b) for a in values[source] for b in values[target] if smallest_stride(a, b)]
            values[source], values[target] = {a for a, _ in pairs}, {b for _, b in pairs}
        for terms, constant, total in system.sums:
            _narrow_sum(values, terms, constant, total)
        if not all(values.values()):
            return False
    return True


def _narrow_sum(values: dict[int, set[int]], terms: list[int], constant: int, total: int) -> None:
    upto = [{constant}]  # possible sums of the first terms
    for term in terms:
        upto.append({a + b for a in upto[-1] for b in values[term]})
    possible = {size for size in upto[-1] if SMALLEST <= size <= LARGEST}
    values[total] = possible & values.get(total, possible)
    wanted = values[total]  # possible sums of the constant and the terms so far, seen from the end
    for term, possible in zip(reversed(terms), reversed(upto[:-1]), strict=True):
        pairs = [(w - b, b) for w in wanted for b in values[term] if w - b in possible]
        wanted, values[term] = {a for a, _ in pairs}, {b for _, b in pairs}


@dataclass
class _Model:
    """A linear model that grows: 0/1 columns and non-negative ones, rows low <= sum of coefficient * column <= high."""

    costs: list[int] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    rows: list[tuple[dict[int, int], float, float]] = field(default_factory=list)

    def column(self, cost: int, integer: bool) -> int:
        """Add a column; its index."""
        self.costs.append(cost)
        self.integer.append(integer)
        return len(self.costs) - 1

    def row(self, entries: Iterable[tuple[int, int]], low: float, high: float) -> None:
        """Add a row of (column, coefficient) entries; those of one column are added up."""
        merged: dict[int, int] = defaultdict(int)
        for column, coefficient in entries:
            merged[column] += coefficient
        self.rows.append((merged, low, high))

    def run(self, max_nodes: int, max_seconds: float) -> tuple[str, Sequence[float]]:
        """HiGHS's status, lower case, and the columns' values."""
        highs, count = highspy.Highs(), len(self.costs)
        options = {
            "output_flag": False,
            "threads": 1,
            "mip_rel_gap": 0.0,
            "mip_max_nodes": max_nodes,
            "time_limit": float(max_seconds),
        }
        for option, value in options.items():
            highs.setOptionValue(option, value)
        kinds = [
            highspy.HighsVarType.kInteger if binary else highspy.HighsVarType.kContinuous for binary in self.integer
        ]
        highs.addVars(count, np.zeros(count), np.where(self.integer, 1.0, math.inf))
        highs.changeColsCost(count, np.arange(count), np.array(self.costs, dtype=float))
        highs.changeColsIntegrality(count, np.arange(count), np.array(kinds))
        for entries, low, high in self.rows:
            highs.addRow(low, high, len(entries), list(entries), list(entries.values()))
        if highs.run() == highspy.HighsStatus.kError:
            # HiGHS refuses to run with another number of threads than the process began with.
            highs.resetGlobalScheduler(True)
            highs.run()
        return highs.modelStatusToString(highs.getModelStatus()).lower(), highs.getSolution().col_value


def _choose_with_highs(problem: ResolutionProblem, system: _System, max_nodes: int, max_seconds: float) -> str:
    """Leave every unknown the one value that it has in an optimum; HiGHS's status."""
    model = _Model()
    picks = _add_choices(model, problem, system)
    _add_changes(model, problem, system, picks)
    status, solution = model.run(max_nodes, max_seconds)
    if status == OPTIMAL:
        for unknown, columns in picks.items():
            system.values[unknown] = {max(columns, key=lambda value: solution[columns[value]])}
    return status


def _add_choices(model: _Model, problem: ResolutionProblem, system: _System) -> dict[int, dict[int, int]]:
    """One 0/1 column per open unknown and value, exactly one of them 1; unknown -> value -> column."""
    costs = _costs(problem, system)
    picks: dict[int, dict[int, int]] = {}
    for unknown, values in system.values.items():
        if len(values) > 1:
            columns = picks[unknown] = {
                value: model.column(costs(unknown, value), integer=True) for value in sorted(values)
            }
            model.row([(column, 1) for column in columns.values()], 1, 1)
    for source, target in system.strided:
        if source in picks and target in picks:
            for size, column in picks[source].items():
                fitting = [(other, -1) for out, other in picks[target].items() if smallest_stride(size, out)]
                model.row([(column, 1), *fitting], -math.inf, 0)
    for terms, constant, total in system.sums:
        entries, known = _sum_of_sizes(system, picks, terms)
        minus, rest = _sum_of_sizes(system, picks, [total])
        if entries or minus:
            model.row([*entries, *((column, -size) for column, size in minus)], *[rest - known - constant] * 2)
    return picks


def _costs(problem: ResolutionProblem, system: _System) -> Callable[[int, int], int]:
    """What it costs that an unknown has a value, apart from the total change of a node's size."""
    slopes: dict[int, int] = defaultdict(int)
    losses: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for node, weight in enumerate(problem.weights):
        gives, reads, kind = system.gives[node], system.reads[node], problem.kinds[node]
        if kind in CHANGE:
            losses[gives[C]].append((weight, problem.resolutions[node][5]))
        for axis in AXES:
            if kind in CHANGE and axis != C:
                slopes[reads[axis]] += weight
                slopes[gives[axis]] -= weight
            elif kind not in CHANGE:
                slopes[gives[axis]] += weight
    return lambda unknown, value: (
        slopes[unknown] * value + sum(w * max(0, before - value) for w, before in losses[unknown])
    )


def _add_changes(model: _Model, problem: ResolutionProblem, system: _System, picks: dict[int, dict[int, int]]) -> None:
    """The absolute change of H + W + C of every node that may choose, as a column."""
    for node, weight in enumerate(problem.weights):
        if weight and problem.kinds[node] in CHANGE:
            entries, known = _sum_of_sizes(system, picks, system.gives[node])
            rest = sum(problem.resolutions[node][1::2]) - known
            if entries:
                change = model.column(weight, integer=False)
                model.row([*entries, (change, 1)], rest, math.inf)
                model.row([*entries, (change, -1)], -math.inf, rest)


def _sum_of_sizes(
    system: _System, picks: dict[int, dict[int, int]], unknowns: Iterable[int]
) -> tuple[list[tuple[int, int]], int]:
    """A sum of unknowns as (column, size) entries and a constant."""
    entries, constant = [], 0
    for unknown in unknowns:
        if unknown in picks:
            entries += [(column, size) for size, column in picks[unknown].items()]
        else:
            constant += min(system.values[unknown])
    return entries, constant
