import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from model_src.predictor.training.metrics import (
    family_report,
    folds,
    ranking_metrics,
    regression_metrics,
    spearman,
    summary,
)


def test_metrics_of_three_values():
    found = regression_metrics(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    assert found == pytest.approx({"mse": 5 / 3, "mae": 1.0, "mape": 1 / 3, "srcc": 0.5})


def test_relative_errors_at_zero_are_clipped_at_machine_epsilon():
    assert regression_metrics(np.array([0.0, 1.0]), np.array([1.0, 1.0]))["mape"] == 0.5 / np.finfo(float).eps


def test_rank_correlation_with_ties():
    rng = np.random.default_rng(0)
    first, second = rng.integers(5, size=40), rng.integers(5, size=40)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert math.isnan(spearman(first, np.ones(40)))


def test_the_best_are_found_or_not():
    targets = np.arange(200.0)
    predictions = targets.copy()
    predictions[[199, 0]] = predictions[[0, 199]]
    found = ranking_metrics(targets, predictions)
    assert (found["top10"], found["top1pct"]) == (0.9, 0.5)
    assert found["tau"] == pytest.approx(1 - 4 * (2 * 199 - 1) / 2 / (200 * 199 / 2) * 0.5 * 2, abs=1e-3)
    assert math.isnan(ranking_metrics(targets, np.ones(200))["tau"])
    assert ranking_metrics(targets[:3], targets[:3])["top10"] == 1


def test_every_fold_has_one_record_of_each_network():
    owner = np.array([7, 3, 7, 7, 3])  # positions 0, 2, 3 and 1, 4
    assert [fold.tolist() for fold in folds(owner, 10)] == [[1, 0], [4, 2], [1, 3]]
    assert len(folds(owner, 2)) == 2


def test_fewer_folds_than_records_are_not_raised():
    assert len(folds(np.repeat([0, 1], 47), 10)) == 10


def test_one_record_each_makes_one_fold():
    assert [fold.tolist() for fold in folds(np.array([1, 0]), 10)] == [[1, 0]]


def test_summary():
    assert summary([1.0, 3.0]) == {"mean": 2.0, "std": 1.0, "max": 3.0, "min": 1.0}


def test_a_network_is_ranked_by_its_mean_prediction():
    targets = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    predictions = np.array([5.0, -5.0, 0.0, 1.0, 4.0, 1.0])
    report = family_report(targets, predictions, np.array([0, 0, 1, 1, 2, 2]), 10)
    assert report["networks"]["count"] == 3
    assert report["networks"]["srcc"] == pytest.approx(1)
    assert report["folds"]["srcc"]["min"] == pytest.approx(-0.5)  # first records: 5, 0, 4
    assert report["records"]["srcc"] < 1
