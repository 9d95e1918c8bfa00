"""The search from Python: same seed, same result; budget; interruption; empty results; strategies."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.tf_comp_graph_utils import derived_normalisers
from model_src.files import InputError
from model_src.propagation.milp import Statistics, Tally
from model_src.search.children import Child, Mutation
from model_src.search.config import SearchConfig
from model_src.search.published_text import mutation_text
from model_src.search.report import frontier_table, pareto_rows, summary
from model_src.search.run import with_run_normalisers
from model_src.search.session import search
from model_src.search.strategy import ParetoStrategy
from model_src.search.workers import NOBODY, Workers
from tests.search.conftest import TinyFactory

CONFIG = SearchConfig(
    "nb201", epoch=2, top_k=3, min_flops_decrease_percent=-10, max_flops_decrease_percent=100, rescore_per_iter=0
)


def run(source, config=CONFIG, n_jobs=1, strategy=None, on_progress=lambda _: None):
    with Workers(TinyFactory(), n_jobs) as workers:
        return search(source, config, strategy, on_progress, workers)


def only_parents(seen):
    """Takes what a search tells, but for the ends of iterations."""
    return lambda now: None if now.is_over else seen.append(now)


@pytest.fixture(scope="module")
def result(source):
    return run(source)


def test_the_front_is_better_than_the_input_and_sorted(result):
    scores, mflops = [one.score for one in result.front], [one.mflops for one in result.front]
    assert scores == sorted(scores, reverse=True)
    assert mflops == sorted(mflops, reverse=True)
    assert min(scores) > result.source.score
    assert len({one.identity for one in result.front}) == len(scores) > 1
    assert len(result.visited) >= result.n_distinct > len(scores)


def test_where_nothing_is_found_it_says_what_became_of_the_networks(source):
    nowhere = replace(CONFIG, epoch=1, min_flops_decrease_percent=98, max_flops_decrease_percent=99)
    plain, rescored = run(source, nowhere), run(source, replace(nowhere, rescore_per_iter=5))
    assert not plain.networks
    assert not rescored.networks
    assert 0 < plain.n_outside < plain.n_scored
    others = plain.n_scored - plain.n_outside
    assert f"{plain.n_outside:,} were better but outside of it, the other {others:,} were not" in summary(plain)
    assert rescored.n_outside == rescored.n_scored == plain.n_scored
    assert "-max_score_drop" in summary(rescored)


def test_a_search_that_found_something_gives_no_advice(source, result):
    assert "window" not in summary(result)
    two_stages = run(source, replace(CONFIG, epoch=1, rescore_per_iter=5))
    assert f"{two_stages.n_scored:,} networks scored in" in summary(two_stages)
    assert ", 5 of them as whole networks" in summary(two_stages)


def test_the_counts_of_the_milp_add_up(result):
    text = mutation_text(result)
    calls, failed = (
        int(re.search(rf"{title}: (\d+)", text)[1]) for title in ("calls to MILP", "failed before the MILP")
    )
    successes, failures = map(int, re.search(r"Success/Fails: (\d+)/(\d+)", text).groups())
    assert calls == successes + failures + failed > 0


def test_same_seed_same_rows_for_one_and_two_workers(source, result):
    again, parallel = run(source), run(source, n_jobs=2)
    assert pareto_rows(again) == pareto_rows(parallel) == pareto_rows(result)
    assert parallel.propagation.calls == result.propagation.calls
    assert parallel.n_scored == result.n_scored


def test_another_seed_gives_another_result(source, result):
    assert pareto_rows(run(source, replace(CONFIG, epoch=1, seed=1))) != pareto_rows(result)


def test_no_two_random_streams_of_a_search_are_the_same(source, monkeypatch):
    """Baseline, choices of parents and every parent's mutation draw independently of each other."""
    states, make = [], np.random.default_rng

    def recording(seed):
        states.append(str(make(seed).bit_generator.state))
        return make(seed)

    monkeypatch.setattr(np.random, "default_rng", recording)
    run(source)
    assert len(states) == len(set(states)) == 1 + 1 + 2 + 1 + 3  # baseline, reach, choices, input, parents


class Offers:
    """Workers that find the given children, whatever they are asked to mutate."""

    def __init__(self, *children):
        self.children = children

    def baseline(self, *_):
        return 1.0

    def mutate(self, graphs, *_):
        return iter([Mutation(list(self.children), [], len(self.children), 0) for _ in graphs])

    def scorer(self):
        return NOBODY

    def reach(self, cg, goal, _):
        return [None] * len(goal.windows)


