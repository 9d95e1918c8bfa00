"""What every iteration of a search brought, in files, so that a search that was stopped goes on as if it had not been.

An iteration is written when it is over; of one that was cut short nothing counts, and it is done again.
"""

import base64
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.validate import validate
from model_src.files import InputError
from model_src.propagation.milp import Statistics, Tally
from model_src.search.children import Rating, Swap
from model_src.search.pareto import Individual, Origin
from model_src.search.result_folder import ResultFolder

Content = dict[str, Any]
_MISFITS = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


@dataclass(frozen=True)
class Brought:
    """What mutating one network brought.

    Attributes:
        n_scored: Children scored.
        n_outside: See `Mutation`.
        propagation: Counts and times of the resolution propagation.
        visited: (score, cost for each objective) of every accepted child, repeats included.
        children: The accepted children that were not met before.
    """

    n_scored: int
    n_outside: int
    propagation: Statistics
    visited: list[tuple[float, ...]] = field(default_factory=list)
    children: list[Individual] = field(default_factory=list)


@dataclass
class Turn:
    """What an iteration brought.

    Attributes:
        iteration: From 1.
        mutations: Per mutated network.
        rescored: The networks that were scored as a whole, accepted or not.
        seconds: Wall time of the search until its end.
        rescoring_seconds: Wall time that scoring networks as a whole took in it.
    """

    iteration: int
    mutations: list[Brought] = field(default_factory=list)
    rescored: list[Individual] = field(default_factory=list)
    seconds: float = 0.0
    rescoring_seconds: float = 0.0


class Journal:
    """The iterations of the search of a folder.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: ResultFolder):
        self._folder = folder

    def append(self, turn: Turn) -> None:
        """Write an iteration."""
        mutations = [
            {
                "n_scored": one.n_scored,
                "n_outside": one.n_outside,
                "propagation": asdict(one.propagation),
                "visited": one.visited,
                "children": [_state(child) for child in one.children],
            }
            for one in turn.mutations
        ]
        rescored = [_state(one) for one in turn.rescored]
        times = {"seconds": turn.seconds, "rescoring_seconds": turn.rescoring_seconds}
        self._folder.save_iteration(turn.iteration, {"mutations": mutations, "rescored": rescored, **times})

    def turns(self, source: Individual) -> Iterator[Turn]:
        """The iterations so far, in order, of a search from this network.

        Raises:
            InputError: A file is missing, damaged or holds something else.
        """
        known = {source.identity: source}
        for iteration, (path, content) in enumerate(self._folder.iterations(), start=1):
            try:
                turn = _turn(content, iteration, known, path)
                _check_counts(turn, source)
            except _MISFITS as error:
                raise _refusal(path, error) from error
            yield turn


def _refusal(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not an iteration of this search ({type(error).__name__}: {error})")


def _turn(content: Content, iteration: int, known: dict[str, Individual], path: Path) -> Turn:
    mutations = [
        Brought(
            int(one["n_scored"]),
            int(one.get("n_outside", 0)),  # which journals once did not have
            _statistics(one["propagation"]),
            [tuple(map(float, found)) for found in one["visited"]],
            [_individual(state, iteration, known, path) for state in one["children"]],
        )
        for one in content["mutations"]
    ]
    rescored = [_individual(state, iteration, known, path) for state in content["rescored"]]
    times = float(content["seconds"]), float(content.get("rescoring_seconds", 0))
    return Turn(iteration, mutations, rescored, *times)


def _check_counts(turn: Turn, source: Individual) -> None:
    """Every network has as many costs as the input, and as many scores of predictors.

    Raises:
        ValueError: One has more or fewer.
    """
    count, rating = len(source.costs), source.rating
    networks = [*(one for brought in turn.mutations for one in brought.children), *turn.rescored]
    if rating and any(len(one.rating.members) != len(rating.members) for one in networks if one.rating):
        raise ValueError(f"a network has not the scores of {len(rating.members)} predictors")
    found = [len(one.costs) for one in networks]
    found += [len(one) - 1 for brought in turn.mutations for one in brought.visited]
    if wrong := set(found) - {count}:
        raise ValueError(f"{wrong.pop()} costs of a network, not {count}")


def _statistics(content: Content) -> Statistics:
    tallies = {name: Tally(**content[name]) for name in ("successes", "failures")}
    return Statistics(**{**content, **tallies}) + Statistics()  # an error where something is no number


def _state(one: Individual) -> Content:
    assert one.origin is not None
    return {
        "hash": one.identity,
        "score": one.score,
        "merit": one.merit,
        "costs": [_or_none(cost) for cost in one.costs],
        "mflops": one.mflops,
        "prescreen_score": one.prescreen_score,
        "parent": one.origin.parent.identity,
        "prefix": one.origin.prefix,
        "swap": one.origin.swap.state_dict(),
        "rating": one.rating and _rating_state(one.rating),
        **({"is_estimated": True} if one.is_estimated else {}),
    }


def _individual(state: Content, iteration: int, known: dict[str, Individual], path: Path) -> Individual:
    origin, identity = (
        Origin(known[state["parent"]], Swap.from_state_dict(state["swap"]), str(state["prefix"])),
        str(state["hash"]),
    )
    found = Individual(
        partial(_grown, origin, identity, path),
        identity,
        float(state["score"]),
        float(state["merit"]),
        tuple(map(_or_nan, state["costs"])),
        float(state["mflops"]),
        iteration,
        float(state["prescreen_score"]),
        origin,
        state["rating"] and _rating(state["rating"]),
        bool(state.get("is_estimated")),
    )
    known[found.identity] = found
    return found


def _grown(origin: Origin, identity: str, path: Path) -> ComputeGraph:
    parent = origin.parent.graph
    try:
        graph = origin.swap.apply(parent, origin.prefix)
        validate(graph)
        if (found := canonical_hash(graph)) != identity:
            raise ValueError(f"the swap of {identity:.80} gives {found}")
    except _MISFITS as error:
        raise _refusal(path, error) from error
    return graph


def _rating_state(rating: Rating) -> Content:
    seen = rating.embedding
    return {
        "score": rating.score,
        "sd": _or_none(rating.sd),
        "members": rating.members,
        "known_share": _or_none(rating.known_share),
        "embedding": None if seen is None else [seen.dtype.str, base64.b64encode(seen.tobytes()).decode()],
    }


def _rating(state: Mapping[str, Any]) -> Rating:
    return Rating(
        float(state["score"]),
        _or_nan(state["sd"]),
        tuple(map(float, state["members"])),
        _or_nan(state["known_share"]),
        state["embedding"] and _array(*state["embedding"]),
    )


def _array(dtype: str, text: str) -> np.ndarray:
    if dtype not in ("<f4", "<f8"):
        raise ValueError(f"an embedding of {dtype!r}")
    return np.frombuffer(base64.b64decode(text, validate=True), dtype)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
