"""A search for several objectives: front over score and all costs, a window for each, tables, pictures, the page."""

import pickle
from dataclasses import replace
from statistics import median

import pytest

from model_src.cli import FlagParser
from model_src.files import InputError
from model_src.profiling.meter import Meter
from model_src.profiling.remembered import Remembered
from model_src.search import flags
from model_src.search.charts import axis
from model_src.search.comparison import write_comparison
from model_src.search.config import SearchConfig
from model_src.search.journal import Journal
from model_src.search.objectives import FLOPS, OBJECTIVES, PARAMS, PEAK_MEMORY, Objective
from model_src.search.output import write_pictures, write_results
from model_src.search.pareto import hypervolume
from model_src.search.points import progress, views_of
from model_src.search.provenance import provenance
from model_src.search.report import frontier_table, history_rows, pareto_rows
from model_src.search.result_folder import ResultFolder
from model_src.search.session import search
from model_src.search.stored import read_search
from model_src.search.workers import Workers
from tests.search.conftest import TinyFactory
from tests.search.test_costing import Profiler, ms
from tests.search.test_journal import copy_of, facts
from tests.search.test_page import LINE, page_of, rows_of

TWO = SearchConfig(
    "nb201", epoch=2, top_k=4, objective=("flops", "params"), min_decrease_percent=(-20, -60),
    max_decrease_percent=(60, 90), rescore_per_iter=30,
)  # fmt: skip
FLAGS = ["-objective", "flops", "params", "-min_decrease_percent", "-20", "-60", "-max_decrease_percent", "60", "90"]


def run(source, n_jobs=1, journal=None, meters=None, on_progress=lambda _: None, **changes):
    with Workers(TinyFactory(), n_jobs) as workers:
        config = replace(TWO, **changes)
        return search(source, config, None, on_progress, workers, journal=journal, meters=meters)


@pytest.fixture(scope="module")
def found(source, tmp_path_factory):
    """A search, and its folder."""
    folder = ResultFolder(tmp_path_factory.mktemp("several"))
    folder.save_params(flags.parse_flags(FlagParser(""), [*LINE, *FLAGS]), provenance({}))
    folder.save_input(source)
    result = run(source, journal=Journal(folder))
    assert not write_results(result, folder)
    assert not write_pictures(result, folder)
    return result, folder


