"""The front and the choice of parents."""

import numpy as np
import pytest

from model_src.search.pareto import Individual, pareto_front, select_parents, stairs


def individual(score, mflops, iteration=1, identity=None):
    return Individual(
        lambda: None, identity or f"{score}/{mflops}/{iteration}", score, score, (mflops,), mflops, iteration, score
    )


def several(merit, *costs, identity=None):
    return Individual(lambda: None, identity or f"{merit}/{costs}", 0.0, merit, costs, 0.0, 1, 0.0)


def values(individuals):
    return [(one.score, one.mflops) for one in individuals]


def test_dominated_and_equal_ones_leave():
    entries = [individual(1, 10), individual(2, 20), individual(1.5, 25), individual(2, 20, 2), individual(0.5, 5)]
    front = pareto_front(entries)
    assert values(front) == [(2, 20), (1, 10), (0.5, 5)]
    assert front[0].iteration == 1  # the earlier of two equal ones


def test_front_against_the_definition():
    rng = np.random.default_rng(0)
    points = [individual(*pair) for pair in rng.integers(0, 12, (60, 2)).tolist()]

    def dominates(a, b):
        return a[0] >= b[0] and a[1] <= b[1] and a != b

    expected = {p for p in values(points) if not any(dominates(q, p) for q in values(points))}
    assert set(values(pareto_front(points))) == expected


@pytest.mark.parametrize("n_costs", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(20))
def test_front_over_several_costs_against_the_definition(n_costs, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 5, (40, 1 + n_costs)).tolist()  # so few values that many are equal
    found = [several(merit, *costs, identity=str(at)) for at, (merit, *costs) in enumerate(rows)]

    def dominates(a, b):
        return a[0] >= b[0] and all(x <= y for x, y in zip(a[1:], b[1:], strict=True)) and a != b

    first = {tuple(row): str(at) for at, row in reversed(list(enumerate(rows)))}  # the earliest of equal ones
    expected = {first[tuple(row)] for row in rows if not any(dominates(other, row) for other in rows)}
    front = pareto_front(found)
    assert {one.identity for one in front} == expected
    assert len(front) == len(expected)
    assert [one.merit for one in front] == sorted((one.merit for one in front), reverse=True)


def test_stairs_are_the_front_over_a_value_and_a_cost():
    assert stairs([1, 2, 1.5, 2, 0.5], [10, 20, 25, 20, 5]) == [4, 0, 1]
    assert stairs([], []) == []


def test_parents_over_several_costs_come_from_different_cells():
    """For 4 parents each value is halved: 8 members in as many cells, 3 more in the last of them."""
    corners = [several(0, *(10 * bit for bit in bits)) for bits in np.ndindex(2, 2, 2)]
    front = [*corners, *(several(0, 9.0, 9.0, 9 + i / 10) for i in range(3))]
    for seed in range(30):
        parents = select_parents(front, [], 4, np.random.default_rng(seed))
        assert len({tuple(cost > 5 for cost in one.costs) for one in parents}) == len(parents) == 4
    drawn = {one.identity for seed in range(99) for one in select_parents(front, [], 4, np.random.default_rng(seed))}
    assert drawn == {one.identity for one in front}


def test_the_latest_fill_up_by_the_ranks_of_all_costs():
    latest = [several(3, 3, 3), several(2, 1, 9), several(1, 2, 1), several(1, 1, 1)]
    parents = select_parents([], latest, 3, np.random.default_rng(0))
    # rank sums: 0 + 3 + 2, 1 + 0 + 3, 2 + 2 + 0, 2 + 0 + 0; equal sums keep their order
    assert [one.costs for one in parents] == [(1, 1), (1, 9), (2, 1)]


def test_a_small_front_is_taken_whole_and_filled_up_by_rank_sum():
    front = [individual(2, 20), individual(1, 10)]
    latest = [individual(0.1, 30), individual(1.9, 21), individual(0.5, 15), front[0]]
    parents = select_parents(front, latest, 4, np.random.default_rng(0))
    # rank sums: (1.9, 21) 1 + 2, (0.5, 15) 2 + 1, (0.1, 30) 3 + 3; equal sums keep their order
    assert values(parents) == [(2, 20), (1, 10), (1.9, 21), (0.5, 15)]


@pytest.mark.parametrize("count", [1, 4, 10, 17])
def test_parents_are_distinct_and_spread(count):
    front = [individual(s, float(s) ** 2) for s in range(40)]
    parents = select_parents(front, [], count, np.random.default_rng(1))
    assert len(parents) == len({one.identity for one in parents}) == count
    assert set(values(parents)) <= set(values(front))


def test_the_extremes_can_be_drawn():
    front = [individual(s, s) for s in range(9)]
    drawn = set()
    for seed in range(60):
        drawn |= {one.score for one in select_parents(front, [], 4, np.random.default_rng(seed))}
    assert drawn == set(range(9))


def test_one_of_each_cell_comes_first():
    """9 parents: the front, a diagonal, passes 3 of the 3 x 3 cells, each of which holds its borders."""
    front = [individual(s, s) for s in range(12)]
    drawn = [[one.score for one in select_parents(front, [], 9, np.random.default_rng(seed))] for seed in range(60)]
    assert {tuple(score // 4 for score in scores[:3]) for scores in drawn} == {(0, 1, 2)}
    assert {scores[0] for scores in drawn} == {0, 1, 2, 3}
    assert {scores[2] for scores in drawn} == {8, 9, 10, 11}
    assert len({scores[3] for scores in drawn}) > 6  # a fourth cell would hold the best one alone


def test_cells_divide_score_and_cost():
    """Equal scores in steps, costs far apart: 4 cells along the cost, each with one member of the front."""
    front = [individual(score, cost) for score, cost in ((1.0, 0.0), (1.1, 30.0), (1.2, 60.0), (10.0, 100.0))]
    front += [individual(9.9 + i / 100, 99.0 + i / 100) for i in range(12)]
    first = [select_parents(front, [], 16, np.random.default_rng(seed))[:3] for seed in range(5)]
    assert {tuple(values(parents)) for parents in first} == {((1.0, 0.0), (1.1, 30.0), (1.2, 60.0))}


def test_the_same_seed_draws_the_same():
    front = [individual(s, s) for s in range(30)]
    first, second = (values(select_parents(front, [], 9, np.random.default_rng(3))) for _ in range(2))
    assert first == second
