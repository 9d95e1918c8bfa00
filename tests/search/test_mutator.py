"""Mutations give valid, connected, consistent networks, and the seed decides."""

from dataclasses import replace

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash, topological_order
from model_src.comp_graph.segment import Segment, cut_segment, segment_from_subgraph
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, correct_cg_for_downstream
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segment_db import SegmentDatabase
from model_src.encoder.segmentation import segment
from model_src.files import InputError
from model_src.search.candidates import find_candidates
from model_src.search.mutator import MutationConfig, Mutator
from model_src.search.objectives import FLOPS, Goal, Window
from tests.conftest import conv, regular
from tests.search.conftest import CountingPredictor, TinyFactory


def goal_of(score, least, most):
    return Goal(score, (Window(FLOPS, 312.767892, least, most),))


ANYTHING = goal_of(-100.0, -1000, 1000)


@pytest.fixture(scope="module", params=[("segment", True), ("op", True), ("segment", False), ("op", False)])
def factory(request):
    return TinyFactory(*request.param)


def summary(mutation):
    return [(child.identity, child.score, child.costs[0]) for child in mutation.accepted]


def test_children_are_consistent_networks(factory, source, op2i):
    mutation = factory().mutate(source, ANYTHING, np.random.default_rng(0))
    assert len(mutation.accepted) >= 5
    assert mutation.n_scored >= len(mutation.accepted)
    for child in mutation.accepted:
        graph = child.swap.apply(source, "x")
        topological_order(graph)
        assert graph.nodes[graph.input_index].label == "input"
        assert graph.nodes[graph.output_index].label == "output"
        assert canonical_hash(graph) == child.identity != canonical_hash(source)
        assert compute_cg_flops(graph, op2i) == child.costs[0]
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


def test_every_part_is_scored_under_the_normalisers_of_its_network(source):
    """Also by a mutator that had another network before: the same targets, but not the same parts."""

    class Seeing(CountingPredictor):
        def score_psc(self, triples):
            seen.update(tuple(part.normalisers.values()) for triple in triples for part in triple)
            return super().score_psc(triples)

    mutator = TinyFactory()()
    mutator.predictor = Seeing()
    for normalisers in ((512, 7, 256, 256), (64, 3, 32, 32), (512, 7, 256, 256)):
        network, seen = source.with_normalisers(dict(zip(source.NORMALISERS, normalisers, strict=True))), set()
        mutator.baseline(network, np.random.default_rng(0))
        assert seen == {normalisers}
        mutator.mutate(network, ANYTHING, np.random.default_rng(0))
        assert seen == {normalisers}


def test_scores_belong_to_their_children(source):
    """The stored score is the prediction of exactly this child's parts."""
    mutator = TinyFactory(uses_parts=False)()
    for child in mutator.mutate(source, ANYTHING, np.random.default_rng(0)).accepted:
        assert child.score == mutator.predictor.score_graphs([child.swap.apply(source, "x")])[0]


def test_limits_are_kept(source):
    mutator = TinyFactory()()
    goal = goal_of(mutator.baseline(source, np.random.default_rng(0)), 0, 20)
    accepted = mutator.mutate(source, goal, np.random.default_rng(0)).accepted
    assert accepted
    assert all(child.score > goal.score for child in accepted)
    assert all(0.8 * 312.767892 < child.costs[0] < 312.767892 for child in accepted)


def test_a_network_without_replaceable_segments_is_refused(tiny_graph):
    mutator = TinyFactory()()
    only_ends = tiny_graph  # input, conv, relu, add, output: one piece of unknown nodes, or ends only
    mutator.allowed = frozenset()
    with pytest.raises(InputError, match="no segment of tiny"):
        mutator.baseline(only_ends, np.random.default_rng(0))


