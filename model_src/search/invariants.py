"""What must hold of the results of every search; where it does not, the program has a fault."""

import logging
import math
from collections.abc import Iterator

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.validate import validate
from model_src.search.pareto import Individual
from model_src.search.result import FoundNetwork, SearchResult

logger = logging.getLogger(__name__)


def check(result: SearchResult) -> None:
    """Log an error for everything that is wrong with the results of a search; a millisecond per result."""
    for one in result.networks:
        for wrong in _wrong_with(one, result):
            logger.error("rank %d: %s; this is a fault of the program, please report it", one.rank, wrong)
    if len({one.identity for one in (result.source, *result.front)}) <= len(result.front):
        logger.error("two results are the same network; this is a fault of the program, please report it")


def _wrong_with(one: FoundNetwork, result: SearchResult) -> Iterator[str]:
    found, goal = one.found, result.goal
    try:
        validate(one.graph)
    except ValueError as error:
        yield f"it is no network: {error}"
        return
    if canonical_hash(one.graph) != found.identity:
        yield "its hash is not that of its network"
    counted = [window.objective.measure(one.graph) for window in goal.windows]
    known = [*found.costs, *counted[len(found.costs) :]]
    known[goal.flops] = found.mflops
    for at, window in enumerate(goal.windows):
        if window.objective.is_measured:
            counted[at] = known[at]
    for window, value, cost in zip(goal.windows, counted, known, strict=True):
        if not math.isclose(value, cost, rel_tol=1e-9):
            yield f"its {window.objective.title} are {value:g}, not {cost:g}"
    if found.identity in result.measured:
        return  # which counts more than predictions
    if not goal.accepts(found.merit, counted):
        yield "it is outside of the limits"
    if any(_dominates(other, found) for other in result.front if other.identity not in result.measured):
        yield "another result is better and not more expensive"


def _dominates(other: Individual, one: Individual) -> bool:
    pairs = list(zip((-other.merit, *other.costs), (-one.merit, *one.costs), strict=True))
    return all(theirs <= own for theirs, own in pairs) and any(theirs < own for theirs, own in pairs)
