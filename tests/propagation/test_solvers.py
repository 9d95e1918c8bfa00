"""The in-process solver against the Pyomo model and against trying everything."""

from types import SimpleNamespace

import pyomo.environ as pyo
import pytest

from model_src.comp_graph.segment import Segment
from model_src.files import InputError
from model_src.propagation.forward import PropagationError, forward_propagate, forward_resolutions, outside_shapes
from model_src.propagation.milp import Propagator
from model_src.propagation.milp_highs import solve_in_process
from model_src.propagation.milp_pyomo import build_pyomo_model, solve_with_pyomo
from model_src.propagation.problem import problem_of_segment
from tests.propagation.cases import (
    WINDOWS,
    case_to_segment,
    make_node,
    make_segment,
    random_problem,
    reference_cases,
)
from tests.propagation.judge import exhaustive, violations


@pytest.fixture
def pyomo_highs():
    solver = pyo.SolverFactory("appsi_highs")
    solver.options["mip_rel_gap"] = 0.0
    return solver


def problem_of(segment, inputs, outputs):
    outside = outside_shapes(segment, inputs)
    return problem_of_segment(segment, forward_resolutions(segment, outside), outside, outputs)


def same_answers(problems, solver) -> dict[str, int]:
    """Compare both paths on every problem that is left after forward propagation; status -> how many."""
    counts = {}
    for number, asked in enumerate(problems):
        try:
            problem = problem_of(*asked)
        except PropagationError:
            continue
        status, shapes = solve_in_process(problem)
        reference_status, reference_shapes = solve_with_pyomo(problem, solver)
        assert status == reference_status, number
        if shapes is not None:
            assert problem.objective(shapes) == problem.objective(reference_shapes), number
        counts[status] = counts.get(status, 0) + 1
    return counts


def test_same_as_the_pyomo_model_on_the_reference_cases(reference, pyomo_highs):
    problems = map(case_to_segment, reference_cases(reference))
    assert same_answers(problems, pyomo_highs) == {"optimal": 132, "infeasible": 67}


def test_same_as_the_pyomo_model_on_random_segments(rng, pyomo_highs):
    counts = same_answers([random_problem(rng, most=16) for _ in range(120)], pyomo_highs)
    assert min(counts["optimal"], counts["infeasible"]) > 25


def test_same_as_trying_everything(rng):
    n_checked = n_solved = 0
    propagator = Propagator()
    for number in range(1000):
        segment, inputs, outputs = random_problem(rng)
        answer = propagator.resolve(segment, inputs, outputs)
        if answer.status != "forward failed" and sum(node.label in WINDOWS for node in segment.graph.nodes) <= 5:
            best = exhaustive(forward_propagate(segment, inputs), segment, inputs, outputs)
            assert answer.objective == best, number
            n_checked += 1
            n_solved += best is not None
    assert n_checked > 800
    assert n_solved > 250


def joined(relus: bool) -> Segment:
    """Two convolutions, with a relu behind each or not, joined by a concat; on a map that is not square."""
    nodes = [make_node(name, "conv2d", 32, 16, w=16) for name in "ab"] + [make_node("k", "concat", 32, 16, 32, w=16)]
    if not relus:
        return make_segment(nodes, ["a k", "b k"])
    nodes += [make_node(name, "relu", 32, 16, w=16) for name in "rs"]
    return make_segment(nodes, ["a r", "b s", "r k", "s k"])


@pytest.mark.parametrize(
    ("relus", "shape"), [(True, (32, 16, 40)), (False, (16, 8, 40)), (True, (16, 16, 40)), (False, (32, 8, 24))]
)
def test_the_channels_of_a_concat_are_exactly_the_sum(relus, shape, pyomo_highs):
    """What narrowing leaves open: 8 + 32 or 32 + 8. Less would be cheaper behind relus, more where the map shrinks."""
    segment, inputs = joined(relus), [(32, 16, 16)] * 2
    problem = problem_of(segment, inputs, [shape])
    status, shapes = solve_in_process(problem)
    assert status == "optimal"
    assert problem.objective(shapes) == exhaustive(forward_propagate(segment, inputs), segment, inputs, [shape])
    answer = Propagator().resolve(segment, inputs, [shape]).segment
    assert violations(segment, forward_propagate(segment, inputs), answer, inputs, [shape]) == []
    assert same_answers([(segment, inputs, [shape])], pyomo_highs) == {"optimal": 1}


