"""The resolution problem as a Pyomo model: the readable definition, for any installed solver."""

import logging
from typing import Any

import pyomo.environ as pyo
from pyomo.common.log import LoggingIntercept

from model_src.comp_graph.tf_comp_graph import Shape
from model_src.files import InputError
from model_src.propagation.problem import (
    AXES,
    CHANGE,
    CONCAT,
    INFEASIBLE,
    KEEP,
    LARGEST,
    MAX_SECONDS,
    OPTIMAL,
    SMALLEST,
    C,
    H,
    ResolutionProblem,
    W,
)


def build_pyomo_model(problem: ResolutionProblem) -> pyo.ConcreteModel:
    """State the problem; the optimum's `size_out[node, axis]` are the output sizes.

    Variables, with axis 0, 1, 2 for H, W, C: `size_in`, `size_out` per node, `flow` per edge, `pick` (which option an
    output size is), `stride` (integer; only the picked option's is not 0), `loss` of channels and `change` of size.
    """
    model = pyo.ConcreteModel()
    nodes = range(len(problem.kinds))
    changing = [node for node in nodes if problem.kinds[node] in CHANGE]
    edges = [(source, node) for node in nodes for source in problem.predecessors[node]]
    options = {(n, k): values for n in nodes for k in AXES if (values := problem.options(n, k)) is not None}
    sized = [(n, k) for n in nodes for k in AXES if not problem.sums(n, k)]
    picks = [(n, k, t) for (n, k), values in options.items() for t in range(len(values))]

    model.size_in = pyo.Var(sized, domain=pyo.Integers, bounds=(SMALLEST, LARGEST))
    model.size_out = pyo.Var(nodes, AXES, domain=pyo.Integers, bounds=(SMALLEST, LARGEST))
    model.flow = pyo.Var(edges, AXES, domain=pyo.NonNegativeReals)
    model.pick = pyo.Var(picks, domain=pyo.Binary)
    model.stride = pyo.Var([pick for pick in picks if pick[1] != C], domain=pyo.NonNegativeIntegers)
    model.loss = pyo.Var(changing, domain=pyo.NonNegativeReals)
    model.change = pyo.Var(changing, domain=pyo.NonNegativeReals)

    model.rules = pyo.ConstraintList()
    _connect(model, problem, edges, nodes)
    largest = max((size for shapes in problem.outside for shape in shapes for size in shape[:C]), default=1)
    for (node, axis), values in options.items():
        _choose(model, node, axis, values, largest)
    for node in changing:
        before = problem.resolutions[node][1::2]
        difference = sum(model.size_out[node, axis] - before[axis] for axis in AXES)
        model.rules.add(model.size_out[node, C] - before[C] >= -model.loss[node])
        model.rules.add(difference <= model.change[node])
        model.rules.add(difference >= -model.change[node])
    model.cost = pyo.Objective(expr=_cost(model, problem), sense=pyo.minimize)
    return model


def _connect(model: pyo.ConcreteModel, problem: ResolutionProblem, edges: list[tuple[int, int]], nodes: range) -> None:
    """What one node gives, the next one reads; ends have given sizes."""
    rules = model.rules
    for source, node in edges:
        for axis in AXES:
            rules.add(model.flow[source, node, axis] == model.size_out[source, axis])
            if not problem.sums(node, axis):
                rules.add(model.flow[source, node, axis] == model.size_in[node, axis])
    for node in nodes:
        for axis in AXES:
            outside = [shape[axis] for shape in problem.outside[node]]
            if problem.sums(node, axis):
                inner = sum(model.flow[source, node, axis] for source in problem.predecessors[node])
                rules.add(inner + sum(outside) == model.size_out[node, axis])
            else:
                for size in outside:
                    rules.add(model.size_in[node, axis] == size)
            if problem.passes_on(node, axis):
                rules.add(model.size_out[node, axis] == model.size_in[node, axis])
            if node in problem.required:
                rules.add(model.size_out[node, axis] == problem.required[node][axis])


def _choose(model: pyo.ConcreteModel, node: int, axis: int, values: tuple[int, ...], largest: int) -> None:
    """The output size is one of `values`; along H and W it is ceil(size_in / s) for an integer s up to `largest`."""
    rules, picks = model.rules, range(len(values))
    rules.add(model.size_out[node, axis] == sum(values[t] * model.pick[node, axis, t] for t in picks))
    rules.add(sum(model.pick[node, axis, t] for t in picks) == 1)
    if axis == C:
        return
    stride = [model.stride[node, axis, t] for t in picks]
    for t in picks:
        rules.add(stride[t] >= model.pick[node, axis, t])
        rules.add(stride[t] <= largest * model.pick[node, axis, t])
    rules.add(model.size_in[node, axis] <= sum(values[t] * stride[t] for t in picks))
    rules.add(model.size_in[node, axis] >= 1 + sum((values[t] - 1) * stride[t] for t in picks))


def _cost(model: pyo.ConcreteModel, problem: ResolutionProblem) -> Any:
    cost = 0
    for node, weight in enumerate(problem.weights):
        if problem.kinds[node] == CONCAT:
            terms = sum(model.size_out[node, axis] for axis in AXES)
        elif problem.kinds[node] == KEEP:
            terms = sum(model.size_in[node, axis] for axis in AXES)
        else:
            shrunk = sum(model.size_in[node, axis] - model.size_out[node, axis] for axis in (H, W))
            terms = model.loss[node] + model.change[node] + shrunk
        cost += weight * terms
    return cost


def find_solver(solver: Any) -> Any:
    """The Pyomo solver of a name; a solver object is returned as it is.

    Raises:
        InputError: There is no such solver.
    """
    if not isinstance(solver, str):
        return solver
    with LoggingIntercept(level=logging.CRITICAL):  # Pyomo reports unknown names at length
        found = pyo.SolverFactory(solver)
        available = found.available(exception_flag=False)
    if not available:
        raise InputError(f"-milp_solver: Pyomo finds no solver named {solver!r} on this machine")
    return found


def solve_with_pyomo(problem: ResolutionProblem, solver: Any) -> tuple[str, list[Shape] | None]:
    """Solve the Pyomo model within `MAX_SECONDS`.

    Args:
        problem: The problem.
        solver: The name of an installed Pyomo solver (`glpk`, `cbc`, `appsi_highs`, ...), or a Pyomo solver object.

    Returns:
        `optimal` and the output (H, W, C) of every node; or `infeasible`, or what else stopped the solver, and None.

    Raises:
        InputError: There is no such solver.
    """
    model = build_pyomo_model(problem)
    results = find_solver(solver).solve(model, load_solutions=False, timelimit=MAX_SECONDS)
    condition = str(results.solver.termination_condition)
    if condition == "infeasibleOrUnbounded":  # sizes are bounded, so it is not unbounded
        condition = INFEASIBLE
    if condition != OPTIMAL:
        return condition, None
    model.solutions.load_from(results)
    return condition, [tuple(round(model.size_out[n, k].value) for k in AXES) for n in range(len(problem.kinds))]
