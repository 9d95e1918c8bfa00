"""What is known of an ensemble beside its members: the file `ensemble.json` in their folder."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from model_src.families import entry_of
from model_src.files import InputError, load_json, save_text
from model_src.predictor.checkpoint import ALL_FAMILIES
from model_src.predictor.scoring import DECIMALS


@dataclass(frozen=True)
class Calibration:
    """How far an ensemble is from the truth on networks that nobody learnt from.

    The deviation is sqrt(floor^2 + (factor * deviation of the members)^2): members share errors in which they agree.

    Attributes:
        deviation: Family, or `all` -> floor and factor.
    """

    FILE_NAME: ClassVar = "ensemble.json"

    deviation: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def summary(self, scores: np.ndarray, weights: np.ndarray, family: str | None = None) -> list[tuple[float, float]]:
        """Mean and deviation of each row of (networks, members) scores; the deviation of one member is nan."""
        means, n_members = scores @ weights, len(weights)
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
        save_text(json.dumps({"deviation": deviation}, indent=1) + "\n", path)

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read a file.

        Raises:
            InputError: It is damaged or holds something else.
        """
        try:
            content = load_json(path)
            deviation = {
                name: (_size(entry["floor"]), _size(entry["factor"])) for name, entry in content["deviation"].items()
            }
            if not deviation:
                raise ValueError("no family")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not the calibration of an ensemble ({type(error).__name__}: {error})") from error
        return cls(deviation)


def _size(value: object) -> float:
    """A number from 0 on, below a million."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError("floor and factor are numbers from 0 to a million")
    return float(value)