@pytest.mark.usefixtures("made_up_children")
def test_a_network_found_twice_counts_once(source):
    swap = SimpleNamespace(apply=lambda *_: source)
    children = [Child(swap, identity, 2.0, (mflops,)) for identity, mflops in (("x", 9), ("x", 9), ("y", 8))]
    strategy = ParetoStrategy()
    result = search(source, replace(CONFIG, epoch=1), strategy, workers=Offers(*children))
    assert len(result.visited) == 4
    assert result.n_distinct == 3
    assert [one.identity for one in strategy.latest] == ["x", "y"]
    assert [one.identity for one in result.front] == ["y"]


def test_the_latest_children_are_those_of_one_iteration(source):
    class Renaming(Offers):
        """Every network that is mutated gives another child, none of which is better than the input."""

        def mutate(self, graphs, _, seed):
            names = [f"{seed[1]}.{number}" for number, _ in enumerate(graphs)]
            swap = SimpleNamespace(apply=lambda *_: source)
            return iter([Mutation([Child(swap, name, 0.5, (312.0 + len(name),))], [], 1) for name in names])

    strategy = ParetoStrategy(top_k=3)
    search(source, replace(CONFIG, epoch=3), strategy, workers=Renaming())
    assert {one.iteration for one in strategy.latest} == {3}


def test_twice_as_many_are_screened_as_are_scored_as_a_whole(source):
    """Some of them are the same network."""
    strategy, asked = ParetoStrategy(rescore_per_iter=7), []
    workers = SimpleNamespace(screen=lambda graphs, goal, most, seed: asked.append(most))
    strategy.propose(workers, [], None, (0, 1))
    assert asked == [14]


