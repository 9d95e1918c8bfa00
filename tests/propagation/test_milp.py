"""Resolution propagation: a table of small cases, corrected defects, memory and counts, the reference cases."""

import pickle

import highspy
import networkx as nx
import pytest

from model_src.comp_graph.segment import segment_from_subgraph
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.propagation.forward import forward_propagate
from model_src.propagation.milp import Propagator, Statistics, Tally, resolution_propagate
from model_src.propagation.milp_highs import solve_in_process
from model_src.propagation.problem import problem_of_graph, smallest_stride
from tests.conftest import conv
from tests.propagation.cases import (
    by_id,
    make_node,
    make_segment,
    random_problem,
)
from tests.propagation.judge import violations


def nx_segment(nodes: dict[str, str], *edges: str, h=32, c=16) -> nx.DiGraph:
    """Nodes of stride 1 (id -> op) on an h x h map with c channels."""
    graph = nx.DiGraph()
    for node_id, op in nodes.items():
        strides = (1, 1, 1, 1) if op in ("conv2d", "avgpool", "maxpool", "depthwise") else None
        graph.add_node(node_id, op_name=op, resolution=(h, h, h, h, c, c), strides=strides)
    graph.add_edges_from(edge.split() for edge in edges)
    return graph


CONV_RELU = ({"c": "conv2d", "r": "relu"}, "c r")
BRANCHES = ({"c": "conv2d", "x": "conv2d", "y": "conv2d", "a": "add"}, "c x", "c y", "x a", "y a")


def test_more_channels():
    status, resolved, objective = resolution_propagate(nx_segment(*CONV_RELU), {"r": (32, 32, 32)})
    assert (status, objective) == ("optimal", 16)
    assert resolved.nodes["c"]["resolution"] == (32, 32, 32, 32, 16, 32)
    assert resolved.nodes["c"]["strides"] == (1, 1, 1, 1)
    assert resolved.nodes["r"]["resolution"] == (32, 32, 32, 32, 32, 32)
    assert resolved.nodes["r"]["strides"] is None


def test_a_smaller_map():
    status, resolved, objective = resolution_propagate(nx_segment(*CONV_RELU), {"r": (8, 8, 16)})
    assert (status, objective) == ("optimal", 96)
    assert resolved.nodes["c"]["strides"] == (1, 4, 4, 1)
    assert all(isinstance(stride, int) for stride in resolved.nodes["c"]["strides"])


@pytest.mark.parametrize(
    ("segment", "required"),
    [
        (nx_segment(*CONV_RELU), {"r": (32, 32, 64)}),
        (nx_segment({"p": "relu", "q": "relu"}, "p q"), {"q": (16, 16, 16)}),
        (nx_segment({"p": "conv2d", "q": "conv2d"}, "p q"), {"q": (32, 32, 64)}),
        (nx_segment({"p": "conv2d"}, h=4), {"p": (1, 1, 16)}),
        (nx_segment({"p": "avgpool"}), {"p": (32, 32, 32)}),
    ],
)
def test_infeasible(segment, required):
    assert resolution_propagate(segment, required) == ("infeasible", None, None)


def test_branches_change_alike():
    status, resolved, objective = resolution_propagate(nx_segment(*BRANCHES), {"a": (16, 16, 32)})
    assert (status, objective) == ("optimal", 96)
    for branch in "xy":
        assert resolved.nodes[branch]["resolution"] == (32, 16, 32, 16, 16, 32)
        assert resolved.nodes[branch]["strides"] == (1, 2, 2, 1)
    assert resolved.nodes["c"]["resolution"] == (32, 32, 32, 32, 16, 16)


def test_the_segment_is_not_changed_and_other_fields_stay():
    graph = nx_segment(*CONV_RELU)
    graph.nodes["c"].update(
        shape=[16, 16, 3, 3], metadata={"padding": "same"}, label="conv2d_7", strides=[1.0, 1.0, 1.0, 1.0]
    )
    before = {node: dict(fields) for node, fields in graph.nodes.items()}
    _, resolved, _ = resolution_propagate(graph, {"r": (16, 16, 32)})
    assert dict(graph.nodes) == before
    assert resolved.nodes["c"] == {
        **before["c"],
        "resolution": (32, 16, 32, 16, 16, 32),
        "strides": (1, 2, 2, 1),
        "shape": (16, 32, 3, 3),
    }
    assert list(resolved.edges) == [("c", "r")]


