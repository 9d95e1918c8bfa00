"""The Pareto set over score and costs, and the choice of parents from it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isqrt

import moocore
import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.children import Rating, Swap


@dataclass(frozen=True)
class Origin:
    """How a network came about: the network that was mutated, the swap, and the prefix of the ids of its new nodes."""

    parent: "Individual"
    swap: Swap
    prefix: str


@dataclass(frozen=True, eq=False)
class Individual:
    """An accepted network.

    Attributes:
        build: Makes the network; called once, when it is first needed.
        identity: Its canonical hash.
        score: Predicted score.
        merit: What networks are ranked by, higher is better: the score, or less where it is uncertain.
        costs: One per objective, lower is better; in the units of the objectives.
        mflops: FLOPs in millions.
        iteration: When it was found, from 1; 0 is the input.
        prescreen_score: The prediction of the split at its last swap; of the input, the mean over its segments.
        origin: How it came about; None for the input.
        rating: What several predictors say of the whole network; None where it was not scored as a whole.
        is_estimated: Costs of measured objectives are estimates.
    """

    build: Callable[[], ComputeGraph]
    identity: str
    score: float
    merit: float
    costs: tuple[float, ...]
    mflops: float
    iteration: int
    prescreen_score: float
    origin: Origin | None = None
    rating: Rating | None = None
    is_estimated: bool = False

    @property
    def n_swaps(self) -> int:
        """Swaps between the input and this network."""
        return 0 if self.origin is None else self.origin.parent.n_swaps + 1

    @property
    def cost(self) -> float:
        """The first objective's cost."""
        return self.costs[0]

    @cached_property
    def graph(self) -> ComputeGraph:
        """The network."""
        return self.build()


def points(scores: Sequence[float], costs: Sequence[Sequence[float]]) -> np.ndarray:
    """(n, 1 + objectives) values of which all are to be small: negated score or merit, and the costs."""
    rows = [(-score, *cost) for score, cost in zip(scores, costs, strict=True)]
    return np.array(rows, dtype=float)


def pareto_layers(values: np.ndarray) -> list[np.ndarray]:
    """Positions of the rows of `points`, layer by layer: the first layer is dominated by none."""
    if not values.size:
        return []
    ranks = moocore.pareto_rank(values)
    return [np.flatnonzero(ranks == rank) for rank in range(ranks.max() + 1)]


def crowding_distances(values: np.ndarray) -> np.ndarray:
    """How far every row of `points` is from its neighbours, summed over the values; infinite at the ends."""
    distances = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]] or 1.0
        distances[order[[0, -1]]] = np.inf
        distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distances


def pareto_front(individuals: Iterable[Individual]) -> list[Individual]:
    """The individuals that no other dominates, best merit first; of equal merit and costs only the earliest stays."""
    found = sorted(individuals, key=lambda one: (-one.merit, *one.costs))
    values = points([one.merit for one in found], [one.costs for one in found])
    return [found[position] for position in np.flatnonzero(moocore.is_nondominated(values))] if found else []


def stairs(values: Sequence[float], costs: Sequence[float]) -> list[int]:
    """Positions of those that none beats in a value at the same cost or less, by cost: the front over these two."""
    order, best, found = sorted(range(len(costs)), key=lambda at: (costs[at], -values[at])), -inf, []
    for position in order:
        if values[position] > best:
            best = values[position]
            found.append(position)
    return found


def hypervolume(gains: Sequence[float], shares: Sequence[Sequence[float]], most: Sequence[float]) -> float:
    """What networks dominate: the volume between no gain and theirs, up to the highest costs that count.

    Args:
        gains: Over the input, of each; those without one count nothing.
        shares: Costs of each, as shares of the input's, one per objective.
        most: The highest share that counts, of each objective.
    """
    values = points(gains, shares)
    values = values[(values < (0, *most)).all(axis=1)] if len(values) else values
    return float(moocore.hypervolume(values, ref=(0, *most))) if len(values) else 0.0


def select_parents(
    front: Sequence[Individual], latest: Sequence[Individual], count: int, rng: np.random.Generator
) -> list[Individual]:
    """Draw distinct parents that spread over the front, then the best of the latest accepted children.

    One random member of each cell of a grid over the front's merit and costs, which divides each into isqrt(count)
    equal parts, or of `count` random cells of it; then random further members, then the latest children by rank sum
    (merit descending, costs ascending).

    Args:
        front: The Pareto set, the input among it while nothing dominates it.
        latest: Children accepted in the previous iteration.
        count: Most parents wanted.
        rng: Source of randomness.
    """
    side = isqrt(count)
    if len(front) < side * side:
        parents = list(front)
    else:
        parents = _one_per_cell(front, side, count, rng)
        rest = [member for member in front if member not in parents]
        parents += [rest[i] for i in rng.permutation(len(rest))[: count - len(parents)]]
    known = {parent.identity for parent in parents}
    fillers = [child for child in latest if child.identity not in known]
    return parents + _by_rank_sum(fillers)[: count - len(parents)]


def _one_per_cell(front: Sequence[Individual], side: int, most: int, rng: np.random.Generator) -> list[Individual]:
    cells: dict[tuple[int, ...], list[Individual]] = {}
    values = np.array([(one.merit, *one.costs) for one in front])
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    places = np.floor(side * (values - low) / np.where(span > 0, span, 1)).clip(0, side - 1).astype(int)
    for member, place in zip(front, places.tolist(), strict=True):
        cells.setdefault(tuple(place), []).append(member)
    chosen = sorted(cells)
    if len(chosen) > most:  # only over several costs
        chosen = [chosen[i] for i in rng.permutation(len(chosen))[:most]]
    return [cells[place][rng.integers(len(cells[place]))] for place in chosen]


def _by_rank_sum(individuals: Sequence[Individual]) -> list[Individual]:
    if not individuals:
        return []
    columns = points([one.merit for one in individuals], [one.costs for one in individuals]).T
    ranks = sum(np.searchsorted(np.sort(values), values) for values in columns)
    return [individuals[i] for i in np.argsort(ranks, kind="stable")]