@pytest.mark.usefixtures("made_up_children")
@pytest.mark.parametrize(("budget", "n_mutated"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_the_budget_is_reached_with_the_last_network_that_it_allows(source, budget, n_mutated):
    swap = SimpleNamespace(apply=lambda *_: source)
    children = [
        Child(swap, identity, score, (300.0 - score,)) for identity, score in (("x", 2.0), ("y", 3.0), ("z", 4.0))
    ]
    seen = []
    config = replace(CONFIG, epoch=9, top_k=1, max_visited_architecture=budget)
    result = search(source, config, on_progress=only_parents(seen), workers=Offers(*children))
    assert len(seen) == n_mutated
    assert result.n_scored == 3 * n_mutated


@pytest.mark.usefixtures("made_up_children")
def test_the_budget_ends_an_iteration_between_its_parents(source):
    """The first iteration scores 2 networks, which are on the front with the input; the second has 3 parents."""
    swap = SimpleNamespace(apply=lambda *_: source)
    children = [Child(swap, identity, score, (310.0 + 10 * score,)) for identity, score in (("x", 2.0), ("y", 3.0))]
    for budget, n_mutated in ((4, 2), (5, 3), (6, 3), (7, 4)):
        seen = []
        config = replace(CONFIG, top_k=3, max_visited_architecture=budget)
        search(source, config, on_progress=only_parents(seen), workers=Offers(*children))
        assert len(seen) == n_mutated


def test_a_search_scores_under_the_normalisers_of_the_predictors(source):
    """And so do all children, which keep their parent's."""
    seen = []

    class Watching(Offers):
        def baseline(self, cg, _):
            seen.append(cg.normalisers)
            return 1.0

        def mutate(self, graphs, *_):
            seen.extend(cg.normalisers for cg in graphs)
            return super().mutate(graphs)

    own = source.with_normalisers(derived_normalisers(source))
    result = search(own, replace(CONFIG, epoch=1), workers=Watching())
    assert seen == [DOMAIN_NORMALISERS] * 2
    assert own.normalisers != DOMAIN_NORMALISERS == result.source.graph.normalisers


class Narrow(ParetoStrategy):
    """Keeps to the best network."""

    def choose_parents(self, iteration, rng):
        """The first of the front."""
        return super().choose_parents(iteration, rng)[:1]


def test_another_strategy_decides_on_parents(source):
    seen = []
    found = run(source, strategy=Narrow(top_k=3), on_progress=only_parents(seen))
    assert [(one.iteration, one.parent, one.n_parents) for one in seen] == [(1, 1, 1), (2, 1, 1)]
    assert found.front


def test_another_objective(source):
    config = replace(CONFIG, objective="params", min_flops_decrease_percent=None, max_flops_decrease_percent=None)
    config = replace(config, min_decrease_percent=0, max_decrease_percent=100)
    found = run(source, config)
    rows = pareto_rows(found)
    assert len(rows) > 1
    assert list(rows[0]).index("params") == list(rows[0]).index("params_change_percent") - 1
    params = [float(row["params"]) for row in rows]
    assert params[1:] == sorted(params[1:], reverse=True)
    assert max(params[1:]) < params[0]
    table = frontier_table(found, rows).splitlines()
    head = "rank predicted accuracy points MFLOPs change parameters change nodes iteration swaps"
    assert table[0].split() == head.split()


def test_found_networks_are_modules(result):
    torch = pytest.importorskip("torch")
    module = result.networks[0].module()
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_the_search_needs_no_files_but_its_inputs(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = SearchConfig("nb201", epoch=1, max_candidate_per_iter=2, max_target_per_iter=4)
    search(source, config)
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def test_a_network_without_cost_is_refused(tiny_graph):
    free = replace(tiny_graph, weighted_nodes=(), regular_nodes=tiny_graph.regular_nodes[:2], edge_pairs=((0, 1),))
    config = SearchConfig("nb201", objective="params", rescore_per_iter=0)
    with pytest.raises(InputError, match="tiny: the network has no parameters, nothing can be made smaller"):
        search(free, config, workers=Offers())


def test_after_every_iteration_it_tells_what_was_found_so_far(source):
    told = []
    config = replace(CONFIG, rescore_per_iter=5)
    ends = []

    def listen(now):
        told.append(now)
        if now.is_over:
            ends.append((now.iteration, now.n_rescored, pareto_rows(now.so_far())))

    found = run(source, config, on_progress=listen)
    assert [one.is_over for one in told if one.iteration == 1] == [False, True]
    assert [number for number, _, _ in ends] == [1, 2]
    assert [count for _, count, _ in ends] == [5, 10]
    assert ends[-1][2] == pareto_rows(found)
    assert ends[0][2] == pareto_rows(run(source, replace(config, epoch=1)))


def test_the_budget_ends_the_search_and_keeps_the_results(source):
    seen = []
    config = replace(CONFIG, epoch=5, max_visited_architecture=1)
    result = run(source, config, on_progress=only_parents(seen))
    assert len(seen) == 1
    assert result.n_distinct > 1


def test_an_interruption_keeps_what_was_found(source):
    def stop(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    result = run(source, on_progress=stop)
    assert result.interrupted
    assert result.front
    with pytest.raises(KeyboardInterrupt):
        result.whole()


def test_a_search_that_came_to_its_end_is_whole(result):
    assert result.whole() is result


def test_an_empty_result_is_reported(source):
    result = run(source, replace(CONFIG, epoch=1, min_flops_decrease_percent=99, max_flops_decrease_percent=99.5))
    assert result.networks == []
    assert len(pareto_rows(result)) == 1
    assert "Number of results: 0" in mutation_text(result)


def test_reports(result):
    text = mutation_text(result).splitlines()
    assert text[1].startswith("User cg perfs: Accuracy ")
    assert text[2] == f"Number of results: {len(result.networks)}"
    assert text[3].startswith("Rank 0: Accuracy ")
    assert text[-1].endswith(str(result.n_distinct))
    table = frontier_table(result, pareto_rows(result))
    assert len(table.splitlines()) == len(result.networks) + 2
    assert "predicted accuracy" in table
    unknown = replace(result, scorer=NOBODY)
    table = frontier_table(unknown, pareto_rows(unknown))
    assert "predicted score" in table
    assert "accuracy" not in table


def test_a_solver_that_gave_up_is_reported(result):
    for unproven in (0, 2):
        statistics = Statistics(calls=9, failures=Tally(3), unproven=unproven)
        text = mutation_text(replace(result, propagation=statistics))
        assert ("MILP fails without proof: 2" in text) == (unproven == 2)


def test_a_result_that_cannot_be_corrected_is_kept_and_said(result, caplog):
    good = result.front[0].graph
    first, *others = good.weighted_nodes
    broken = replace(good, weighted_nodes=(replace(first, strides=(1, 1.5, 1.5, 1)), *others))
    found = replace(result.front[0], build=lambda: broken)
    (ranked,) = replace(result, front=[found]).networks
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