def test_a_concat_of_inner_results_is_solved():
    graph = nx_segment({"x": "conv2d", "y": "conv2d", "k": "concat", "r": "relu"}, "x k", "y k", "k r")
    for node in "kr":
        graph.nodes[node]["resolution"] = (32, 32, 32, 32, 32, 32)
    status, resolved, _ = resolution_propagate(graph, {"r": (16, 16, 48)})
    assert status == "optimal"
    assert sorted(resolved.nodes[node]["resolution"][5] for node in "xy") == [16, 32]
    assert resolved.nodes["k"]["resolution"] in [(16, 16, 16, 16, c, 48) for c in (16, 32)]
    assert resolution_propagate(graph, {"r": (16, 16, 72)})[0] == "infeasible"


def test_a_concat_of_outside_tensors_gives_a_constant():
    graph = nx_segment({"k": "concat", "c": "conv2d"}, "k c")
    graph.nodes["k"]["resolution"] = (32, 32, 32, 32, 8, 16)
    _, resolved, _ = resolution_propagate(graph, {"c": (32, 32, 8)})
    assert resolved.nodes["k"]["resolution"] == (32, 32, 32, 32, 8, 16)


def test_strides_are_whole_numbers():
    assert [smallest_stride(size, out) for size, out in [(24, 16), (24, 12), (7, 4), (8, 8), (8, 16)]] == [
        None,
        2,
        2,
        1,
        None,
    ]
    graph = nx_segment({"c": "conv2d"}, h=24)
    graph.nodes["c"]["resolution"] = (24, 16, 24, 16, 16, 16)
    assert resolution_propagate(graph, {"c": (16, 16, 16)})[0] == "infeasible"


def test_a_stride_that_fits_stays():
    graph = nx_segment({"c": "conv2d"})
    graph.nodes["c"].update(resolution=(5, 2, 5, 2, 16, 16), strides=(1, 4, 3, 1))
    _, resolved, _ = resolution_propagate(graph, {"c": (2, 2, 16)})
    assert resolved.nodes["c"]["strides"] == (1, 4, 3, 1)


def test_depthwise_keeps_its_channels_and_strides():
    graph = nx_segment({"d": "depthwise", "r": "relu"}, "d r")
    graph.nodes["d"].update(resolution=(32, 16, 32, 16, 16, 16), strides=(1, 2, 2, 1), shape=(16, 1, 3, 3))
    _, resolved, _ = resolution_propagate(graph, {"r": (8, 8, 16)})
    assert resolved.nodes["d"] == {
        "op_name": "depthwise",
        "resolution": (32, 8, 32, 8, 16, 16),
        "strides": (1, 4, 4, 1),
        "shape": (16, 1, 3, 3),
    }
    assert resolution_propagate(graph, {"r": (16, 16, 32)})[0] == "infeasible"


def test_groups_divide_the_channels_or_there_is_no_answer():
    def grouped(groups: int) -> nx.DiGraph:
        graph = nx_segment({"c": "conv2d", "g": "grouped_conv"}, "c g", c=12)
        graph.nodes["g"].update(metadata={"groups": groups}, strides=(1, 1, 1, 1), shape=(12, 12, 3, 3))
        return graph

    _, resolved, _ = resolution_propagate(grouped(4), {"g": (32, 32, 24)})
    assert resolved.nodes["g"]["shape"] == (12, 24, 3, 3)
    assert resolution_propagate(grouped(4), {"g": (32, 32, 6)}) == ("infeasible", None, None)
    assert resolution_propagate(grouped(12), {"g": (16, 16, 24)})[0] == "optimal"


