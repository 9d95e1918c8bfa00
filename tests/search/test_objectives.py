"""Costs of whole networks and of swaps; the window and the score test are strict."""

from dataclasses import replace

import numpy as np
import pytest

from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.search.config import SearchConfig
from model_src.search.objectives import FLOPS, OBJECTIVES, PARAMS, PEAK_MEMORY, Goal, Objective, Window, objective_of
from tests.conftest import conv, regular
from tests.search.conftest import TinyFactory


@pytest.mark.parametrize(
    ("score", "mflops", "accepted"),
    [(1.1, 100, True), (1.0, 100, False), (1.1, 110, False), (1.1, 109.9, True), (1.1, 80, False), (1.1, 80.1, True)],
)
def test_acceptance(score, mflops, accepted):
    assert Goal(1.0, (Window(FLOPS, 100.0, -10, 20),)).accepts(score, (mflops,)) is accepted


def test_every_window_counts_and_what_is_not_known_yet_does_not():
    goal = Goal(1.0, (Window(PARAMS, 10.0, 0, 50), Window(FLOPS, 100.0, -10, 20)))
    assert goal.flops == 1
    assert goal.accepts(2.0, (9.0, 100.0))
    assert goal.accepts(2.0, (None, 100.0))
    assert not goal.accepts(2.0, (9.0, 120.0))
    assert not goal.accepts(2.0, (11.0, 100.0))


def test_the_front_is_over_the_objective_and_costs_that_only_limit_it_are_no_part_of_it():
    windows = (Window(PEAK_MEMORY, 10.0, 0, 50), Window(FLOPS, 100.0, -10, 20))
    assert Goal(1.0, windows).front_costs((9.0, 90.0)) == (9.0,)
    assert Goal(1.0, windows).front_costs((None, 90.0)) == (90.0,)  # which stand in for what is not known yet
    assert Goal(1.0, windows, n_objectives=2).front_costs((9.0, 90.0)) == (9.0, 90.0)


def test_equal_flops_are_refused_at_the_default_lower_bound():
    assert not Window(FLOPS, 100.0, 0, 20).contains(100.0)


def test_a_window_says_its_bounds():
    text = str(Window(FLOPS, 312.5, -10, 100))
    assert text == ("FLOPs: the input has 312.5 MFLOPs, results lie between 0 and 343.75 (decrease of -10 to 100 %)")


def test_gain_is_relative_to_the_absolute_score():
    assert Goal(-2.0, ()).score_gain(-1.0) == 50
    assert Goal(0.0, ()).score_gain(0.5) == 50


def test_costs_of_a_network(tiny_graph):
    """conv 3 -> 8 of 3x3 on 8x8: 2 x 8 x 8 x 3 x 8 x 9 FLOPs, relu and an add of two inputs of 512 values each."""
    assert FLOPS.measure(tiny_graph) == pytest.approx((2 * 8 * 8 * 27 * 8 + 2 * 512 + 2 * 2 * 512) / 1e6)
    assert PARAMS.measure(tiny_graph) == 3 * 8 * 9
    # While the add runs, its two operands and its result are alive.
    assert PEAK_MEMORY.measure(tiny_graph) == 3 * 512 * 4 / 1e6


def test_peak_memory_on_a_map_that_is_not_square():
    """input 6x10x2 -> conv -> 3x10x4 -> output: the conv's operand and result are alive together."""
    first = replace(conv("c", 6, 2, 4), resolution=(6, 3, 10, 10, 2, 4), strides=(1, 2, 1, 1))
    ends = [
        replace(regular("i", "input", 1, 6, 2), resolution=(6, 6, 10, 10, 2, 2)),
        replace(regular("o", "output", 2, 3, 4), resolution=(3, 3, 10, 10, 4, 4)),
    ]
    cg = ComputeGraph.from_nodes("wide", (1, 6, 10, 2), [first, *ends], [(1, 0), (0, 2)])
    assert PEAK_MEMORY.measure(cg) == max(120 + 120, 120 + 120) * 4 / 1e6


def test_a_merge_costs_nothing_for_a_single_input_and_in_its_place_as_much_as_there():
    """An add of a relu and of a tensor from outside, on a 6 x 10 map of 4 channels."""
    nodes = [regular("r", "relu", 6, 6, 4, w=10), regular("a", "add", 9, 6, 4, w=10)]
    graph = ComputeGraph.from_nodes("sum", (1, 6, 10, 4), nodes, [(0, 1)])
    shape = (6, 10, 4)
    assert FLOPS.of_segment(Segment(graph, ((0,),), (shape,), (1,))) == 2 * 240
    assert FLOPS.of_segment(Segment(graph, ((0,), (1,)), (shape, shape), (1,))) == 2 * (240 + 2 * 240)
    assert FLOPS.of_segment(Segment(graph, ((0, 1), (1,)), (shape, shape), (1,))) == 2 * (240 + 3 * 240)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_costs_of_children_are_those_of_their_networks(source, name):
    objective = objective_of(name)
    windows = tuple(Window(one, one.measure(source), -1000, 1000) for one in dict.fromkeys((objective, FLOPS)))
    children = TinyFactory()().mutate(source, Goal(-100.0, windows), np.random.default_rng(0)).accepted
    assert len(children) >= 5
    for child in children:
        graph = child.swap.apply(source, "x")
        assert child.costs == tuple(window.objective.measure(graph) for window in windows)


def test_a_cost_that_only_the_whole_network_tells_limits_as_well(source):
    peak = PEAK_MEMORY.measure(source)
    goal = Goal(-100.0, (Window(PEAK_MEMORY, peak, -0.001, 20), Window(FLOPS, 312.767892, -1000, 1000)))
    children = TinyFactory()().mutate(source, goal, np.random.default_rng(0)).accepted
    assert children
    assert all(child.costs[0] <= peak for child in children)


def test_unknown_objectives_are_refused():
    with pytest.raises(InputError, match="-objective: unknown objective 'speed'; choose from flops, params"):
        SearchConfig("nb201", objective="speed")


def test_the_windows_of_a_configuration():
    inf = float("inf")
    assert SearchConfig("nb201").limits() == [(FLOPS, 0, 20)]
    assert SearchConfig("nb201", min_flops_decrease_percent=-10).limits() == [(FLOPS, -10, 20)]
    assert SearchConfig("nb201", max_decrease_percent=50).limits() == [(FLOPS, 0, 50)]
    assert SearchConfig("nb201", objective="params").limits() == [(PARAMS, 0, 20), (FLOPS, -inf, inf)]
    both = SearchConfig("nb201", objective="params", min_decrease_percent=5, max_flops_decrease_percent=90)
    assert both.limits() == [(PARAMS, 5, 20), (FLOPS, 0, 90)]
    own = Objective("nodes", "nodes", "nodes", "n_nodes", lambda cg: cg.n_nodes)
    assert SearchConfig("nb201", objective=own).limits()[0] == (own, 0, 20)


@pytest.mark.parametrize(
    "flags",
    [
        {"min_decrease_percent": 20},
        {"min_flops_decrease_percent": float("nan")},
        {"min_decrease_percent": 1, "min_flops_decrease_percent": 1},
        {"objective": "params", "max_decrease_percent": -1},
    ],
)
def test_empty_and_doubled_windows_are_refused(flags):
    with pytest.raises(InputError, match=r"-min.*decrease_percent"):
        SearchConfig("nb201", **flags)
