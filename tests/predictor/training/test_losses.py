import pytest
import torch

from model_src.predictor.settings import TrainingConfig
from model_src.predictor.training import losses
from model_src.predictor.training.losses import Goals


def goals(targets, families=None, mean=0.0, deviation=1.0):
    ones = torch.ones(len(targets))
    return Goals(torch.tensor(targets), torch.tensor(families or [0] * len(targets)), mean * ones, deviation * ones)


def loss_of(predictions, wanted, rank_weight=0.0, linear_from=0.0):
    return losses.loss_of(predictions, wanted, TrainingConfig(rank_weight=rank_weight, linear_from=linear_from))


def test_predictions_are_judged_in_deviations_of_the_family():
    assert loss_of(torch.tensor([0.9, 0.8]), goals([1.0, 0.0], mean=0.7, deviation=0.1), 0) == pytest.approx(1.0)


def test_wrong_orders_cost_their_distance_to_the_margin():
    squared = (0.03**2 + 0.02**2 + 0.0) / 3
    predictions, wanted = torch.tensor([0.97, 1.02, 3.0]), goals([1.0, 1.04, 3.0])
    found = loss_of(predictions, wanted, 0) + 0
    assert found == pytest.approx(squared, rel=1e-4)
    wrong = loss_of(torch.tensor([1.02, 0.97, 3.0]), wanted, 2.0) - loss_of(torch.tensor([1.02, 0.97, 3.0]), wanted, 0)
    assert wrong == pytest.approx(2 * (0.04 + 0.05) / 3, rel=1e-4)  # the two pairs with the third are far apart


def test_right_predictions_cost_nothing():
    assert loss_of(torch.tensor([0.0, 0.01, 5.0]), goals([0.0, 0.01, 5.0]), 1.0) == pytest.approx(0, abs=1e-6)


def test_only_networks_of_a_family_are_compared():
    predictions, targets = torch.tensor([1.0, 0.0]), [0.0, 1.0]
    assert loss_of(predictions, goals(targets), 1.0) > loss_of(predictions, goals(targets, [0, 1]), 1.0) == 1.0


def test_equal_targets_are_no_pair():
    assert loss_of(torch.tensor([1.0, 3.0]), goals([2.0, 2.0]), 1.0) == 1.0


def test_large_errors_count_linearly():
    wanted = goals([0.0])
    assert loss_of(torch.tensor([1.5]), wanted, linear_from=2.0) == loss_of(torch.tensor([1.5]), wanted) == 2.25
    assert loss_of(torch.tensor([5.0]), wanted, linear_from=2.0) == 4 + 4 * 3  # slope 2 * 2 from there on