def dominates(one, other):
    pairs = list(zip((-one.merit, *one.costs), (-other.merit, *other.costs), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def test_the_front_is_what_no_accepted_network_dominates(found):
    result, _ = found
    accepted = [one for one in result.history if result.goal.keeps(one.merit, one.costs)]
    best = {one.identity for one in accepted if not any(dominates(other, one) for other in accepted)}
    assert {one.identity for one in result.front} == best
    assert len({tuple(one.costs) for one in result.front}) == len(best) > 2
    for one in result.front:
        assert one.costs == (pytest.approx(FLOPS.measure(one.graph)), PARAMS.measure(one.graph))
    over_flops = [one for one in result.front if not any(o.merit >= one.merit and o.cost < one.cost for o in accepted)]
    assert len(over_flops) < len(result.front)  # some are there for their parameters alone


def test_every_objective_has_its_window(found, source):
    result, _ = found
    assert [(w.objective, w.min_decrease, w.max_decrease) for w in result.goal.windows] == TWO.limits()
    window = result.goal.windows[1]
    usual = median(window.decrease(one.costs[1]) for one in result.history if one.iteration == 1)
    narrow = run(source, min_decrease_percent=(-20, usual), epoch=1)
    assert narrow.history
    assert all(window.decrease(one.costs[1]) > usual for one in narrow.history)


def test_a_search_that_goes_on_ends_alike(found, source, tmp_path):
    result, folder = found
    assert facts(run(source, journal=Journal(copy_of(folder, 1, tmp_path)))) == facts(result)


@pytest.mark.slow
def test_one_or_two_workers_give_the_same(found, source):
    assert facts(run(source, n_jobs=2)) == facts(found[0])


def test_a_damaged_number_of_costs_is_refused(found, source, tmp_path):
    _, folder = found
    damaged = copy_of(folder, 1, tmp_path)
    ((_, content),) = damaged.iterations()
    content["rescored"][0]["costs"].pop()
    damaged.save_iteration(1, content)
    with pytest.raises(InputError, match=r"0001\.json\.gz: not an iteration of .* 1 costs of a network, not 2"):
        run(source, journal=Journal(damaged))


def test_the_published_search_keeps_all_costs_of_what_it_visited(source, tmp_path_factory):
    folder, copy = (ResultFolder(tmp_path_factory.mktemp(name)) for name in ("whole", "copy"))
    result = run(source, journal=Journal(folder), rescore_per_iter=0)
    assert len(result.front) > 1
    assert {len(one) for one in result.visited} == {4}
    again = run(source, journal=Journal(copy_of(folder, 1, copy.path)), rescore_per_iter=0)
    assert facts(again) == facts(result)


def test_former_columns_stay_and_further_objectives_have_theirs(found, source):
    result, _ = found
    alone = {"objective": "flops", "min_decrease_percent": -20, "max_decrease_percent": 60}
    rows, single = pareto_rows(result), pareto_rows(run(source, epoch=1, **alone))
    assert [name for name in rows[0] if name in single[0]][:10] == list(single[0])[:10]
    assert set(rows[0]) - set(single[0]) == {"params_change_percent"}
    for row, one in zip(rows[1:], result.front, strict=True):
        assert (row["mflops"], row["params"]) == (f"{one.costs[0]:.6f}", int(one.costs[1]))
        change = 100 * (one.costs[1] / result.source.costs[1] - 1)
        assert float(row["params_change_percent"]) == pytest.approx(change, abs=1e-4)
    assert "params_change_percent" in history_rows(result)[0]
    head = frontier_table(result, rows).splitlines()[0].split()
    assert head.count("parameters") == 1
    assert head.count("change") == 2


def test_page_and_picture_have_a_panel_for_each(found):
    result, folder = found
    page, history = page_of(folder), rows_of(folder, "history.csv")
    assert len(page.classed("point")) == 2 * len(history)
    assert len(page.classed("window")) == len(page.classed("front")) == 2
    assert {point["href"] for point in page.classed("point") if "href" in point} == {
        f"#rank-{rank}" for rank in range(len(result.front))
    }
    picture = (folder.path / "pareto.svg").read_text()
    assert picture.count('id="axes_') == 3  # and the bar of colours
    assert "<!-- FLOPs (millions) -->" in picture
    assert "<!-- parameters -->" in picture


def test_the_hypervolume_is_over_all_objectives(found):
    stored = read_search(found[1])
    views = views_of(stored)
    assert [view.objective for view in views] == [FLOPS, PARAMS]
    steps, source = progress(stored, views), found[0].source
    costs = {one.identity: one.costs for one in found[0].history}
    accepted = [point for point in views[0].points if point.is_accepted]
    shares = [[a / b for a, b in zip(costs[point.row["hash"]], source.costs, strict=True)] for point in accepted]
    most = [1 - window.min_decrease / 100 for window in found[0].goal.windows]
    gains = [point.value - views[0].source.value for point in accepted]
    assert 0 < steps[0].hypervolume <= steps[1].hypervolume == pytest.approx(hypervolume(gains, shares, most))


def test_searches_are_compared_over_each(found, tmp_path):
    one = read_search(found[1])
    write_comparison([one, one], tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count('class="front"') == 4
    with pytest.raises(InputError, match="different objectives: flops, flops params"):
        write_comparison([one, replace(one, flags={**one.flags, "objective": "flops"})], tmp_path / "page.html")


def test_what_is_measured_may_be_one_of_several(source):
    profilers = {name: Profiler() for name in ("latency", "command:tell {onnx}")}
    meters = {name: Meter(profiler, Remembered(name)) for name, profiler in profilers.items()}
    result = run(source, meters=meters, objective=("flops", *meters), min_decrease_percent=-20, max_decrease_percent=90)
    better = [one for one in result.history if one.merit > result.goal.least]
    assert better
    for profiler in profilers.values():
        assert len(profiler.asked) == 1 + len(better)
    for one in result.front:
        assert one.costs == (pytest.approx(FLOPS.measure(one.graph)), ms(one.graph), ms(one.graph))
    row = pareto_rows(result)[1]
    assert row["latency_ms"] == row["cost"] == f"{ms(result.front[0].graph):.6f}"


def test_limits_of_several_objectives():
    inf = float("inf")
    both = {"objective": ("params", "flops")}
    assert SearchConfig("nb201", **both).limits() == [(PARAMS, 0, 20), (FLOPS, 0, 20)]
    assert SearchConfig("nb201", **both, max_decrease_percent=50).limits() == [(PARAMS, 0, 50), (FLOPS, 0, 50)]
    each = SearchConfig("nb201", **both, min_decrease_percent=[0, -10], max_decrease_percent=[9, None])
    assert each.limits() == [(PARAMS, 0, 9), (FLOPS, -10, 20)]
    assert SearchConfig("nb201", **both, max_flops_decrease_percent=90).limits() == [(PARAMS, 0, 20), (FLOPS, 0, 90)]
    others = SearchConfig("nb201", objective=[PEAK_MEMORY, "params"])
    assert others.limits() == [(PEAK_MEMORY, 0, 20), (PARAMS, 0, 20), (FLOPS, -inf, inf)]
    with pytest.raises(InputError, match="-objective: give at least one"):
        SearchConfig("nb201", objective=())
    own = Objective("nodes", "nodes", "nodes", "params", lambda cg: cg.n_nodes)
    with pytest.raises(InputError, match="params and nodes are one cost"):
        SearchConfig("nb201", objective=("params", own))


def test_flags_of_one_objective_are_stored_as_before_and_of_several_as_lists(tmp_path):
    single = flags.parse_flags(FlagParser(""), [*LINE, "-objective", "params", "-min_decrease_percent", "-10"])
    assert (single.objective, single.min_decrease_percent) == ("params", -10.0)
    several = flags.parse_flags(FlagParser(""), [*LINE, *FLAGS])
    assert (several.objective, several.min_decrease_percent) == (["flops", "params"], [-20.0, -60.0])
    written = tmp_path / "flags.yaml"
    written.write_text("objective: [flops, params]\nmin_decrease_percent: [-20, -60]\nmax_decrease_percent: [60, 90]\n")
    assert vars(flags.parse_flags(FlagParser(""), [*LINE, "-config", str(written)])) == vars(several)
    assert flags.search_config(several).limits() == TWO.limits()


def test_other_objectives_are_refused_when_a_search_goes_on(found):
    _, folder = found
    assert flags.parse_flags(FlagParser(""), ["-resume", str(folder.path), "-epoch", "9"]).objective == [
        "flops",
        "params",
    ]
    with pytest.raises(InputError, match=r"its search had -objective \['flops', 'params'\], not params"):
        flags.parse_flags(FlagParser(""), ["-resume", str(folder.path), "-objective", "params"])


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_objectives_reach_worker_processes(objective):
    assert pickle.loads(pickle.dumps(objective)) == objective


def test_axes_write_millions():
    assert [text for _, text in axis("parameters", [1.2e6, 2.9e6], 0, 100).ticks] == ["1.5 M", "2.0 M", "2.5 M"]
    assert [text for _, text in axis("FLOPs", [0, 12345], 0, 100).ticks] == ["0", "5,000", "10,000"]
