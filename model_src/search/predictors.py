"""What a search needs of predictors; it knows nothing else of them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.known_pieces import KnownPieces

Groups = Sequence[Sequence[int]]


class Predictor(Protocol):
    """What the search needs of a predictor; higher scores are better."""

    def score_graphs(self, graphs: list[ComputeGraph]) -> list[float]:
        """Score whole networks, in order."""

    def score_psc(self, triples: list[tuple[ComputeGraph, ComputeGraph, ComputeGraph]]) -> list[float]:
        """Score (predecessor, segment, successor) triples, in order."""


class NetworkScorer(Protocol):
    """What the search needs of several predictors together.

    Attributes:
        known_pieces: What they learnt from, where that is known.
    """

    known_pieces: KnownPieces | None

    @property
    def member_names(self) -> list[str]:
        """A name for each."""

    def accuracy_scale(self, family: str | None) -> tuple[float, float] | None:
        """Mean and deviation that turn scores into accuracies (fractions); None where they are not known."""

    def score_members(self, networks: Sequence[tuple[ComputeGraph, Groups]], family: str | None) -> np.ndarray:
        """(networks, members) scores of whole networks at the given segments."""

    def embed_networks(self, networks: Sequence[tuple[ComputeGraph, Groups]]) -> np.ndarray:
        """(networks, width) what the predictors see of whole networks."""

    def summary(self, scores: np.ndarray, family: str | None) -> list[tuple[float, float]]:
        """Mean and deviation of every row."""
