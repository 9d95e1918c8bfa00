"""The second stage: what is scored as a whole, and that only this decides."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.encoder.known_pieces import KnownPieces, vocabulary_digest
from model_src.encoder.segmentation import segment_with_text
from model_src.files import InputError
from model_src.search.children import Rating, Screened
from model_src.search.config import SearchConfig, parse_drop
from model_src.search.genealogy import genealogy, replay
from model_src.search.objectives import FLOPS, PEAK_MEMORY, Goal, Window
from model_src.search.offspring import most_promising
from model_src.search.pareto import crowding_distances, pareto_layers, points
from model_src.search.report import frontier_table, history_rows, pareto_rows
from model_src.search.rescoring import ByScore, Rescoring, merit_of
from model_src.search.session import search
from model_src.search.workers import Workers
from tests.search.conftest import TinyEnsemble, TinyFactory

CONFIG = SearchConfig(
    "nb201", epoch=2, top_k=3, min_flops_decrease_percent=-10, max_flops_decrease_percent=100, rescore_per_iter=12
)


def run(source, n_jobs=1, **changes):
    with Workers(TinyFactory(), n_jobs) as workers:
        return search(source, replace(CONFIG, **changes), workers=workers)


@pytest.fixture(scope="module")
def result(source):
    return run(source)


def whole_score(graph):
    """The mean of the tiny ensemble's members."""
    return TinyEnsemble().score_members([(graph, None)], "nb201").mean()


def test_layers_and_crowding():
    values = points([3, 1, 2, 0.5], [(3,), (1,), (2,), (2,)])
    assert [layer.tolist() for layer in pareto_layers(values)] == [[0, 1, 2], [3]]
    assert crowding_distances(values[:3]).tolist() == [math.inf, math.inf, 2.0]
    assert pareto_layers(points([], [])) == []
    assert crowding_distances(np.array([[1.0], [4.0], [0.0], [2.0]])).tolist() == [0.5, math.inf, math.inf, 0.75]


def test_of_the_last_layer_those_come_first_that_are_far_from_the_others():
    """Five of one layer, a diagonal: its ends, then the one in the widest gap. The dominated sixth comes last."""
    window = Window(FLOPS, 100.0, -1000, 1000)
    figures = [(1.0, 1.0), (2.0, 2.0), (2.5, 2.5), (6.0, 6.0), (9.0, 9.0), (0.5, 9.0)]
    found = [Screened(None, score, (cost,)) for score, cost in figures]
    for most, expected in ((2, {0, 4}), (3, {0, 3, 4}), (4, {0, 2, 3, 4}), (5, set(range(5))), (6, set(range(6)))):
        kept = most_promising(found, Goal(0.0, (window,)), most)
        assert {found.index(one) for one in kept} == expected


def by_the_book(parent, found, goal, known, most):
    """Identities and screening scores of whom the second stage takes: all children are built before one is chosen."""
    values = points([one.score for one in found], [goal.front_costs(one.costs) for one in found])
    chosen, known = [], set(known)
    for layer in pareto_layers(values):
        best, place = {}, {}
        for position in layer:
            graph = found[position].swap.value.apply(parent.graph, "x")
            identity, score = canonical_hash(graph), found[position].score
            inside = all(w.contains(w.objective.measure(graph)) for w in goal.windows)
            if inside and identity not in known and score > best.get(identity, -math.inf):
                best[identity], place[identity] = score, position
        names = sorted(best, key=lambda name: -best[name])
        if len(names) > most - len(chosen):
            distances = crowding_distances(values[[place[name] for name in names]])
            far = dict(zip(names, distances.tolist(), strict=True))
            names = sorted(names, key=lambda name: (-far[name], name))[: most - len(chosen)]
        chosen += [(name, best[name]) for name in names]
        known |= set(names)
    return chosen


