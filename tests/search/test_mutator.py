"""Mutations give valid, connected, consistent networks, and the seed decides."""

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash, topological_order
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, correct_cg_for_downstream
from model_src.files import InputError
from model_src.search.objectives import Objectives
from tests.search.conftest import TinyFactory

ANYTHING = Objectives(-100.0, 312.767892, -1000, 1000)


@pytest.fixture(scope="module", params=[("segment", True), ("op", True), ("segment", False), ("op", False)])
def factory(request):
    return TinyFactory(*request.param)


def summary(mutation):
    return [(child.identity, child.score, child.mflops) for child in mutation.accepted]


def test_children_are_consistent_networks(factory, source, op2i):
    mutation = factory().mutate(source, ANYTHING, np.random.default_rng(0))
    assert len(mutation.accepted) >= 5 and mutation.n_scored >= len(mutation.accepted)
    for child in mutation.accepted:
        graph = child.swap.apply(source, "x")
        topological_order(graph)
        assert graph.nodes[graph.input_index].label == "input" and graph.nodes[graph.output_index].label == "output"
        assert canonical_hash(graph) == child.identity != canonical_hash(source)
        assert compute_cg_flops(graph, op2i) == child.mflops
        assert (graph.name, graph.input_shape, graph.normalisers) == (
            source.name,
            source.input_shape,
            source.normalisers,
        )
        assert len({node.str_id for node in graph.nodes}) == graph.n_nodes
        fixed = correct_cg_for_downstream(graph, 32, 32, 3)
        assert canonical_hash(fixed) == child.identity  # nothing was inconsistent
        assert fixed.nodes[fixed.output_index].out_shape == (1, 1, 10)


def test_the_seed_decides(factory, source):
    first, second, other = (summary(factory().mutate(source, ANYTHING, np.random.default_rng(s))) for s in (1, 1, 2))
    assert first == second != other


def test_what_a_mutator_did_before_does_not_matter(source):
    fresh, used = TinyFactory()(), TinyFactory()()
    used.mutate(source, ANYTHING, np.random.default_rng(5))
    first, second = (one.mutate(source, ANYTHING, np.random.default_rng(6)) for one in (fresh, used))
    assert summary(first) == summary(second)
    assert first.propagation.calls == second.propagation.calls


def test_scores_belong_to_their_children(source):
    """The stored score is the prediction of exactly this child's parts."""
    mutator = TinyFactory(uses_parts=False)()
    for child in mutator.mutate(source, ANYTHING, np.random.default_rng(0)).accepted:
        assert child.score == mutator._predictor.score_graphs([child.swap.apply(source, "x")])[0]


def test_limits_are_kept(source):
    mutator = TinyFactory()()
    objectives = Objectives(mutator.baseline(source, np.random.default_rng(0)), 312.767892, 0, 20)
    accepted = mutator.mutate(source, objectives, np.random.default_rng(0)).accepted
    assert accepted and all(child.score > objectives.score for child in accepted)
    assert all(0.8 * 312.767892 < child.mflops < 312.767892 for child in accepted)


def test_a_network_without_replaceable_segments_is_refused(tiny_graph):
    mutator = TinyFactory()()
    only_ends = tiny_graph  # input, conv, relu, add, output: one piece of unknown nodes, or ends only
    mutator._allowed = frozenset()
    with pytest.raises(InputError, match="no segment of tiny"):
        mutator.baseline(only_ends, np.random.default_rng(0))