@pytest.mark.parametrize(("sparsity", "longest"), [(0.0, None), (0.75, None), (1.0, 1)])
def test_sparsity_is_the_share_of_pieces_that_are_left_out(source, sparsity, longest):
    """With all of them, a network falls into the segments of the full vocabulary; with none, into single nodes."""
    mutator = TinyFactory()()
    mutator.config = replace(mutator.config, segment_sparsity=sparsity, num_consecutive_segs=1)
    masks, sample = [], mutator.tokenizer.segmenter.sample_mask
    mutator.tokenizer.segmenter.sample_mask = lambda *args: masks.append(sample(*args)) or masks[-1]
    found = [list(one.indices) for one in mutator.candidates(source, np.random.default_rng(0))]
    n_pieces = len(mutator.tokenizer.segmenter.multi_pieces)
    assert [len(mask) for mask in masks] == [n_pieces - int((1 - sparsity) * n_pieces)]
    if longest:
        assert {len(nodes) for nodes in found} == {longest}
    if not sparsity:
        whole = segment(source, mutator.encoder, mutator.tokenizer)
        assert found == [nodes for nodes in whole[1:-1] if {source.nodes[i].op_name for i in nodes} <= mutator.allowed]


# ---- one candidate and a literal database ----


def chain(h, *ops, c=8, **metadata):
    """Operations one behind the other on an h x h map of c channels, as a segment without recorded ports."""
    numbers = {"relu": 6, "identity": 25, "fusedbatchnorm": 5}
    nodes, lost = [], 2 if metadata.get("padding") == "valid" else 0
    for i, op in enumerate(ops):
        node = conv(f"{i}", h, c, c, **metadata) if op == "conv" else regular(f"{i}", op, numbers[op], h, c)
        before, h = h, h - lost * (op == "conv")
        nodes.append(replace(node, resolution=(before, h, before, h, c, c)))
    edges = [(i, i + 1) for i in range(len(nodes) - 1)]
    graph = ComputeGraph.from_nodes("chain", [(1, *nodes[0].in_shape)], nodes, edges)
    return segment_from_subgraph(graph, f"{nodes[0].in_shape[0]} {' '.join(ops)} {metadata}")


@pytest.fixture
def candidate():
    """conv 8x8x8 -> 4x4x16 and relu, between an input with a convolution and an output."""
    nodes = [
        conv("a", 8, 3, 8), conv("b", 8, 8, 16, stride=2), regular("i", "input", 1, 8, 3),
        regular("r", "relu", 6, 4, 16), regular("o", "output", 2, 4, 16),
    ]  # fmt: skip
    normalisers = {"max_hidden_size": 512, "max_kernel_size": 7, "max_derived_H": 256, "max_derived_W": 256}
    cg = ComputeGraph.from_nodes("net", (1, 8, 8, 3), nodes, [(2, 0), (0, 1), (1, 3), (3, 4)], normalisers)
    return find_candidates(cg, [[2], [0], [1, 3], [4]], 1, frozenset({"conv2d", "relu"}))[1]


class RecordingPredictor(CountingPredictor):
    """Remembers the segments that it scored."""

    def __init__(self):
        self.segments = []

    def score_psc(self, triples):
        self.segments += [part for _, part, _ in triples]
        return super().score_psc(triples)


def mutator_on(segments: list[Segment], unit="segment", most=8) -> Mutator:
    config = MutationConfig("generic", mutation_unit=unit, max_target_per_iter=most)
    database = SegmentDatabase.from_segments(segments)
    return Mutator(config, NetworkEncoder(), None, database, RecordingPredictor(), uses_parts=True)


GOOD = [chain(16, "conv", "relu", "conv"), chain(8, "conv", "fusedbatchnorm", "relu"), chain(4, "relu", "conv", "relu")]
BAD = [chain(16, "conv", "relu", "conv", padding="valid"), chain(32, "relu", "identity", "relu")]


@pytest.mark.parametrize("seed", range(5))
def test_targets_that_cannot_be_made_to_fit_leave_the_others(candidate, seed):
    order = np.random.default_rng(seed).permutation(5)
    swaps = mutator_on([(GOOD + BAD)[i] for i in order]).swaps(candidate, np.random.default_rng(seed))
    assert sorted(swap.segment.text for swap in swaps) == sorted(segment.text for segment in GOOD)


def test_what_is_scored_is_what_is_built(candidate):
    mutator = mutator_on(GOOD)
    swaps = mutator.swaps(candidate, np.random.default_rng(0))
    mutator.predictor.segments.clear()
    mutator.score(candidate, swaps)
    for swap, scored in zip(swaps, mutator.predictor.segments, strict=True):
        child = swap.apply(candidate.parent, "new")
        new = {node.str_id: node.resolution for node in child.nodes if node.str_id.startswith("new")}
        assert sorted(new.values()) == sorted(node.resolution for node in scored.nodes)
        assert scored.normalisers == child.normalisers == candidate.parent.normalisers


