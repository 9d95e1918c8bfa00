"""Timing with a clock that runs when it is told to."""

import gc

import pytest

from model_src.profiling.timing import Patience, alternating, compared, spread_of, timed
from tests.profiling.fakes import Clock

PATIENCE = Patience(warm_up=1.0, least=1.0, most=10.0, spread=0.01)


def call(clock, seconds):
    """A call that takes the given times, the last one again and again."""
    times = iter(seconds)
    last = [0.0]

    def run():
        assert not gc.isenabled()
        last[0] = next(times, last[0])
        clock.now += last[0]

    return run


def test_the_warm_up_does_not_count_and_the_median_does():
    clock = Clock()
    slow_start = [0.6, 0.6]
    timing = timed(call(clock, [*slow_start, *[0.1, 0.1, 0.1, 5.0], *[0.1] * 50]), PATIENCE, clock)
    assert timing.ms == pytest.approx(100)
    assert timing.runs % 8 == 0
    assert gc.isenabled()


def test_it_stops_as_soon_as_the_spread_is_small():
    clock = Clock()
    assert timed(call(clock, [0.2]), PATIENCE, clock).runs == 8
    assert timed(call(clock, [0.05]), PATIENCE, clock).runs == 24  # 0.4 s are less than the least


def test_a_call_that_stays_restless_is_given_up_after_a_while():
    clock = Clock()
    timing = timed(call(clock, [0.1, 0.3] * 1000), PATIENCE, clock)
    assert clock.now == pytest.approx(1 + 10, abs=1.8)
    assert timing.spread > 0.01


def test_the_spread_is_that_of_the_median():
    assert spread_of([1.0] * 9) == 0
    assert spread_of([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1.57 * 2 / 5**0.5 / 3)


def test_calls_alternate_and_what_disturbs_them_does_so_alike():
    clock, order = Clock(), []

    def run(name, seconds):
        order.append(name)
        clock.now += seconds * (10 if len(order) > 200 else 1)  # the machine becomes slow

    one, other = alternating([lambda: run("a", 1.0), lambda: run("b", 2.0)], 150, clock)
    assert "".join(order[:6]) == "ababba"
    assert other.ms / one.ms == pytest.approx(2)
    assert one.runs == other.runs == 150


def test_what_slows_both_calls_down_leaves_their_ratio_alone():
    clock = Clock()

    def run(seconds):
        clock.now += seconds * (1 + clock.now)  # the machine becomes slower all the time

    found = compared(lambda: run(0.003), lambda: run(0.002), PATIENCE, clock)
    assert found.ratio == pytest.approx(1.5, rel=0.01)
    assert found.other_ms > 3
    assert found.spread < 0.01
    assert found.runs % 8 == 0
