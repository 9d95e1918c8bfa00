"""Going on with a search that was stopped: whatever was lost, it ends as if nothing had happened."""

import gzip
import json
from dataclasses import replace

import pytest

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.files import InputError
from model_src.search.config import SearchConfig
from model_src.search.genealogy import genealogy
from model_src.search.journal import Journal
from model_src.search.pareto import Individual
from model_src.search.report import history_rows, pareto_rows
from model_src.search.result_folder import ResultFolder
from model_src.search.session import search
from model_src.search.workers import Workers
from tests.search.conftest import TinyFactory
from tests.search.test_feedback import Measured

PLAIN = SearchConfig(
    "nb201", epoch=3, top_k=3, min_flops_decrease_percent=-10, max_flops_decrease_percent=100, rescore_per_iter=0
)
RESCORED = replace(PLAIN, rescore_per_iter=12)
MEASURED = replace(RESCORED, epoch=2, rounds=2, measure=2)


def run(source, config, folder, on_progress=lambda _: None, n_jobs=1):
    measure = Measured() if config.measure else None
    with Workers(TinyFactory(), n_jobs) as workers:
        return search(
            source, config, on_progress=on_progress, workers=workers, measure=measure, journal=Journal(folder)
        )


def facts(result):
    """All that is told of a search, but for times."""
    made = genealogy(result)
    counts = (
        result.n_scored,
        result.n_outside,
        result.n_distinct,
        result.visited,
        result.measured,
        result.propagation.calls,
    )
    return pareto_rows(result), history_rows(result), made, counts


@pytest.fixture(scope="module", params=[PLAIN, RESCORED, MEASURED], ids=["plain", "rescored", "measured"])
def whole(request, source, tmp_path_factory):
    """A configuration, the facts of its search, and the folder."""
    folder = ResultFolder(tmp_path_factory.mktemp("whole"))
    return request.param, facts(run(source, request.param, folder)), folder


def copy_of(folder, count, path):
    """A folder with the first iterations of another one."""
    new = ResultFolder(path)
    for number, (_, content) in zip(range(1, count + 1), folder.iterations(), strict=False):
        new.save_iteration(number, content)
    return new


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_end_does_not_depend_on_where_a_search_was_stopped(source, whole, tmp_path, count):
    config, expected, folder = whole
    seen = []
    result = run(source, config, copy_of(folder, count, tmp_path), seen.append)
    assert facts(result) == expected
    assert {one.iteration for one in seen} == set(range(count + 1, config.rounds * config.epoch + 1))


def test_a_search_goes_on_in_more_iterations(source, whole, tmp_path):
    config, expected, _ = whole
    if config.measure:
        pytest.skip("what is measured depends on the number of iterations")
    shorter = ResultFolder(tmp_path)
    run(source, replace(config, epoch=1), shorter)
    assert facts(run(source, config, shorter)) == expected


def test_of_an_interrupted_iteration_nothing_is_kept(source, whole, tmp_path):
    config, expected, _ = whole
    folder = ResultFolder(tmp_path)

    def stop(now):
        if (now.iteration, now.parent) == (2, 2):
            raise KeyboardInterrupt

    assert isinstance(run(source, config, folder, stop).stopped_by, KeyboardInterrupt)
    assert len(list(folder.iterations())) == 1
    assert facts(run(source, config, folder)) == expected


def test_time_is_summed_over_runs(source, tmp_path):
    folder = ResultFolder(tmp_path)
    first = run(source, replace(PLAIN, epoch=1), folder)
    assert not first.out_of_time
    again = run(source, replace(PLAIN, max_minutes=1e-9), folder)
    assert again.out_of_time
    assert again.seconds > first.seconds
    assert again.n_scored > first.n_scored  # one network was mutated
    assert len(list(folder.iterations())) == 1


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"[", mtime=0)], ids=["empty", "text", "cut"])
def test_a_damaged_iteration_is_refused(source, tmp_path, content):
    folder = ResultFolder(tmp_path)
    folder.save_iteration(1, {})
    (path,) = tmp_path.rglob("*.json.gz")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"0001\.json\.gz: (not JSON|not a compressed file, or damaged)"):
        run(source, PLAIN, folder)


@pytest.mark.parametrize("key", ["mutations", "rescored", "seconds"])
def test_an_iteration_that_lacks_something_is_refused(source, whole, tmp_path, key):
    config, _, folder = whole
    damaged = copy_of(folder, 1, tmp_path)
    ((_, content),) = damaged.iterations()
    del content[key]
    damaged.save_iteration(1, content)
    with pytest.raises(InputError, match=f"0001.json.gz: not an iteration of this search .KeyError: '{key}'"):
        run(source, config, damaged)


def test_every_network_has_the_scores_of_all_predictors(source, whole, tmp_path):
    config, _, folder = whole
    damaged = copy_of(folder, 1, tmp_path)
    ((_, content),) = damaged.iterations()
    if not content["rescored"]:
        pytest.skip("networks are not scored as a whole")
    content["rescored"][0]["rating"]["members"].append(0.5)
    damaged.save_iteration(1, content)
    with pytest.raises(InputError, match=r"0001\.json\.gz: not an iteration of this search .*predictors"):
        run(source, config, damaged)


@pytest.mark.parametrize(
    ("key", "value"),
    [("hash", "another"), ("swap.output_map", [99]), ("swap.indices", [10**6])],
    ids=["hash", "map", "indices"],
)
def test_a_network_that_its_swap_does_not_give_is_refused(source, whole, tmp_path, key, value):
    _, _, folder = whole
    damaged = copy_of(folder, 1, tmp_path)
    ((_, content),) = damaged.iterations()
    child = (content["rescored"] or content["mutations"][0]["children"])[0]
    place = child["swap"] if "." in key else child
    place[key.rpartition(".")[2]] = value
    damaged.save_iteration(1, content)
    (turn,) = Journal(damaged).turns(Individual(lambda: source, canonical_hash(source), 0, 0, (1,), 1, 0, 0))
    with pytest.raises(InputError, match=r"0001\.json\.gz: not an iteration of this search "):
        assert (turn.rescored or turn.mutations[0].children)[0].graph


def test_the_files_are_small(whole):
    _, _, folder = whole
    for path, content in folder.iterations():
        assert path.stat().st_size < len(json.dumps(content)) / 4


@pytest.mark.parametrize("most", [1, 30, 61, 100])
@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_budget_is_overshot_by_less_than_one_parents_children_and_a_larger_one_goes_on(
    source, whole, tmp_path, most, n_jobs
):
    config, expected, _ = whole
    if config.measure:
        pytest.skip("what is measured depends on the number of iterations")
    folder = ResultFolder(tmp_path)
    result = run(source, replace(config, max_visited_architecture=most), folder, n_jobs=n_jobs)
    assert most <= result.n_scored < most + 4 * 12  # candidates x targets, see `TinyFactory`
    assert facts(run(source, config, folder)) == expected
