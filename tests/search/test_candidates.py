"""Which segments may be replaced."""

import numpy as np
import pytest

from constants import ROOT
from model_src.comp_graph.graph_ops import part_of, topological_order
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.files import InputError
from model_src.search.candidates import allowed_ops, find_candidates, select_candidates
from tests.conftest import conv, regular


@pytest.fixture
def network():
    """input -> conv -> relu -> conv (stride 2) -> mean -> output."""
    nodes = [
        conv("c0", 8, 3, 8), conv("c1", 8, 8, 8, stride=2), regular("i", "input", 1, 8, 3),
        regular("r", "relu", 6, 8, 8), regular("m", "mean", 19, 4, 8, h_out=1), regular("o", "output", 2, 1, 8),
    ]  # fmt: skip
    return ComputeGraph.from_nodes("net", (1, 8, 8, 3), nodes, [(2, 0), (0, 3), (3, 1), (1, 4), (4, 5)])


ORDER = [[2], [0], [3], [1], [4], [5]]  # input, conv, relu, conv, mean, output


def test_runs_keep_the_ends_and_the_protected_operations(network):
    found = find_candidates(network, ORDER, 3, allowed_ops("generic"))
    assert [list(c.indices) for c in found] == [[0], [0, 3], [0, 3, 1], [3], [3, 1], [1]]
    first = found[0]
    assert [n.label for n in first.predecessor.nodes] == ["input"]
    assert first.successor.n_nodes == 4
    assert first.place.segment.graph.n_nodes == 1


def test_a_run_ends_before_a_group_that_may_not_be_replaced(network):
    found = find_candidates(network, ORDER, 3, frozenset({"conv2d"}))  # not the relu between two convolutions
    assert [list(c.indices) for c in found] == [[0], [1]]


def test_the_first_and_the_last_group_stay_whatever_they_hold(network):
    """Groups that hold the ends of the network may be merged with operations that could be replaced elsewhere."""
    allowed = allowed_ops("generic") | {"input", "output", "mean"}
    found = find_candidates(network, ORDER, 9, allowed)
    assert [list(c.indices) for c in found if len(c.indices) == 1] == [[0], [3], [1], [4]]
    assert max((list(c.indices) for c in found), key=len) == [0, 3, 1, 4]
    assert find_candidates(network, [[2, 0, 3], [1, 4, 5]], 9, allowed) == []
    assert [list(c.indices) for c in find_candidates(network, [[2], [0, 3, 1, 4], [5]], 9, allowed)] == [[0, 3, 1, 4]]


def test_no_more_groups_than_asked_for_are_replaced_together(network):
    for longest in (1, 2, 3):
        found = find_candidates(network, ORDER, longest, allowed_ops("generic"))
        assert max(len(c.indices) for c in found) == longest


def test_single_operations_must_keep_their_size(network):
    found = find_candidates(network, ORDER, 1, allowed_ops("generic"), single_ops=True)
    assert [list(c.indices) for c in found] == [[3]]


def test_the_cheapest_half_is_always_taken(network):
    found = find_candidates(network, ORDER, 3, allowed_ops("generic"))
    for seed in range(5):
        kept = select_candidates(found, 3, np.random.default_rng(seed))
        costs = [c.macs() for c in kept]
        assert len(kept) == 3
        assert costs[:2] == sorted(c.macs() for c in found)[:2]


@pytest.mark.parametrize("family", ["inception", "nb101"])
def test_the_cost_of_a_candidate_is_that_of_its_part(family):
    """Also where merges are left with one input, or two branches meet again."""
    cg = load_cg(ROOT / "architectures" / f"{family}_best.pkl")
    order = topological_order(cg)
    bounds = list(zip(range(0, len(order), 4), range(4, len(order), 4), strict=False))
    found = find_candidates(cg, [order[start:stop] for start, stop in bounds], 3, allowed_ops("generic"))
    parts = [part_of(cg, candidate.indices) for candidate in found]
    assert [candidate.macs() for candidate in found] == [graph_macs(part) for part in parts]
    assert any(part.n_nodes < len(candidate.indices) for part, candidate in zip(parts, found, strict=True))


def test_allowed_operations_of_families():
    assert allowed_ops("hiaml") == {"conv2d", "relu", "add", "identity", "avgpool", "fusedbatchnorm"}
    for name in ("depthwise", "grouped_conv"):
        assert name in allowed_ops("generic")
        assert name not in allowed_ops("generic", "nb101")
        assert name not in allowed_ops("generic_noDW")
    assert "zero" not in allowed_ops("generic")
    assert "zero" in allowed_ops("nb201")


@pytest.mark.parametrize(
    ("model", "encoder", "flag"), [("vgg", "combined", "-model_family"), ("nb201", "x", "-graph_enc")]
)
def test_unknown_families_are_refused(model, encoder, flag):
    with pytest.raises(InputError, match=flag):
        allowed_ops(model, encoder)
