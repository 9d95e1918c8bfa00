"""How well predictions agree with measurements."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata

METRICS = ("mse", "mae", "mape", "srcc")

Report = dict[str, dict[str, Any]]  # see `family_report`


def regression_metrics(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """MSE, MAE, MAPE (a fraction) and Spearman's rank correlation (NaN where one side is constant)."""
    error = np.abs(predictions - targets)
    return {
        "mse": float(np.mean(error**2)),
        "mae": float(np.mean(error)),
        "mape": float(np.mean(error / np.maximum(np.abs(targets), np.finfo(float).eps))),
        "srcc": spearman(targets, predictions),
    }


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; NaN where one side is constant."""
    ranks = [rankdata(values) for values in (first, second)]
    if any(np.ptp(values) == 0 for values in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def ranking_metrics(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """`regression_metrics`, and how well the best are found.

    `tau`: Kendall's rank correlation (NaN where one side is constant). `top10` and `top1pct`: how many of the 10, or of
    the 1 % (at least one), with the highest predictions are among as many with the highest targets, as a fraction.
    """
    n_best = {"top10": min(10, len(targets)), "top1pct": math.ceil(len(targets) / 100)}
    constant = np.ptp(targets) == 0 or np.ptp(predictions) == 0
    return {
        **regression_metrics(targets, predictions),
        "tau": float("nan") if constant else float(kendalltau(targets, predictions).statistic),
        **{name: _common_best(targets, predictions, count) for name, count in n_best.items()},
    }


def _common_best(targets: np.ndarray, predictions: np.ndarray, count: int) -> float:
    wanted, found = (np.argsort(values, kind="stable")[-count:] for values in (targets, predictions))
    return len(np.intersect1d(wanted, found)) / count


def network_means(owner: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The networks that own records, and the mean of their records' values."""
    numbers, network, counts = np.unique(owner, return_inverse=True, return_counts=True)
    return numbers, [np.bincount(network, entry) / counts for entry in values]


def folds(owner: np.ndarray, requested: int) -> list[np.ndarray]:
    """Divide records so that every network contributes one to each fold.

    Fold f takes record f of each network, starting over where a network has fewer. There are as many folds as
    requested, but no more than the largest number of records of a network.

    Args:
        owner: (n,) number of the network that every record belongs to.
        requested: Number of folds.

    Returns:
        The positions of every fold's records.
    """
    by_owner = np.argsort(owner, kind="stable")
    _, starts, counts = np.unique(owner[by_owner], return_index=True, return_counts=True)
    return [by_owner[starts + number % counts] for number in range(min(requested, counts.max()))]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean, population standard deviation, maximum and minimum."""
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
        "max": float(np.max(values)),
        "min": float(np.min(values)),
    }


def family_report(targets: np.ndarray, predictions: np.ndarray, owner: np.ndarray, n_folds: int) -> Report:
    """What is reported of a family's test records.

    Args:
        targets: (n,) measured values.
        predictions: (n,) predicted values.
        owner: (n,) number of the network that every record belongs to.
        n_folds: Folds requested.

    Returns:
        `folds`: metric -> summary over the folds; `records`: the metrics over all records; `networks`: the metrics when
        a network's value is the mean over its records, which is how a network is ranked by PSC.
    """
    per_fold = [regression_metrics(targets[fold], predictions[fold]) for fold in folds(owner, n_folds)]
    numbers, means = network_means(owner, targets, predictions)
    return {
        "folds": {name: summary([metrics[name] for metrics in per_fold]) for name in METRICS},
        "records": regression_metrics(targets, predictions),
        "networks": {"count": len(numbers), **ranking_metrics(*means)},
    }
