"""What a search learns from networks that were measured: which ones are worth it, and how to rank the others then."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from model_src.comp_graph.inheritance import Inheritance
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.predictor.correction import Correction, Facts, Lesson, learn
from model_src.search.children import Rating
from model_src.search.objectives import FLOPS, graph_flops
from model_src.search.pareto import Individual

logger = logging.getLogger(__name__)


class ToMeasure(NamedTuple):
    """A network to be measured, with what it inherits; None where the input came without weights."""

    graph: ComputeGraph
    inherited: Inheritance | None = None


# Measures networks, given by their canonical hashes; yields the hash of each when that is done, with its accuracy (a
# fraction), or None where it failed.
Measure = Callable[[Mapping[str, ToMeasure]], Iterator[tuple[str, float | None]]]


@dataclass(frozen=True, eq=False)
class MeasuredNetwork:
    """A network whose accuracy is known before a search.

    Attributes:
        identity: Its canonical hash.
        accuracy: As a fraction; on whatever data, but the same for all and for the input.
        graph: The network; None where only its hash is known, so that a search must meet it first.
        n_swaps: Swaps between the input and it.
    """

    identity: str
    accuracy: float
    graph: ComputeGraph | None = None
    n_swaps: int = 0


@dataclass(frozen=True)
class ByCorrection:
    """Ranks by the gain over the input, in points of accuracy, that measured networks let expect."""

    correction: Correction
    caution: float

    def __call__(self, rating: Rating, mflops: float, n_swaps: int) -> float:
        """Expected gain - caution x deviation."""
        means, deviations = self.correction.predict([facts_of(rating, mflops, n_swaps)])
        return float(means[0] - self.caution * deviations[0])


def facts_of(rating: Rating, mflops: float, n_swaps: int) -> Facts:
    """What a correction looks at."""
    assert rating.embedding is not None
    return Facts(rating.score, rating.members, rating.embedding, mflops, n_swaps)


class Feedback:
    """Keeps accuracies and learns from them.

    Args:
        measure: Measures networks; None where only given accuracies count.
        count: Results that are measured at a time.
        known: What is known before the search.
        rate: Rates networks, with embeddings.
    """

    def __init__(
        self,
        measure: Measure | None,
        count: int,
        known: Sequence[MeasuredNetwork],
        rate: Callable[[Sequence[ComputeGraph]], list[Rating]],
    ):
        self._measure, self._count = measure, count
        self.accuracies = {one.identity: one.accuracy for one in known}
        self._failed: set[str] = set()
        graphs = {one.identity: one.graph for one in known if one.graph is not None}
        ratings = dict(zip(graphs, rate(list(graphs.values())), strict=True))
        self._facts = {
            one.identity: facts_of(ratings[one.identity], graph_flops(graphs[one.identity]) / FLOPS.scale, one.n_swaps)
            for one in known
            if one.identity in graphs
        }

    def measure(
        self, source: Individual, front: Sequence[Individual], to_train: Callable[[Individual], ToMeasure]
    ) -> None:
        """Measure results that spread over the front, and the input if that was not done yet.

        Args:
            source: The input.
            front: The results so far.
            to_train: The network to be measured, of an individual.
        """
        if self._measure is None:
            return
        unknown = [one for one in front if one.identity not in self.accuracies.keys() | self._failed]
        chosen = spread(unknown, self._count)
        if source.identity not in self.accuracies.keys() | self._failed:
            chosen = [source, *chosen]
        for identity, accuracy in self._measure({one.identity: to_train(one) for one in chosen}):
            if accuracy is None:
                self._failed.add(identity)
            else:
                self.accuracies[identity] = accuracy

    def learn(self, source: Individual, met: Iterable[Individual]) -> Lesson:
        """Learn from the accuracies of networks that the search has met or that were given with them."""
        if source.identity not in self.accuracies:
            logger.warning("measured networks cannot be learnt from: the input is not measured, so gains are not known")
            return Lesson(None, 0)
        known = self._facts | {one.identity: _facts(one) for one in met}
        known.pop(source.identity, None)
        measured = [identity for identity in known if identity in self.accuracies]
        start = self.accuracies[source.identity]
        gains = [100 * (self.accuracies[identity] - start) for identity in measured]
        others = [facts for identity, facts in known.items() if identity not in self.accuracies]
        lesson = learn(_facts(source), [known[identity] for identity in measured], gains, others)
        logger.info("%s", lesson)
        return lesson


def _facts(one: Individual) -> Facts:
    assert one.rating is not None
    return facts_of(one.rating, one.mflops, one.n_swaps)


def spread(front: Sequence[Individual], count: int) -> list[Individual]:
    """The best network, then those that are farthest from all chosen ones in costs and in the members' disagreement."""
    if not front:
        return []
    deviations = [one.rating.sd if one.rating and not math.isnan(one.rating.sd) else 0.0 for one in front]
    places = np.array([(*one.costs, deviation) for one, deviation in zip(front, deviations, strict=True)])
    places = (places - places.min(axis=0)) / np.where(np.ptp(places, axis=0) > 0, np.ptp(places, axis=0), 1.0)
    chosen = [0]
    while len(chosen) < min(count, len(front)):
        distances = np.linalg.norm(places[:, None] - places[chosen], axis=2).min(axis=1)
        distances[chosen] = -1.0
        chosen.append(int(distances.argmax()))
    return [front[position] for position in chosen]


def ranked_anew(individuals: Iterable[Individual], ranking: Callable[[Rating, float, int], float]) -> list[Individual]:
    """The same networks with the merits of another ranking."""
    found = []
    for one in individuals:
        assert one.rating is not None
        found.append(replace(one, merit=ranking(one.rating, one.mflops, one.n_swaps)))
    return found