def test_a_segment_with_groups_takes_only_channels_that_they_divide():
    segment = segment_from_subgraph(ComputeGraph.from_nodes("g", (1, 8, 8, 12), [conv("g", 8, 12, 12, groups=4)], []))
    propagator = Propagator()
    answer = propagator.resolve(segment, ((8, 8, 20),), ((8, 8, 40),))
    (node,) = answer.segment.graph.nodes
    assert (node.resolution, node.shape, node.groups) == ((8, 8, 8, 8, 20, 40), (20, 40, 3, 3), 4)
    for inputs, outputs, status in (((8, 8, 18), (8, 8, 18), "forward failed"), ((8, 8, 20), (8, 8, 10), "infeasible")):
        answer = propagator.resolve(segment, (inputs,), (outputs,))
        assert (answer.status, answer.segment) == (status, None)


def test_requests_that_make_no_sense():
    graph = nx_segment(*CONV_RELU)
    with pytest.raises(ValueError, match="sinks"):
        resolution_propagate(graph, {"c": (32, 32, 16)})
    graph.nodes["c"]["metadata"] = {"padding": "VALID"}
    assert resolution_propagate(graph, {"r": (32, 32, 16)}) == (
        "node c (conv2d): the padding is VALID, not same",
        None,
        None,
    )
    graph.add_edges_from([("r", "c"), ("r", "s")])
    graph.nodes["s"].update(graph.nodes["r"])
    with pytest.raises(ValueError, match="cycle"):
        resolution_propagate(graph, {"s": (32, 32, 16)})


def test_a_limit_that_is_reached_is_no_solution():
    graph = nx_segment({"a": "conv2d", "b": "conv2d", "c": "conv2d"}, "a b", "b c")
    problem = problem_of_graph(graph, {"c": (16, 16, 32)})
    assert solve_in_process(problem)[0] == "optimal"
    assert solve_in_process(problem, max_nodes=0) == ("solution limit reached", None)
    assert solve_in_process(problem, max_seconds=0) == ("time limit reached", None)


def test_every_call_of_a_solver_has_limits_and_those_reached_are_counted(monkeypatch):
    """The same number of nodes on every machine; the time is for a solver that hangs."""
    asked = make_segment([make_node(name, "conv2d", 32, 16) for name in "abc"], ["a b", "b c"]), ((32, 32, 16),)
    limits, run = [], highspy.Highs.run

    def run_out_of_nodes(highs):
        limits.append([highs.getOptionValue(name)[1] for name in ("mip_max_nodes", "time_limit")])
        highs.setOptionValue("mip_max_nodes", 0)
        return run(highs)

    monkeypatch.setattr(highspy.Highs, "run", run_out_of_nodes)
    propagator = Propagator()
    for shape in ((16, 16, 32), (16, 16, 32), (16, 16, 64)):
        answer = propagator.resolve(*asked, (shape,))
    assert answer.status == "infeasible"
    assert limits == [[10_000, 60.0]]
    found = propagator.statistics
    assert (found.calls, found.failures.count, found.unproven, found.successes.count) == (3, 3, 2, 0)
    assert (found + found).unproven == 4
    graph = nx_segment({"a": "conv2d", "b": "conv2d", "c": "conv2d"}, "a b", "b c")
    assert resolution_propagate(graph, {"c": (16, 16, 32)}) == ("solution limit reached", None, None)
    assert limits == 2 * [[10_000, 60.0]]


def test_every_answer_satisfies_the_constraints(rng):
    """Judged by the constraints as the published model words them, not by the solver."""
    propagator = Propagator()
    for segment, inputs, outputs in [random_problem(rng) for _ in range(700)]:
        resolved = propagator.resolve(segment, inputs, outputs).segment
        if resolved is not None:
            assert violations(segment, forward_propagate(segment, inputs), resolved, inputs, outputs) == []
    assert propagator.statistics.successes.count > 200


def down_segment():
    """conv -> relu, and a concat of both and of an outside tensor."""
    nodes = [make_node("c", "conv2d", 32, 16), make_node("r", "relu", 32, 16), make_node("k", "concat", 32, 16, 40)]
    shapes = [(32, 32, 16), (16, 16, 8)]
    return make_segment(nodes, ["c r", "c k", "r k"], inputs=["c", "k"], outputs=["r", "k"], input_shapes=shapes)


