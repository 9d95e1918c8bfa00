"""Rounds of a search: what is measured, what is learnt from it, and what becomes of the front."""

from dataclasses import replace

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.files import InputError
from model_src.search.children import Rating
from model_src.search.config import SearchConfig
from model_src.search.feedback import MeasuredNetwork, facts_of, spread
from model_src.search.pareto import Individual
from model_src.search.report import frontier_table, history_rows, pareto_rows
from model_src.search.session import search
from model_src.search.workers import Workers
from tests.search.conftest import TinyFactory

CONFIG = SearchConfig(
    "nb201",
    epoch=1,
    top_k=3,
    min_flops_decrease_percent=-10,
    max_flops_decrease_percent=100,
    rescore_per_iter=12,
    rounds=2,
    measure=2,
)


class Measured:
    """Measures by what scores do not know: the FLOPs, here by the number of nodes. Remembers what it was asked for."""

    def __init__(self, failing=(), stop_after=None):
        self.asked, self.failing, self.stop_after, self.n_done = [], failing, stop_after, 0

    def __call__(self, networks):
        self.asked.append(list(networks))
        for number, (identity, (graph, inherited)) in enumerate(networks.items()):
            assert inherited is None
            if self.n_done == self.stop_after:
                raise KeyboardInterrupt
            self.n_done += 1
            yield identity, None if (len(self.asked), number) in self.failing else 0.9 - graph.n_nodes / 1000


def run(source, measuring=None, known=(), n_jobs=1, **changes):
    with Workers(TinyFactory(), n_jobs) as workers:
        return search(source, replace(CONFIG, **changes), workers=workers, measure=measuring, known=known)


@pytest.fixture(scope="module")
def measure():
    return Measured()


@pytest.fixture(scope="module")
def result(source, measure):
    return run(source, measure)


def test_after_each_round_results_are_measured_and_once_the_input(source, measure, result):
    first, second = measure.asked
    assert first[0] == canonical_hash(source)
    assert [len(first), len(second)] == [3, 2]
    assert len({*first, *second}) == 5
    assert {one.identity for one in result.history if one.iteration == 1} >= set(first[1:])
    assert max(one.iteration for one in result.history) == 2


def test_measured_networks_come_first_by_accuracy(measure, result):
    n_measured = len(result.measured) - 1
    accuracies = [result.measured[one.identity] for one in result.front[:n_measured]]
    assert accuracies == sorted(accuracies, reverse=True)
    rest = result.front[n_measured:]
    assert rest
    assert not {one.identity for one in rest} & result.measured.keys()
    assert [one.merit for one in rest] == sorted((one.merit for one in rest), reverse=True)


def test_measured_and_predicted_numbers_have_columns_of_their_own(source, result):
    rows = pareto_rows(result)
    start = result.measured[canonical_hash(source)]
    for row in rows:
        known = result.measured.get(row["hash"])
        assert row["measured"] == ("" if known is None else f"{100 * known:.6f}")
        assert row["measured_change"] == ("" if known is None else f"{100 * (known - start):.6f}")
    assert [*rows[0]][-2:] == ["measured", "measured_change"]
    table = frontier_table(result, rows).splitlines()
    assert table[0].split()[:3] == ["rank", "measured", "points"]
    assert table[1].split()[1:4] == [f"{100 * start:.2f}", "%", "+0.00"]
    assert table[len(rows)].split()[1] == "-"
    assert table[-1] == f"measured: {result.lesson}"


def test_without_measuring_nothing_is_added(source):
    plain = run(source, measure=0)
    assert "measured" not in pareto_rows(plain)[0]
    assert plain.lesson is None
    assert "measured" not in frontier_table(plain, pareto_rows(plain))


@pytest.fixture(scope="module")
def known(source, result):
    """Ten networks with a truth that scores do not know: fewer nodes are better."""
    chosen = [one for one in result.history if one.iteration == 1][:10]
    return [
        MeasuredNetwork(canonical_hash(source), 0.9 - source.n_nodes / 1000),
        *(MeasuredNetwork(one.identity, 0.9 - one.graph.n_nodes / 1000, one.graph, one.n_swaps) for one in chosen),
    ]