def test_a_segment_is_not_replaced_by_itself_nor_by_one_with_lost_inputs(candidate):
    itself = replace(cut_segment(candidate.parent, candidate.indices), text="itself")
    renumbered = ComputeGraph.from_nodes(
        "copy", [(1, 8, 8, 8)], [replace(node, str_id=f"x{node.str_id}") for node in itself.graph.nodes[::-1]], [(1, 0)]
    )
    fitting = [conv("c", 8, 8, 8, stride=2), regular("k", "concat", 11, 4, 8, c_out=16)]
    lost = segment_from_subgraph(ComputeGraph.from_nodes("k", [(1, 8, 8, 8)], fitting, [(0, 1)]), "lost")
    other = segment_from_subgraph(ComputeGraph.from_nodes("c", [(1, 8, 8, 8)], [conv("c", 8, 8, 16, 2)], []), "other")
    segments = [itself, segment_from_subgraph(renumbered, "copy"), lost, other]
    swaps = mutator_on(segments).swaps(candidate, np.random.default_rng(0))
    assert [swap.segment.text for swap in swaps] == ["other"]


def fitting(*ops: str) -> Segment:
    """A convolution of stride 2 and pointwise operations: in the candidate's very shapes."""
    numbers = {"relu": 6, "identity": 25, "fusedbatchnorm": 5}
    nodes = [conv("0", 8, 8, 16, stride=2), *(regular(f"{i}", op, numbers[op], 4, 16) for i, op in enumerate(ops, 1))]
    graph = ComputeGraph.from_nodes("fitting", [(1, 8, 8, 8)], nodes, [(i, i + 1) for i in range(len(ops))])
    return segment_from_subgraph(graph, " ".join(("conv", *ops)))


EXACT = [fitting("identity"), *(fitting(*["relu"] * i, "fusedbatchnorm") for i in range(5))]


@pytest.mark.parametrize(("most", "n_exact", "n_others"), [(4, 2, 2), (5, 2, 3), (20, 6, 3), (1, 0, 1)])
def test_half_of_the_targets_fit_as_they_are(candidate, most, n_exact, n_others):
    for seed in range(3):
        swaps = mutator_on([*GOOD, *EXACT], most=most).swaps(candidate, np.random.default_rng(seed))
        exact = [swap.segment.text in {one.text for one in EXACT} for swap in swaps]
        assert exact == [True] * n_exact + [False] * n_others
        assert len({swap.segment.text for swap in swaps}) == len(swaps)


def test_which_exact_targets_come_is_a_matter_of_chance(candidate):
    drawn = [mutator_on(EXACT, most=4).swaps(candidate, np.random.default_rng(seed)) for seed in range(20)]
    assert {swap.segment.text for swaps in drawn for swap in swaps} == {one.text for one in EXACT}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_others_are_those_with_the_best_predictions_the_best_last(candidate, most):
    """The predictor counts convolutions: 3, 2, 1 of 3, and 1 of 4."""
    best = [chain(16, "conv", "relu", "identity", "relu"), chain(4, "relu", "conv", "relu")]
    best += [chain(16, "conv", "relu", "conv"), chain(8, "conv", "conv", "conv")]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        swaps = mutator_on([best[i] for i in order], most=most).swaps(candidate, np.random.default_rng(0))
        assert [swap.segment.text for swap in swaps] == [one.text for one in best[-most:]]


def test_a_text_that_fits_as_it_is_is_not_made_to_fit_as_well(candidate):
    """Of a text with a variant in the very shapes the other variants stay away; so they do if it is not drawn."""
    used = [
        fitting("relu", "fusedbatchnorm"),
        replace(chain(16, "conv", "relu", "fusedbatchnorm"), text="conv relu fusedbatchnorm"),
    ]
    for most, expected in ((8, 1), (1, 0)):
        swaps = mutator_on([*GOOD, *used], most=most).swaps(candidate, np.random.default_rng(0))
        assert sum(swap.segment.text == used[0].text for swap in swaps) == expected


