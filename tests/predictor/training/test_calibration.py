import numpy as np
import pytest

from model_src.predictor.training.calibration import fit_deviation, within


def fitted(floor, factor):
    """Normal errors with these floor and factor, their deviations, and the deviations that are found for them."""
    rng = np.random.default_rng(0)
    spread = rng.gamma(2.0, 0.05, size=4000)
    true = np.hypot(floor, factor * spread)
    errors = rng.normal(size=4000) * true
    found = fit_deviation(errors, spread)
    return errors, true, np.hypot(found[0], found[1] * spread)


@pytest.mark.parametrize(("floor", "factor"), [(0.1, 1.0), (0.0, 2.0), (0.3, 0.0)])
def test_floor_and_factor_explain_the_errors(floor, factor):
    errors, true, deviations = fitted(floor, factor)
    assert deviations == pytest.approx(true, rel=0.1, abs=0.01)
    assert within(errors, deviations, 1) == pytest.approx(0.68, abs=1e-3)
    assert within(errors, deviations, 2) == pytest.approx(0.954, abs=0.01)


def test_long_tails_widen_the_deviation():
    rng = np.random.default_rng(0)
    errors = rng.standard_t(1.5, size=4000)
    floor, factor = fit_deviation(errors, np.ones(4000))
    deviations = np.full(4000, np.hypot(floor, factor))
    assert within(errors, deviations, 2) == pytest.approx(0.94, abs=1e-3)
    assert within(errors, deviations, 1) > 0.75


def test_shares_are_counted():
    assert within(np.array([0.5, -1.5, 2.5, -0.1]), np.ones(4), 1) == 0.5
    assert within(np.array([0.5, -1.5, 2.5, -0.1]), np.ones(4), 2) == 0.75
