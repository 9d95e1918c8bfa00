"""Costs that are measured: who is asked for, and what decides."""

import math
from dataclasses import replace

import pytest

from model_src.files import InputError
from model_src.profiling.meter import Meter
from model_src.profiling.remembered import Reading, Remembered
from model_src.search.config import SearchConfig
from model_src.search.objectives import LATENCY
from model_src.search.report import frontier_table, history_rows, pareto_rows, summary
from model_src.search.session import search
from model_src.search.workers import Workers
from tests.search.conftest import TinyFactory

CONFIG = SearchConfig(
    "nb201", epoch=2, top_k=3, objective="latency", min_decrease_percent=-20, max_decrease_percent=90,
    rescore_per_iter=12, costs_dir=None,
)  # fmt: skip


def ms(cg):
    """Convolutions take as long as there are, and adds much longer: unlike FLOPs."""
    return sum({"conv2d": 1.0, "add": 5.0}.get(node.op_name, 0.01) for node in cg.nodes)


class Profiler:
    """Knows at once; every third network cannot be measured where `fails` is set, or none but the first one."""

    def __init__(self, fails=False):
        self.asked, self._fails = [], fails

    def readings(self, networks):
        for position, cg in enumerate(networks):
            self.asked.append(cg)
            failing = self._fails and (len(self.asked) % 3 == 2 or (self._fails == "all" and len(self.asked) > 1))
            yield position, Reading(math.nan, failure="no") if failing else Reading(ms(cg))

    def beside(self, reference, cost):
        return self


def run(source, profiler, n_jobs=1, **changes):
    meters = {"latency": Meter(profiler, Remembered("here"))}
    with Workers(TinyFactory(), n_jobs) as workers:
        return search(source, replace(CONFIG, **changes), workers=workers, meters=meters)


@pytest.fixture(scope="module")
def found(source):
    profiler = Profiler()
    return run(source, profiler), profiler


def test_the_front_is_over_measured_costs(found, source):
    result, _ = found
    assert result.source.costs == (ms(source),)
    assert len(result.front) > 1
    assert [one.cost for one in result.front] == [ms(one.graph) for one in result.front]
    assert len({one.cost / one.mflops for one in result.front}) > 1
    merits, costs = [one.merit for one in result.front], [one.cost for one in result.front]
    assert merits == sorted(merits, reverse=True)
    assert costs == sorted(costs, reverse=True)


def test_only_rescored_networks_that_are_better_are_measured_each_once(found):
    result, profiler = found
    better = [one for one in result.history if one.merit > result.goal.least]
    assert len(profiler.asked) == 1 + len(better)
    assert 0 < len(better) < len(result.history)
    assert all(one.is_estimated != (one in better) for one in result.history)


def test_what_is_outside_of_the_window_as_measured_is_not_accepted(source):
    result = run(source, Profiler(), min_decrease_percent=0, max_decrease_percent=10)
    window = result.goal.windows[0]
    better = [one for one in result.history if one.merit > result.goal.least]
    outside = [one for one in better if not window.contains(one.cost)]
    assert outside
    assert not {one.identity for one in outside} & {one.identity for one in result.front}
    rows = {row["hash"]: row for row in history_rows(result)}
    assert all(rows[one.identity]["accepted"] == 0 for one in outside)
    assert all(rows[one.identity]["latency_ms"] == f"{one.cost:.6f}" for one in better)
    assert {rows[one.identity]["latency_ms"] for one in result.history if one not in better} == {""}


def test_without_rescoring_only_the_front_is_measured(source):
    profiler = Profiler()
    result = run(source, profiler, rescore_per_iter=0)
    assert result.front
    assert [one.cost for one in result.front] == [ms(one.graph) for one in result.front]
    assert len(result.front) <= len(profiler.asked) - 1 < result.n_distinct - 1
    assert not any(one.is_estimated for one in result.front)


def test_tables_have_a_column(found):
    result, _ = found
    rows = pareto_rows(result)
    assert [row["latency_ms"] for row in rows[1:]] == [f"{one.cost:.6f}" for one in result.front]
    assert "ms" in frontier_table(result, rows)


def test_what_cannot_be_measured_is_no_result(source):
    result = run(source, Profiler(fails=True))
    lost = [one for one in result.history if math.isnan(one.cost)]
    assert lost
    assert result.front
    assert not {one.identity for one in lost} & {one.identity for one in result.front}
    assert {row["latency_ms"] for row in history_rows(result) if row["hash"] in {one.identity for one in lost}} == {""}


def test_an_input_that_cannot_be_measured_is_refused(source):
    profiler = Profiler(fails=True)
    profiler.asked = [None]
    with pytest.raises(InputError, match=r"-objective latency: the input .* cannot be measured"):
        run(source, profiler)


def test_where_measured_costs_leave_nothing_the_summary_says_so(source):
    result = run(source, Profiler(fails="all"), epoch=1)
    assert not result.front
    assert "of the other 12, scored as a whole, none is better, with costs as measured inside of it" in summary(result)


@pytest.mark.slow
def test_the_same_times_give_the_same_search_whatever_the_number_of_workers(found, source):
    result, _ = found
    assert pareto_rows(run(source, Profiler(), n_jobs=2)) == pareto_rows(result)


def test_the_estimate_of_the_input_is_what_was_measured(found, source):
    result, _ = found
    objective = result.goal.windows[0].objective
    assert objective.measure(source) == pytest.approx(ms(source))
    assert (objective.name, objective.unit, objective.column) == (LATENCY.name, "ms", "latency_ms")


def test_a_search_that_measures_nothing_asks_nobody(source):
    profiler = Profiler()
    run(source, profiler, objective="flops", epoch=1)
    assert not profiler.asked