def test_ports_are_resolved_to_the_shapes_of_those_that_they_are_connected_to():
    """Two branches, of a map of 8 x 8 and one of 4 x 4: where both ends are crossed or none, another pair fits."""

    def branches(*sizes):
        pairs = zip(("ab", "cd"), sizes, strict=True)
        return [regular(name, "relu", 6, *size) for names, size in pairs for name in names], [(0, 1), (2, 3)]

    sizes = (8, 8), (4, 16)
    nodes, edges = branches(*sizes)
    nodes += [regular(f"i{size}", "input", 1, *size) for size in sizes]
    nodes += [regular(f"o{size}", "output", 2, *size) for size in sizes]
    cg = ComputeGraph.from_nodes("net", (), nodes, [*edges, (4, 0), (5, 2), (1, 6), (3, 7)])
    (candidate,) = find_candidates(cg, [[4, 5], [0, 1, 2, 3], [6, 7]], 1, frozenset({"relu"}))
    source = candidate.place.segment
    target = segment_from_subgraph(ComputeGraph.from_nodes("other", (), *branches((2, 4), (2, 4))))
    seen = set()
    for seed in range(16):
        swap = mutator_on([target]).resolve(candidate, target, np.random.default_rng(seed))
        if swap is not None:
            assert swap.segment.input_shapes == tuple(source.input_shapes[i] for i in swap.input_map)
            assert swap.segment.output_shapes == tuple(source.output_shapes[i] for i in swap.output_map)
            seen.add((swap.input_map, swap.output_map))
    assert seen == {((0, 1), (0, 1)), ((1, 0), (1, 0))}


def test_of_every_other_text_one_variant_is_tried_if_it_has_an_edge_to_spare(candidate):
    variants = [replace(chain(h, "relu", "conv", "relu"), text="same") for h in (16, 4, 32)]
    assert len(mutator_on(variants).swaps(candidate, np.random.default_rng(0))) == 1
    small = [chain(16, "conv", "relu"), chain(16, "conv")]
    assert mutator_on(small).swaps(candidate, np.random.default_rng(0)) == []


def test_costs_are_checked_again_where_merges_disappear():
    """Two branches into an add become one node: the target's add has a single input, and then so has the outer one.

    The swap alone lets expect 3 values of every pixel and channel; the network then costs 1.
    """
    nodes = [
        conv("a", 8, 3, 8), regular("i", "input", 1, 8, 3), regular("r", "relu", 6, 8, 8),
        regular("t", "tanh", 15, 8, 8), regular("s", "add", 9, 8, 8), regular("o", "output", 2, 8, 8),
    ]  # fmt: skip
    edges = [(1, 0), (0, 2), (0, 3), (2, 4), (3, 4), (4, 5)]
    normalisers = {"max_hidden_size": 512, "max_kernel_size": 7, "max_derived_H": 256, "max_derived_W": 256}
    cg = ComputeGraph.from_nodes("net", (1, 8, 8, 3), nodes, edges, normalisers)
    pair = [regular("x", "relu", 6, 8, 8), regular("y", "add", 9, 8, 8)]
    target = ComputeGraph.from_nodes("target", [(1, 8, 8, 8)], pair, [(0, 1)])
    mutator = mutator_on([Segment(target, ((0,),), ((8, 8, 8),), (0, 1), "relu add")])
    mutator.candidates = lambda *_: find_candidates(cg, [[1, 0], [2, 3], [4, 5]], 1, frozenset({"relu", "tanh"}))
    before, expected, found = (2 * 8 * 8 * 8 * (27 + n) / 1e6 for n in (4, 3, 1))
    decrease = Window(FLOPS, before, 0, 100).decrease
    for most, costs in ((decrease(found) + 0.01, [(found,)]), (decrease(found) - 0.01, [])):
        window = Window(FLOPS, before, 0, most)
        assert window.contains(expected)
        mutation = mutator.mutate(cg, Goal(-100.0, (window,)), np.random.default_rng(0))
        assert mutation.n_scored == 1
        assert [child.costs for child in mutation.accepted] == costs


def test_single_operations_are_picked_before_the_limit(candidate):
    cg = candidate.parent
    (relu,) = find_candidates(cg, [[2, 0, 1], [3], [4]], 1, frozenset({"relu"}))
    singles = [chain(4, op, c=16) for op in ("relu", "identity", "fusedbatchnorm")]
    longer = [chain(4, *["relu"] * length, c=16) for length in range(2, 20)]
    swaps = mutator_on([*longer, *singles], "op", most=4).swaps(relu, np.random.default_rng(0))
    assert sorted(swap.segment.text for swap in swaps) == ["4 fusedbatchnorm {}", "4 identity {}"]
