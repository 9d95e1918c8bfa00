"""What is known of an ensemble beside its members: the file `ensemble.json` in their folder."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from model_src.families import entry_of
from model_src.files import InputError, save_text
from model_src.predictor.checkpoint import ALL_FAMILIES
from model_src.predictor.scoring import DECIMALS


@dataclass(frozen=True)
class Calibration:
    """What an ensemble is worth on networks that nobody learnt from; the default is a plain mean.

    The deviation is sqrt(floor^2 + (factor * deviation of the members)^2): members share errors in which they agree.

    Attributes:
        weights: Name of a member's file without suffix -> its weight in the mean; none stands for equal ones.
        deviation: Family, or `all` -> floor and factor.
    """

    FILE_NAME: ClassVar = "ensemble.json"

    weights: Mapping[str, float] = field(default_factory=dict)
    deviation: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def of(self, names: Sequence[str]) -> np.ndarray:
        """(members,) the weights of the named members, together 1.

        Raises:
            InputError: They are of other members.
        """
        if not self.weights:
            return np.full(len(names), 1 / len(names))
        if set(names) != set(self.weights):
            raise InputError(
                f"{self.FILE_NAME}: weighs {', '.join(self.weights)}, but the members are {', '.join(names)}"
            )
        weights = np.array([self.weights[name] for name in names])
        return weights / weights.sum()

    def summary(self, scores: np.ndarray, names: Sequence[str], family: str | None = None) -> list[tuple[float, float]]:
        """Weighted mean and deviation of each row of (networks, members) scores; the deviation of one member is nan."""
        weights, n_members = self.of(names), len(names)
        means = scores @ weights
        if n_members == 1:
            return [(mean, math.nan) for mean in means.round(DECIMALS).tolist()]
        known = entry_of(self.deviation, family) if family else None
        floor, factor = known or self.deviation.get(ALL_FAMILIES, (0.0, 1.0))
        variances = ((scores - means[:, None]) ** 2 @ weights) * n_members / (n_members - 1)
        deviations = np.hypot(floor, factor * np.sqrt(variances))
        return list(zip(means.round(DECIMALS).tolist(), deviations.round(DECIMALS).tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Write the file."""
        deviation = {
            family: {"floor": round(floor, 4), "factor": round(factor, 4)}
            for family, (floor, factor) in self.deviation.items()
        }
        weights = {name: round(weight, 4) for name, weight in self.weights.items()}
        save_text(json.dumps({"weights": weights, "deviation": deviation}, indent=1) + "\n", path)

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read a file.

        Raises:
            InputError: It is damaged or holds something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            weights = {name: float(weight) for name, weight in content.get("weights", {}).items()}
            deviation = {
                family: (float(entry["floor"]), float(entry["factor"]))
                for family, entry in content["deviation"].items()
            }
            if weights and not (min(weights.values()) >= 0 < sum(weights.values()) < math.inf):
                raise ValueError("weights must be at least 0 and not all 0")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not the calibration of an ensemble ({type(error).__name__}: {error})") from error
        return cls(weights, deviation)