@pytest.mark.parametrize("objective", [FLOPS, PEAK_MEMORY], ids=lambda one: one.name)
def test_who_is_scored_as_a_whole(source, result, objective):
    """Layers of the screening, the last by distance and hash; children that turn out too dear are none of them."""
    windows = [Window(objective, objective.measure(source), 0, 20)]
    if objective is not FLOPS:
        windows.append(Window(FLOPS, FLOPS.measure(source), -math.inf, math.inf))
    goal = Goal(-100.0, tuple(windows))
    screened = TinyFactory()().screen(source, goal, 60, np.random.default_rng(0)).screened
    parent = result.source
    with Workers(TinyFactory(), 1) as workers:
        for most in (1, 2, 3, 5, 20):
            known = {parent.identity}
            for _ in range(2):
                expected = by_the_book(parent, screened, goal, known, most)
                found = Rescoring(most, ByScore(0.0)).run([(parent, one) for one in screened], goal, 1, known, workers)
                assert [(one.identity, one.prescreen_score) for one in found] == expected
                assert known >= {name for name, _ in expected}


def test_merit():
    assert merit_of(Rating(1.0, 0.25, (0.8, 1.2)), 2.0) == 0.5
    assert merit_of(Rating(1.0, math.nan, (1.0,)), 2.0) == 1.0


def test_so_many_are_scored_and_none_twice(result):
    per_iteration = Counter(one.iteration for one in result.history)
    assert per_iteration == {1: 12, 2: 12}
    identities = [one.identity for one in result.history]
    assert len(set(identities)) == len(identities)
    assert result.source.identity not in identities


def test_accepted_networks_are_counted_not_rescored_ones(result):
    accepted = [one for one in result.history if one.merit > result.goal.least]
    assert result.n_distinct == len(result.visited) == 1 + len(accepted) < len(result.history)


def test_only_whole_networks_decide(result, source):
    assert result.front
    assert result.source.score == pytest.approx(whole_score(source))
    for one in result.history:
        assert one.identity == canonical_hash(one.graph)
        assert one.score == pytest.approx(whole_score(one.graph))
        assert one.merit == pytest.approx(one.score - CONFIG.caution * one.rating.sd)
        assert one.mflops == FLOPS.measure(one.graph)
    for one in result.front:
        assert one in result.history
        assert one.merit > result.source.merit
    parents = {one.origin.parent for one in result.history if one.iteration == 2}
    assert parents <= {result.source, *(one for one in result.history if one.merit > result.goal.least)}


def test_the_number_of_workers_does_not_matter(source, result):
    parallel = run(source, n_jobs=2)
    assert history_rows(parallel) == history_rows(result)
    assert pareto_rows(parallel) == pareto_rows(result)


def test_screening_keeps_whole_layers_inside_the_window(source):
    mutator = TinyFactory()()
    goal = Goal(-100.0, (Window(FLOPS, 312.767892, 0, 20),))
    everything = mutator.screen(source, goal, 10**6, np.random.default_rng(0)).screened
    few = mutator.screen(source, goal, 5, np.random.default_rng(0)).screened
    assert len(few) == 5 < len(everything)
    assert all(goal.contains(one.costs) for one in everything)
    values = points([one.score for one in everything], [one.costs for one in everything])
    first, *_ = pareto_layers(values)
    best = {(everything[i].score, everything[i].costs) for i in first}
    kept = {(one.score, one.costs) for one in few}
    assert best <= kept or kept <= best


def test_caution_ranks_by_less_than_the_mean(source):
    bold, careful = (run(source, caution=caution) for caution in (0.0, 3.0))
    assert bold.source.merit == bold.source.score
    assert careful.source.merit < careful.source.score
    assert [one.identity for one in bold.front] != [one.identity for one in careful.front]


def test_a_drop_of_the_score_may_be_allowed(source, result):
    dropped = run(source, max_score_drop=0.05)
    assert dropped.goal.least == pytest.approx(result.goal.least - 0.05)
    assert min(one.merit for one in dropped.front) < result.source.merit
    assert all(one.merit > result.source.merit - 0.05 for one in dropped.front)
    points_of = run(source, max_score_drop="0.5pt", epoch=1)
    assert points_of.goal.least == pytest.approx(result.goal.least - 0.05)  # a deviation is 10 points here