def test_outside_tensors_and_results_that_are_read_inside_too():
    segment, inputs, outputs = down_segment(), ((32, 32, 16), (32, 32, 8)), ((32, 32, 32), (32, 32, 72))
    answer = Propagator().resolve(segment, inputs, outputs)
    assert answer.status == "optimal"
    assert violations(segment, forward_propagate(segment, inputs), answer.segment, inputs, outputs) == []
    nodes = by_id(answer.segment.graph)
    assert nodes["c"].shape == (16, 32, 3, 3)
    assert nodes["k"].resolution == (32, 32, 32, 32, 32, 72)


def test_equal_questions_have_the_same_answer_object():
    propagator, segment = Propagator(), down_segment()
    shapes = ((32, 32, 16), (32, 32, 8)), ((32, 32, 32), (32, 32, 72))
    first = propagator.resolve(segment, *shapes)
    assert propagator.resolve(segment, *map(list, shapes)) is first
    assert propagator.resolve(down_segment(), *shapes) is not first
    assert propagator.statistics.repeated == 1


def test_a_segment_that_fits_as_it_is_stays_the_same_object():
    segment = make_segment([make_node("r", "relu", 8, 16), make_node("c", "conv2d", 8, 16, 32, 2)], ["r c"])
    answer = Propagator().resolve(segment, segment.input_shapes, segment.output_shapes)
    assert answer.segment is segment


def test_the_memory_is_bounded():
    propagator, segment = Propagator(memory=2), make_segment([make_node("r", "relu", 8, 16)])
    asked = [propagator.resolve(segment, ((h, h, 16),), ((h, h, 16),)) for h in (4, 8, 16)]
    again = [propagator.resolve(segment, ((h, h, 16),), ((h, h, 16),)) for h in (16, 8, 4)]
    assert [old is new for old, new in zip(reversed(asked), again, strict=True)] == [True, True, False]


def test_a_propagator_can_be_pickled():
    propagator = pickle.loads(pickle.dumps(Propagator()))
    assert propagator.resolve(down_segment(), ((8, 8, 16), (8, 8, 8)), ((8, 8, 16), (8, 8, 40))).status == "optimal"


def test_statistics():
    propagator, segment = Propagator(), down_segment()
    good = ((32, 32, 16), (32, 32, 8)), ((32, 32, 32), (32, 32, 72))
    for inputs, outputs in (good, good, (good[0], ((32, 32, 32), (32, 32, 71))), (((8, 8, 8), (4, 4, 8)), good[1])):
        answer = propagator.resolve(segment, inputs, outputs)
    assert (answer.status, answer.segment, answer.objective) == ("forward failed", None, None)
    assert "different sizes" in answer.reason
    found = propagator.statistics
    assert (found.calls, found.repeated, found.forward_failures) == (4, 1, 1)
    assert (found.successes.count, found.successes.timed) == (2, 1)
    assert (found.failures.count, found.failures.timed) == (1, 1)
    assert (found.conv, found.pool, found.concat) == (4, 0, 4)
    both = found + found
    assert isinstance(both, Statistics)
    assert (both.calls, both.successes.count) == (8, 4)
    assert both.successes.mean == pytest.approx(found.successes.mean)
    assert both.successes.seconds == pytest.approx(2 * found.successes.seconds)


def test_what_segments_hold_is_counted_by_kind():
    """Depthwise convolutions are convolutions; averages and maxima are pools."""
    names = ["conv2d", "depthwise", "depthwise", "avgpool", "maxpool", "relu"]
    nodes = [make_node(str(n), name, 8, 16, 16) for n, name in enumerate(names)]
    propagator = Propagator()
    propagator.resolve(make_segment(nodes, [f"{n} {n + 1}" for n in range(5)]), ((8, 8, 16),), ((8, 8, 16),))
    found = propagator.statistics
    assert (found.conv, found.pool, found.concat) == (3, 2, 0)


def test_mean_and_deviation_of_a_tally():
    tally = Tally()
    for seconds in (1.0, 2.0, None, 3.0):
        tally.add(seconds)
    assert (tally.count, tally.timed, tally.mean, tally.deviation) == (4, 3, 2.0, 1.0)
    assert (Tally().mean, Tally(1, 1, 2.0, 4.0).deviation) == (0.0, 0.0)
