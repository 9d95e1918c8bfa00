"""A correction of predicted scores, learnt from networks that were measured.

Measurements are few and their level is their own (other epochs, other data), so that gains over the search's input are
learnt, in points of accuracy, from what predictors say of a network and of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin
    from sklearn.linear_model import BayesianRidge

MIN_MEASURED = 4  # networks besides the input; fewer say nothing about an error that is left out
N_COMPONENTS = 8  # of the embeddings


class Facts(NamedTuple):
    """What is known of a network before it is measured.

    Attributes:
        score: Of all predictors together, in standard deviations of accuracy.
        members: The score of each predictor.
        embedding: (width,) all predictors' embeddings of the network, side by side.
        mflops: FLOPs in millions.
        n_swaps: Swaps between the input and it.
    """

    score: float
    members: tuple[float, ...]
    embedding: np.ndarray
    mflops: float
    n_swaps: int


class Features:
    """Turns what is known of networks into rows of numbers that are 0 for the input.

    Args:
        source: The input.
        known: Any networks of the search, measured or not: they decide on the components of the embeddings.
    """

    def __init__(self, source: Facts, known: Sequence[Facts]):
        from sklearn.decomposition import PCA  # a second to import, and few searches measure

        self._source = source
        differences = np.array([one.embedding - source.embedding for one in known])
        count = min(N_COMPONENTS, *differences.shape)
        self._components = PCA(count, svd_solver="full").fit(differences).components_
        rows = self._raw(known)
        self._scale = np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1.0)

    def of(self, networks: Sequence[Facts]) -> np.ndarray:
        """(networks, features); the first is the gain of the score, in its own unit times a constant."""
        return self._raw(networks) / self._scale

    def _raw(self, networks: Sequence[Facts]) -> np.ndarray:
        source = self._source
        embeddings = np.array([one.embedding - source.embedding for one in networks]) @ self._components.T
        gains = np.array([one.score - source.score for one in networks])
        members = np.array([np.subtract(one.members, source.members) for one in networks]) - gains[:, None]
        flops = np.log([one.mflops / source.mflops for one in networks])
        swaps = np.array([one.n_swaps for one in networks], dtype=float)
        return np.column_stack([gains, members, flops, swaps, embeddings])


@dataclass(frozen=True)
class Correction:
    """Predicts the gain of a network over the input.

    Attributes:
        features: What it looks at.
        model: Bayesian ridge regression without intercept, so that the input gains nothing.
    """

    features: Features
    model: "BayesianRidge"

    def predict(self, networks: Sequence[Facts]) -> tuple[np.ndarray, np.ndarray]:
        """(networks,) gains over the input in points of accuracy, and their deviations."""
        means, deviations = self.model.predict(self.features.of(networks), return_std=True)
        return means, deviations


@dataclass(frozen=True)
class Lesson:
    """What measurements taught.

    Attributes:
        correction: None where it does not predict left-out networks better than the scores do, or there are too few.
        n_measured: Networks learnt from, without the input.
        error: Root mean square error of the correction on networks left out one at a time, in points; nan if unknown.
        plain_error: Likewise of the score alone, times the best factor.
    """

    correction: Correction | None
    n_measured: int
    error: float = float("nan")
    plain_error: float = float("nan")

    def __str__(self) -> str:
        if np.isnan(self.error):
            return f"{self.n_measured} networks are measured besides the input; {MIN_MEASURED} are needed to learn from"
        verdict = "is used" if self.correction else "stays out"
        return (
            f"a correction learnt from {self.n_measured} measured networks {verdict}: it misses those that it has not"
            f" seen by {self.error:.2f} points, the scores alone by {self.plain_error:.2f}"
        )


def learn(source: Facts, measured: Sequence[Facts], gains: Sequence[float], others: Sequence[Facts] = ()) -> Lesson:
    """Learn a correction, if it predicts measured networks that it has not seen better than their scores alone do.

    Args:
        source: The input.
        measured: Networks that were measured, without the input.
        gains: Their accuracies minus the input's, in points.
        others: Further networks, which only show what embeddings are like.
    """
    from sklearn.linear_model import BayesianRidge, LinearRegression

    if len(measured) < MIN_MEASURED:
        return Lesson(None, len(measured))
    features, targets = Features(source, [*measured, *others]), np.array(gains, dtype=float)
    rows = features.of(measured)
    ridge = BayesianRidge(fit_intercept=False)
    error = _left_out_error(ridge, rows, targets)
    plain_error = _left_out_error(LinearRegression(fit_intercept=False), rows[:, :1], targets)
    correction = Correction(features, ridge.fit(rows, targets)) if error < plain_error else None
    return Lesson(correction, len(measured), error, plain_error)


def _left_out_error(model: "RegressorMixin", rows: np.ndarray, targets: np.ndarray) -> float:
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    predicted = cross_val_predict(model, rows, targets, cv=LeaveOneOut())
    return float(np.sqrt(np.mean((predicted - targets) ** 2)))