def test_lost_channels_are_those_that_a_node_gave(pyomo_highs):
    """Convolutions 100 -> 24, 8 -> 16 and 8 -> 16, joined to 72 channels: one that has 16 doubles them.

    If what they read were meant, 24 would be doubled, and 16 be halved to make up for it.
    """
    nodes = [make_node("r", "relu", 8, 100), make_node("s", "relu", 8, 8)]
    nodes += [make_node("a", "conv2d", 8, 100, 24), *(make_node(name, "conv2d", 8, 8, 16) for name in "bd")]
    nodes += [make_node("k", "concat", 8, 24, 56)]
    segment = make_segment(nodes, ["r a", "s b", "s d", "a k", "b k", "d k"])
    inputs = [node.in_shape for node in (segment.graph.nodes[port[0]] for port in segment.inputs)]
    problem = problem_of(segment, inputs, [(8, 8, 72)])
    assert problem.objective(solve_in_process(problem)[1]) == exhaustive(
        forward_propagate(segment, inputs), segment, inputs, [(8, 8, 72)]
    )
    assert same_answers([(segment, inputs, [(8, 8, 72)])], pyomo_highs) == {"optimal": 1}


def conv_chain(length):
    nodes = [make_node(f"c{i}", "conv2d", 32, 16) for i in range(length)]
    return make_segment(nodes, [f"c{i} c{i + 1}" for i in range(length - 1)])


def test_the_objective_of_the_pyomo_model_is_the_cost(pyomo_highs):
    model = build_pyomo_model(problem_of(conv_chain(4), [(32, 32, 64)], [(8, 8, 32)]))
    pyomo_highs.solve(model)
    answer = Propagator().resolve(conv_chain(4), ((32, 32, 64),), ((8, 8, 32),))
    assert pyo.value(model.cost) == pytest.approx(answer.objective, abs=1e-6)


def test_a_solver_by_name():
    asked = conv_chain(3), ((32, 32, 64),), ((16, 16, 32),)
    named, default = (Propagator(solver).resolve(*asked) for solver in ("appsi_highs", None))
    assert (named.status, named.objective) == (default.status, default.objective)


def test_a_solver_that_is_not_installed():
    with pytest.raises(InputError, match="no_such_solver"):
        Propagator("no_such_solver").resolve(conv_chain(1), ((32, 32, 16),), ((32, 32, 16),))


@pytest.mark.parametrize("condition", ["maxTimeLimit", "feasible", "unknown", "error"])
def test_a_solver_that_proves_nothing_gives_no_segment(condition):
    outcome = SimpleNamespace(solver=SimpleNamespace(termination_condition=pyo.TerminationCondition(condition)))
    limits = []

    def solve(model, load_solutions, timelimit):
        limits.append(timelimit)
        return outcome

    propagator = Propagator(SimpleNamespace(solve=solve))
    answer = propagator.resolve(conv_chain(2), ((32, 32, 16),), ((32, 32, 16),))
    assert (answer.status, answer.segment, answer.objective) == (condition, None, None)
    assert limits == [60]
    assert propagator.statistics.unproven == 1


def test_another_number_of_threads_in_the_process_does_no_harm():
    import highspy

    other = highspy.Highs()
    other.silent()
    other.resetGlobalScheduler(True)
    other.setOptionValue("threads", 2)
    other.addBinary()
    other.run()
    assert Propagator().resolve(conv_chain(3), ((32, 32, 64),), ((16, 16, 32),)).status == "optimal"
