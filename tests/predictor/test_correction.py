import numpy as np
import pytest

from model_src.predictor.correction import MIN_MEASURED, Facts, learn

RNG = np.random.default_rng(0)
SOURCE = Facts(1.0, (1.1, 0.9), RNG.normal(size=20), 100.0, 0)


def networks(count, seed=1):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        members = rng.normal(1, 0.5, 2)
        found.append(
            Facts(members.mean(), tuple(members), rng.normal(size=20), rng.uniform(20, 110), int(rng.integers(10)))
        )
    return found


def by_flops(one):
    """A truth that scores do not know."""
    return 5 * np.log(one.mflops / SOURCE.mflops)


def by_score(one):
    """A truth that scores know up to a factor."""
    return 3 * (one.score - SOURCE.score)


def test_what_scores_do_not_know_is_learnt():
    measured, unseen = networks(30), networks(50, seed=2)
    lesson = learn(SOURCE, measured, [by_flops(one) for one in measured], unseen)
    assert lesson.error < 0.5 * lesson.plain_error
    means, deviations = lesson.correction.predict(unseen)
    assert np.corrcoef(means, [by_flops(one) for one in unseen])[0, 1] > 0.95
    assert (deviations > 0).all()
    assert "is used" in str(lesson)


def test_the_input_gains_nothing():
    measured = networks(30)
    means, _ = learn(SOURCE, measured, [by_flops(one) for one in measured]).correction.predict([SOURCE])
    assert means[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [MIN_MEASURED, 10])
def test_a_correction_that_predicts_no_better_stays_out(count):
    measured = networks(count)
    rng = np.random.default_rng(3)
    lesson = learn(SOURCE, measured, [by_score(one) + rng.normal(0, 0.01) for one in measured])
    assert lesson.plain_error <= lesson.error
    assert lesson.correction is None
    assert "stays out" in str(lesson)


def test_few_networks_teach_nothing():
    measured = networks(MIN_MEASURED - 1)
    lesson = learn(SOURCE, measured, [by_flops(one) for one in measured])
    assert lesson.correction is None
    assert str(lesson) == "3 networks are measured besides the input; 4 are needed to learn from"
    assert learn(SOURCE, [], []).correction is None


def test_errors_are_of_networks_left_out():
    """With as many features as networks, what was learnt from is met exactly, what was not is not."""
    rng = np.random.default_rng(4)
    measured = networks(6)
    lesson = learn(SOURCE, measured, rng.normal(size=6))
    assert lesson.error > 0.3


def test_equal_networks_and_columns_do_no_harm():
    measured = networks(5)
    same = [one._replace(mflops=100.0, n_swaps=0, members=(one.score, one.score)) for one in [measured[0]] * 5]
    lesson = learn(SOURCE, same, [1.0] * 5)
    assert np.isfinite([lesson.error, lesson.plain_error]).all()