def test_the_share_of_known_pieces(source, result, monkeypatch):
    mutator = TinyFactory()()
    encoder, tokenizer = mutator.encoder, mutator.tokenizer
    known = KnownPieces.collect(
        vocabulary_digest(encoder, tokenizer), [(source, segment_with_text(source, encoder, tokenizer))]
    )
    monkeypatch.setattr(TinyEnsemble, "known_pieces", known)
    found = run(source)  # in this process
    for one in (found.source, *found.history):
        assert one.rating.known_share == known.share(one.graph, segment_with_text(one.graph, encoder, tokenizer))
    assert found.source.rating.known_share == 1 > found.history[0].rating.known_share > 0
    assert [row["known_share"] for row in pareto_rows(found)] == [
        f"{one.rating.known_share:.6f}" for one in (found.source, *found.front)
    ]
    assert {row["known_share"] for row in (*pareto_rows(result), *history_rows(result))} == {""}
    monkeypatch.setattr(TinyEnsemble, "known_pieces", replace(known, vocabulary="another"))
    assert math.isnan(run(source, epoch=1).source.rating.known_share)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1 %", "", "pt"])
def test_drops_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="-max_score_drop"):
        SearchConfig("nb201", max_score_drop=text)


@pytest.mark.parametrize(
    "flags",
    [
        {"caution": math.nan},
        {"caution": -1},
        {"rescore_per_iter": -1},
        {"epoch": 0},
        {"seed": None},
        {"n_jobs": "2"},
        {"segment_sparsity": 5},
        {"mutation_unit": "foo"},
        {"max_target_per_iter": -1},
    ],
)
def test_a_configuration_checks_its_numbers(flags):
    with pytest.raises(InputError, match=f"-{next(iter(flags))}"):
        SearchConfig("nb201", **flags)


def test_drops():
    assert parse_drop("0.5pt") == (0.5, True)
    assert parse_drop(0.25) == (0.25, False)


def test_swaps_are_bounded(source):
    found = run(source, epoch=3, max_swaps=1)
    assert {one.n_swaps for one in found.history} == {1}


def test_results_can_be_replayed(result):
    content = json.loads(json.dumps(genealogy(result)))
    assert content["input"] == result.source.identity
    for one, told in zip(result.networks, content["results"], strict=True):
        steps = [content["steps"][number] for number in told["steps"]]
        assert len(steps) == one.found.n_swaps
        graph = replay(result.source.graph, steps)
        assert canonical_hash(graph) == one.found.identity == told["hash"]
        assert len(told["node_origins"]) == one.graph.n_nodes
        for step in set(told["node_origins"]) - {None}:
            assert step in told["steps"]


def test_origins_are_those_of_the_nodes(result):
    """A node that the input has not is brought by a swap, which inserted its operation."""
    content = genealogy(result)
    ids = {node.str_id for node in result.source.graph.nodes}
    for one, told in zip(result.networks, content["results"], strict=True):
        for node_id, node, step in zip(one.node_ids, one.graph.nodes, told["node_origins"], strict=True):
            if step is None:
                assert node_id.removesuffix("_sum") in ids
            else:
                assert node.op_name in content["steps"][step]["inserted"]


def test_a_chain_that_does_not_fit_is_refused(result):
    steps = genealogy(result)["steps"]
    with pytest.raises(ValueError, match="step 0 gives"):
        replay(result.source.graph, [{**steps[0], "child": "another"}])
    with pytest.raises(ValueError, match="step 0 cannot be replayed"):
        replay(result.source.graph, [{**steps[0], "swap": {}}])


def test_columns_say_what_is_predicted(result):
    row = pareto_rows(result)[1]
    found = result.front[0]
    assert float(row["score_sd"]) == pytest.approx(found.rating.sd, abs=1e-6)
    assert float(row["accuracy"]) == pytest.approx(100 * (0.9 + 0.1 * found.score), abs=1e-3)
    assert float(row["accuracy_sd"]) == pytest.approx(10 * found.rating.sd, abs=1e-4)
    assert [float(row["score_convs"]), float(row["score_work"])] == pytest.approx(list(found.rating.members), abs=1e-6)
    assert row["swaps"] == found.n_swaps
    table = frontier_table(result, pareto_rows(result))
    assert "predicted accuracy" in table
    assert " ± " in table
    assert "points" in table


def test_accuracies_are_clipped(result):
    high = replace(result.source, score=2.0)
    assert float(pareto_rows(replace(result, source=high, front=[]))[0]["accuracy"]) == 100
