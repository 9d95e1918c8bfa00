"""The loop: same seed, same result; budget; interruption; empty results."""

import io
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from types import SimpleNamespace

import pytest

from model_src.comp_graph.tf_comp_graph_utils import derived_normalisers
from model_src.search.mutator import Child, Mutation
from model_src.search.objectives import Objectives
from model_src.search.pareto import Individual
from model_src.search.report import (
    frontier_table,
    pareto_rows,
    rank_networks,
    save_mutation_result,
    save_networks,
    save_pareto_csv,
)
from model_src.search.run_manager import SearchConfig, SearchResult, _State, run_search, with_run_normalisers
from model_src.search.workers import Workers
from tests.search.conftest import TinyFactory

CONFIG = SearchConfig(epoch=2, top_k=3, min_flops_decrease_percent=-10, max_flops_decrease_percent=100)


def run(source, config=CONFIG, n_jobs=1, on_progress=lambda _: None):
    with Workers(TinyFactory(), n_jobs) as workers:
        return run_search(source, config, workers, on_progress)


@pytest.fixture(scope="module")
def result(source):
    return run(source)


def rows_of(result):
    return pareto_rows(result, rank_networks(result, 32, 32, 3))


def test_the_front_is_better_than_the_input_and_sorted(result):
    scores, mflops = [one.score for one in result.front], [one.mflops for one in result.front]
    assert scores == sorted(scores, reverse=True)
    assert mflops == sorted(mflops, reverse=True)
    assert min(scores) > result.source.score
    assert len({one.identity for one in result.front}) == len(scores) > 1
    assert len(result.visited) >= result.n_distinct > len(scores)


def test_same_seed_same_rows_for_one_and_two_workers(source, result, tmp_path):
    again, parallel = run(source), run(source, n_jobs=2)
    assert rows_of(again) == rows_of(parallel) == rows_of(result)
    for name, one in (("a", again), ("b", parallel)):
        save_pareto_csv(rows_of(one), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert parallel.propagation.calls == result.propagation.calls
    assert parallel.n_scored == result.n_scored


def test_another_seed_gives_another_result(source, result):
    assert rows_of(run(source, SearchConfig(epoch=1, top_k=3, seed=1))) != rows_of(result)


def test_a_network_found_twice_counts_once(source):
    swap = SimpleNamespace(apply=lambda *_: source)
    found = [Child(swap, identity, 2.0, mflops) for identity, mflops in (("x", 9), ("x", 9), ("y", 8), ("input", 10))]
    origin = Individual(lambda: source, "input", 1.0, 10, 0)
    result = SearchResult(origin, Objectives(1.0, 10, -10, 100), visited=[(1.0, 10, 0)])
    mutate = SimpleNamespace(mutate=lambda *_: [Mutation(found, 4)])
    state = _State(result, CONFIG, lambda _: None)
    state.run_iteration(1, mutate)
    assert len(result.visited) == 5
    assert state.known == {"input", "x", "y"}
    assert [one.identity for one in state.latest] == ["x", "y"]


def test_the_budget_ends_the_search_and_keeps_the_results(source):
    seen = []
    config = SearchConfig(epoch=5, top_k=3, max_visited_architecture=1, min_flops_decrease_percent=-10)
    result = run(source, config, on_progress=seen.append)
    assert len(seen) == 1
    assert result.n_distinct > 1


def test_an_interruption_keeps_what_was_found(source):
    def stop(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    result = run(source, on_progress=stop)
    assert result.interrupted
    assert result.front


def test_an_empty_result_is_reported(source, tmp_path):
    config = SearchConfig(epoch=1, min_flops_decrease_percent=99, max_flops_decrease_percent=99.5)
    result = run(source, config)
    ranked = rank_networks(result, 32, 32, 3)
    assert ranked == []
    assert len(pareto_rows(result, ranked)) == 1
    save_mutation_result(result, ranked, tmp_path / "mutation_result.txt")
    assert "Number of results: 0" in (tmp_path / "mutation_result.txt").read_text()


def test_report_files(result, tmp_path):
    ranked = rank_networks(result, 32, 32, 3)
    save_networks(ranked, tmp_path)
    with redirect_stdout(io.StringIO()) as redirected:
        save_mutation_result(result, ranked, tmp_path / "mutation_result.txt")
        assert sys.stdout is redirected
        assert not redirected.getvalue()
    text = (tmp_path / "mutation_result.txt").read_text().splitlines()
    assert text[1].startswith("User cg perfs: Accuracy ")
    assert text[2] == f"Number of results: {len(ranked)}"
    assert text[3].startswith("Rank 0: Accuracy ")
    assert text[-1].endswith(str(result.n_distinct))
    table = frontier_table(pareto_rows(result, ranked), lambda score: None)
    assert len(table.splitlines()) == len(ranked) + 2
    assert "accuracy" not in table
    assert "94.00 %" in frontier_table(pareto_rows(result, ranked), lambda score: 0.94)
    assert len(list(tmp_path.glob("rank_*.pkl"))) == len(ranked)


def test_a_result_that_cannot_be_corrected_is_kept_and_said(result, caplog):
    good = result.front[0].graph
    first, *others = good.weighted_nodes
    broken = replace(good, weighted_nodes=(replace(first, strides=(1, 1.5, 1.5, 1)), *others))
    found = replace(result.front[0], build=lambda: broken)
    (ranked,) = rank_networks(replace(result, front=[found]), 32, 32, 3)
    assert ranked.graph is broken
    assert "rank 0: kept uncorrected: node" in caplog.text


def test_normalisers_of_a_run(source, tiny_graph):
    shrunk = source.with_normalisers(derived_normalisers(source))
    assert with_run_normalisers(shrunk).normalisers == source.normalisers
    large = tiny_graph.state_dict()
    large["regular_nodes"][0] = {**large["regular_nodes"][0], "resolution": (320, 320, 320, 320, 3, 3)}
    large = type(tiny_graph).from_state_dict({**large, "max_hidden_size": 64, "max_derived_W": None})
    assert with_run_normalisers(large).normalisers == {
        "max_hidden_size": 64, "max_kernel_size": 7, "max_derived_H": 256, "max_derived_W": 320,
    }  # fmt: skip
