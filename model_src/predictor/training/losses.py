"""What a training makes smaller: squared errors, and wrong orders of two networks."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model_src.predictor.data.examples import Examples
from model_src.predictor.settings import TrainingConfig

RANK_MARGIN = 0.1  # deviations; a pair further apart than this costs nothing


class Goals(NamedTuple):
    """What is to be predicted of networks, or of items, in standard deviations of the family's accuracies.

    Attributes:
        targets: (n,) z-scores.
        families: (n,) number of the family.
        mean: (n,) with `deviation`, what turns a prediction into a z-score: (prediction - mean) / deviation.
        deviation: See `mean`.
    """

    targets: Tensor
    families: Tensor
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, examples: Examples, predictor_type: str, normalisers: Mapping[str, tuple[float, float]]) -> "Goals":
        """The goals of all networks; PSC predicts z-scores, GNN accuracies."""
        names = list(dict.fromkeys(examples.families))
        number = np.array([names.index(family) for family in examples.families])
        scale = np.array([normalisers[name] if predictor_type == "GNN" else (0.0, 1.0) for name in names])[number]
        values = examples.targets(normalisers), scale[:, 0], scale[:, 1]
        targets, mean, deviation = (torch.as_tensor(entry, dtype=torch.float32) for entry in values)
        return cls(targets, torch.from_numpy(number), mean, deviation)

    def select(self, networks: np.ndarray) -> "Goals":
        """Those of some networks, which may repeat."""
        return Goals(*(values[torch.from_numpy(networks)] for values in self))

    def to(self, device: torch.device) -> "Goals":
        """The same on another device."""
        return Goals(*(values.to(device) for values in self))


def loss_of(predictions: Tensor, goals: Goals, config: TrainingConfig) -> Tensor:
    """Mean squared error plus the weighted mean over all pairs of a family of how far their order is from right.

    Errors above `linear_from` count linearly, on with the slope that they have there. A pair costs nothing once its
    predictions are as far apart as its targets, or by RANK_MARGIN (a hinge, as in PARS and other rankers of
    architectures).
    """
    scores = (predictions - goals.mean) / goals.deviation
    if config.linear_from:
        loss = 2 * functional.huber_loss(scores, goals.targets, delta=config.linear_from)
    else:
        loss = functional.mse_loss(scores, goals.targets)
    if not config.rank_weight:
        return loss
    gaps = goals.targets[:, None] - goals.targets
    pairs = (gaps > 0) & (goals.families[:, None] == goals.families)
    if not pairs.any():
        return loss
    predicted = (scores[:, None] - scores)[pairs]
    return loss + config.rank_weight * torch.relu(gaps[pairs].clamp(max=RANK_MARGIN) - predicted).mean()
