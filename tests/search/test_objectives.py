"""The FLOPs window and the score test are strict."""

import pytest

from model_src.search.objectives import Objectives


@pytest.mark.parametrize(
    ("score", "mflops", "accepted"),
    [(1.1, 100, True), (1.0, 100, False), (1.1, 110, False), (1.1, 109.9, True), (1.1, 80, False), (1.1, 80.1, True)],
)
def test_acceptance(score, mflops, accepted):
    assert Objectives(1.0, 100.0, -10, 20).accepts(score, mflops) is accepted


def test_equal_flops_are_refused_at_the_default_lower_bound():
    assert not Objectives(1.0, 100.0, 0, 20).within_flops(100.0)


def test_gain_is_relative_to_the_absolute_score():
    assert Objectives(-2.0, 1.0, 0, 1).score_gain(-1.0) == 50
    assert Objectives(0.0, 1.0, 0, 1).score_gain(0.5) == 50
