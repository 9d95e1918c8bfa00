"""An honest deviation of an ensemble: how far its mean is from the truth on networks that nobody learnt from."""

import numpy as np

EXPECTED_WITHIN = 0.68  # share of a normal distribution within one deviation
LEAST_WITHIN_TWO = 0.94
FARTHEST = 4.0  # deviations: an error above counts as so many, or a few bad networks would decide alone
_SHARES = np.linspace(0, 1, 41)  # of the floor in the deviation


def fit_deviation(errors: np.ndarray, spread: np.ndarray) -> tuple[float, float]:
    """Floor and factor of the deviation sqrt(floor^2 + (factor * spread)^2) that explain errors best.

    Of all mixtures of floor and spread, each scaled so that 68 % of the errors lie within one deviation (or more, until
    94 % lie within two: errors have longer tails than a normal distribution), that with the highest likelihood.

    Args:
        errors: (n,) mean of the members minus the truth, in standard deviations of the family.
        spread: (n,) deviation of the members.
    """
    best, found = np.inf, (0.0, 1.0)
    typical = np.sqrt(np.mean(spread**2))
    for share in _SHARES:
        floor, factor = np.sqrt(share) * typical, np.sqrt(1 - share)
        deviation = np.hypot(floor, factor * spread)
        one, two = np.quantile(np.abs(errors) / deviation, (EXPECTED_WITHIN, LEAST_WITHIN_TWO))
        scale = max(one, two / 2)
        relative = np.minimum(np.abs(errors) / (scale * deviation), FARTHEST)
        cost = np.mean(np.log(scale * deviation) + relative**2 / 2)
        if cost < best:
            best, found = cost, (float(scale * floor), float(scale * factor))
    return found


def within(errors: np.ndarray, deviations: np.ndarray, times: float) -> float:
    """Share of errors that are at most so many deviations."""
    return float(np.mean(np.abs(errors) <= times * deviations))