def test_a_correction_ranks_all_networks_anew(source, known):
    taught = run(source, known=known, measure=0)
    correction = taught.lesson.correction
    assert correction
    for one in (taught.source, *taught.history):
        assert one.merit == taught_merit(correction, one)
    assert taught.goal.least == taught.source.merit
    accepted = [one for one in taught.history if one.merit > taught.goal.least]
    assert len(taught.visited) == taught.n_distinct == 1 + len(accepted)
    front = [one for one in taught.front if one.identity not in taught.measured]
    assert {one.identity for one in front} <= {one.identity for one in accepted}
    assert [row["merit"] for row in history_rows(taught)[1:]] == [f"{one.merit:.6f}" for one in taught.history]


def taught_merit(correction, one):
    means, deviations = correction.predict([facts_of(one.rating, one.mflops, one.n_swaps)])
    return means[0] - CONFIG.caution * deviations[0]


def test_the_same_measurements_give_the_same_result_whatever_the_workers(source, result):
    assert pareto_rows(run(source, Measured(), n_jobs=2)) == pareto_rows(result)


def test_what_fails_is_not_tried_again(source):
    measure = Measured(failing={(1, 1)})
    result = run(source, measure)
    failed = measure.asked[0][1]
    assert failed not in result.measured
    assert failed not in measure.asked[1]
    no_input = Measured(failing={(1, 0)})
    result = run(source, no_input)
    assert result.lesson.correction is None
    assert canonical_hash(source) not in no_input.asked[1]
    assert pareto_rows(result)[0]["measured"] == ""


def test_an_interruption_keeps_what_is_measured(source):
    result = run(source, Measured(stop_after=2))
    assert result.interrupted
    assert len(result.measured) == 2
    assert result.front[0].identity in result.measured


def test_known_accuracies_are_learnt_from_when_their_networks_are_met(source, result):
    known = [MeasuredNetwork(identity, accuracy) for identity, accuracy in result.measured.items()]
    told = run(source, known=known, measure=0)
    assert told.lesson.n_measured == len([one for one in told.history if one.identity in result.measured])
    assert told.lesson.n_measured >= 2


def test_known_networks_are_learnt_from_at_once(source, known):
    with pytest.raises(InputError, match=r"the input \(hash .*\) is not among the measured networks"):
        run(source, known=known[1:], measure=0)
    told = run(source, known=known, measure=0, rounds=1, max_visited_architecture=1)
    assert told.lesson.n_measured == len(known) - 1


def test_scores_of_whole_networks_are_needed(source):
    with pytest.raises(InputError, match="-measure: needs -rescore_per_iter above 0"):
        replace(CONFIG, rescore_per_iter=0)
    with pytest.raises(InputError, match="-rescore_per_iter 0: measured networks"):
        run(source, known=[MeasuredNetwork("x", 0.5)], measure=0, rescore_per_iter=0)


@pytest.mark.parametrize(("field", "value"), [("rounds", 0), ("measure", -1)])
def test_numbers_are_checked(field, value):
    with pytest.raises(InputError, match=f"-{field}: must be a number from"):
        replace(CONFIG, **{field: value})


def test_a_drop_in_points_is_one_of_measured_accuracy(source, known):
    for drop, points in (("0pt", 0.0), ("0.5pt", 0.5), (0.05, 100 * 0.1 * 0.05)):
        taught = run(source, known=known, measure=0, rounds=1, max_score_drop=drop)
        assert taught.lesson.correction
        assert taught.goal.least == pytest.approx(taught.source.merit - points)


def individual(cost, sd, merit=0.0):
    return Individual(None, f"{cost} {sd}", 0.0, merit, (cost,), cost, 1, 0.0, rating=Rating(0.0, sd, ()))


def test_what_is_measured_spreads_over_cost_and_disagreement():
    front = [individual(*place) for place in ((10, 0.1), (9, 0.1), (5, 0.1), (5, 0.9), (1, 0.1), (9.5, 0.2))]
    assert spread(front, 3) == [front[0], front[3], front[4]]
    assert spread(front, 1) == [front[0]]
    assert spread(front, 9)[0] == front[0]
    assert len(spread(front, 9)) == 6
    assert spread([], 3) == []
    alone = [individual(10, np.nan), individual(5, np.nan), individual(1, np.nan)]
    assert spread(alone, 2) == [alone[0], alone[2]]


def test_the_search_measures_what_can_be_built(source):
    graphs = {}

    def measure(networks):
        graphs.update(networks)
        return iter(())

    run(source, measure, rounds=1)
    assert len(graphs) == 3
    assert all(graph.normalisers == source.normalisers for graph, _ in graphs.values())
