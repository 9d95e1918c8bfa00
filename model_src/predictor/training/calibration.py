"""What an ensemble is worth on networks that nobody learnt from: weights of its members, and an honest deviation."""

import numpy as np
from scipy.optimize import nnls

EXPECTED_WITHIN = 0.68  # share of a normal distribution within one deviation
_SHARES = np.linspace(0, 1, 41)  # of the floor in the deviation


def fit_weights(scores: np.ndarray, truth: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """(members,) weights of the mean with the least squared error, none below 0, together 1 (stacking, Breiman 1996).

    Args:
        scores: (n, members) scores of networks that no member learnt from.
        truth: (n,) their standardised accuracies.
        importance: (n,) what a network's squared error counts.
    """
    n = len(truth)
    sum_is_one = 1e3 * np.sqrt(n)  # as one more equation, which nothing outweighs
    rows = np.vstack([scores * np.sqrt(importance)[:, None], np.full(scores.shape[1], sum_is_one)])
    weights, _ = nnls(rows, np.append(truth * np.sqrt(importance), sum_is_one))
    return weights / weights.sum()


def fit_deviation(errors: np.ndarray, spread: np.ndarray) -> tuple[float, float]:
    """Floor and factor of the deviation sqrt(floor^2 + (factor * spread)^2) that explain errors best.

    Of all mixtures of floor and spread, each scaled so that 68 % of the errors lie within one deviation, that with the
    highest likelihood under a normal distribution.

    Args:
        errors: (n,) mean of the members minus the truth, in standard deviations of the family.
        spread: (n,) deviation of the members.
    """
    best, found = np.inf, (0.0, 1.0)
    typical = np.sqrt(np.mean(spread**2))
    for share in _SHARES:
        floor, factor = np.sqrt(share) * typical, np.sqrt(1 - share)
        deviation = np.hypot(floor, factor * spread)
        scale = np.quantile(np.abs(errors) / deviation, EXPECTED_WITHIN)
        cost = np.mean(np.log(scale * deviation) + (errors / (scale * deviation)) ** 2 / 2)
        if cost < best:
            best, found = cost, (float(scale * floor), float(scale * factor))
    return found


def within(errors: np.ndarray, deviations: np.ndarray, times: float) -> float:
    """Share of errors that are at most so many deviations."""
    return float(np.mean(np.abs(errors) <= times * deviations))
