import os
import subprocess
import sys

import pytest

from constants import ROOT
from model_src.comp_graph.networks.plan import plan_network
from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode
from tests.conftest import conv, regular


def line_of(*nodes) -> ComputeGraph:
    """The nodes one behind the other (weighted nodes must come with their order kept by the edges)."""
    return ComputeGraph.from_nodes("line", (1, 8, 8, 3), nodes, [(i, i + 1) for i in range(len(nodes) - 1)])


def test_steps_follow_their_sources_and_say_who_reads_last(tiny_graph):
    plan = plan_network(tiny_graph)
    assert [step.name for step in plan.steps] == ["op_i/input", "op_c/conv", "op_r/relu", "op_a/add", "op_o/output"]
    assert [step.sources for step in plan.steps] == [(), (0,), (1,), (1, 2), (3,)]
    assert [step.last_readers for step in plan.steps] == [(), (0,), (), (1, 2), (3,)]
    assert plan.outputs == (4,)


def test_names_do_not_change_with_the_hash_seed(reference):
    code = (
        "from model_src.comp_graph.load import load_cg; from model_src.comp_graph.networks.plan import plan_network;"
        f"cg = load_cg({str(reference / 'published/architectures/hiaml_best.pkl')!r});"
        "print([step.name for step in plan_network(cg).steps])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert b"op_" in outputs.pop()


def test_ids_of_imported_graphs_are_short_and_repeated_ids_give_way_to_indices():
    names = [step.name for step in plan_network(line_of(regular("3|net/in.put", "input", 1, 8, 3))).steps]
    assert names == ["op_3/input"]
    names = [step.name for step in plan_network(line_of(regular("x", "input", 1, 8, 3), conv("x", 8, 3, 4))).steps]
    assert names == ["op_1/input", "op_0/conv"]


def test_every_result_that_nobody_reads_is_an_output():
    nodes = [regular("i", "input", 1, 8, 3), regular("a", "relu", 6, 8, 3), regular("b", "relu", 6, 8, 3)]
    plan = plan_network(ComputeGraph.from_nodes("fork", (1, 8, 8, 3), nodes, [(0, 1), (0, 2)]))
    assert plan.outputs == (1, 2)


@pytest.mark.parametrize(
    ("node", "needs_all"),
    [
        (conv("x", 8, 8, 16), True),
        (WeightedNode("x", "depthwise", 4, (8, 8, 8, 8, 8, 8), (1, 1, 1, 1), None, (8, 1, 3, 3)), True),
        (WeightedNode("x", "matmul", 8, (1, 1, 1, 1, 8, 10), None, None, (8, 10, 0, 0)), True),
        (regular("x", "fusedbatchnorm", 5, 8, 8), True),
        (regular("x", "relu", 6, 8, 8), False),
        (regular("x", "add", 9, 8, 8), False),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_channels_that_a_step_takes_of_its_inputs(node, needs_all):
    (step,) = plan_network(line_of(node)).steps
    assert step.input_width([12]) == 8
    assert step.input_width([12, 9]) == (8 if needs_all else 9)
    for widths in [[4], [8, 4]] if needs_all else [[4]]:
        with pytest.raises(ValueError, match="it gets 4 input channels and needs 8"):
            step.input_width(widths)
    if not needs_all:
        assert step.input_width([8, 4]) == 4


def test_overrides_and_bias_reach_the_steps(tiny_graph):
    plan = plan_network(tiny_graph, {"relu": "gelu"}, enable_bias=True)
    assert plan.steps[2].name == "op_r/gelu"
    assert plan.steps[1].use_bias


def test_cycles_and_empty_graphs_are_refused():
    nodes = [regular("a", "relu", 6, 8, 3), regular("b", "relu", 6, 8, 3)]
    with pytest.raises(ValueError, match="cycle"):
        plan_network(ComputeGraph.from_nodes("loop", (1, 8, 8, 3), nodes, [(0, 1), (1, 0)]))
    with pytest.raises(ValueError, match="no node"):
        plan_network(line_of())
