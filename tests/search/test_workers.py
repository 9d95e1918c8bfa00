"""Workers that are killed, stopped or lost."""

import os
import signal

import numpy as np
import pytest

from model_src.processes import TaskError
from model_src.search.config import SearchConfig
from model_src.search.objectives import FLOPS, Goal, Window
from model_src.search.report import pareto_rows
from model_src.search.session import search
from model_src.search.workers import Workers
from tests.children import workers
from tests.search.conftest import TinyFactory
from tests.search.test_session import CONFIG


@pytest.fixture(scope="module")
def rows(source):
    with Workers(TinyFactory(), 1) as pool:
        return pareto_rows(search(source, CONFIG, workers=pool))


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "was killed"),
        pytest.param(signal.SIGSTOP, "not done within 20 s", marks=pytest.mark.slow),
    ],
)
def test_killed_and_stopped_workers_change_nothing(source, rows, number, reason, caplog):
    def stop(progress):
        if (progress.iteration, progress.parent) == (2, 1):
            for worker in workers():
                os.kill(worker, number)

    with Workers(TinyFactory(), 2, timeout=20) as pool:
        assert pareto_rows(search(source, CONFIG, on_progress=stop, workers=pool)) == rows
    assert reason in caplog.text


def test_a_network_that_kills_every_worker_ends_the_search_with_what_was_found(source):
    class Lossy(Workers):
        def mutate(self, graphs, goal, seed):
            if seed[1] == 2:
                raise TaskError("mutations of net", "its process was killed")
            return super().mutate(graphs, goal, seed)

    with Lossy(TinyFactory(), 1) as pool:
        result = search(source, CONFIG, workers=pool)
    assert str(result.stopped_by) == "mutations of net: its process was killed"
    assert result.front


def test_children_are_scored_in_their_order_whatever_their_parents(source):
    goal = Goal(-100.0, (Window(FLOPS, 312.767892, -1000, 1000),))
    mutator = TinyFactory()()
    first = mutator.screen(source, goal, 30, np.random.default_rng(0)).screened
    parent = first[0].swap.value.apply(source, "p")
    second = mutator.screen(parent, goal, 30, np.random.default_rng(1)).screened
    pairs = [(source, one.swap) for one in first] + [(parent, one.swap) for one in second]
    children = [pairs[i] for i in np.random.default_rng(2).permutation(len(pairs))]
    with Workers(TinyFactory(), 1) as pool:
        ratings = pool.rate_children(children, embed=True)
        assert not pool.rate_children([])
    expected = mutator.rate([swap.value.apply(cg, "x") for cg, swap in children])
    assert [rating.members for rating in ratings] == [rating.members for rating in expected]
    assert len({rating.members for rating in ratings}) > 5
    assert all(rating.embedding is not None for rating in ratings)


def test_patience_grows_with_the_work():
    few, many = SearchConfig("nb201"), SearchConfig("nb201", max_candidate_per_iter=20, max_target_per_iter=200)
    assert many.patience > few.patience > 10 * 60
