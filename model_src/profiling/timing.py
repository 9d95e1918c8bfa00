"""How long a call takes: the median of repeats until it is known well enough."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model_src.runtime import without_collections

Clock = Callable[[], float]
_AT_ONCE = 8  # calls between looks at the spread


@dataclass(frozen=True)
class Timing:
    """How long a call takes.

    Attributes:
        ms: The median, in milliseconds.
        spread: Half the width of the median's 95 % interval, as a share of the median.
        runs: Calls that were timed.
    """

    ms: float
    spread: float
    runs: int


@dataclass(frozen=True)
class Comparison:
    """How long a call takes beside another one.

    Attributes:
        ratio: How many times as long as the other: the median over pairs of calls, one after the other.
        spread: Half the width of the median's 95 % interval, as a share of it.
        runs: Pairs.
        other_ms: The median of the other, in milliseconds.
    """

    ratio: float
    spread: float
    runs: int
    other_ms: float


@dataclass(frozen=True)
class Patience:
    """How long to time a call.

    Attributes:
        warm_up: Seconds of calls that do not count; at least one call.
        least: Seconds of calls that count, at least; never fewer than `_AT_ONCE` calls.
        most: Seconds after which the spread does not matter any more.
        spread: What `Timing.spread` has to fall to.
    """

    warm_up: float = 0.1
    least: float = 0.2
    most: float = 2.0
    spread: float = 0.01


USUAL = Patience()
SHORT = Patience(warm_up=0.02, least=0.03, most=0.2, spread=0.03)  # for layers, of which there are many


def timed(run: Callable[[], object], patience: Patience = USUAL, clock: Clock = time.perf_counter) -> Timing:
    """Time a call, again and again until the median's spread is small."""
    seconds: list[float] = []
    with without_collections():
        began = clock()
        run()
        while clock() - began < patience.warm_up:
            run()
        began = clock()
        while True:
            seconds += [_once(run, clock) for _ in range(_AT_ONCE)]
            gone, spread = clock() - began, spread_of(seconds)
            if gone >= patience.most or (gone >= patience.least and spread <= patience.spread):
                return Timing(1e3 * float(np.median(seconds)), spread, len(seconds))


def compared(
    run: Callable[[], object], other: Callable[[], object], patience: Patience = USUAL, clock: Clock = time.perf_counter
) -> Comparison:
    """Time two calls in turn until it is known well enough how many times as long the first takes as the other."""
    pairs: list[tuple[float, float]] = []
    with without_collections():
        began = clock()
        while not pairs or clock() - began < patience.warm_up:
            pairs = [(_once(run, clock), _once(other, clock))]
        began, pairs = clock(), []
        while True:
            pairs += [(_once(run, clock), _once(other, clock)) for _ in range(_AT_ONCE)]
            ratios = [one / two for one, two in pairs]
            gone, spread = clock() - began, spread_of(ratios)
            if gone >= patience.most or (gone >= patience.least and spread <= patience.spread):
                usual = 1e3 * float(np.median([two for _, two in pairs]))
                return Comparison(float(np.median(ratios)), spread, len(pairs), usual)


def alternating(runs: Sequence[Callable[[], object]], rounds: int, clock: Clock = time.perf_counter) -> list[Timing]:
    """Time several calls in turn, so that what disturbs the machine for a while disturbs them alike.

    Args:
        runs: The calls; all are done once before it begins.
        rounds: Times that each is timed, every round in the other order.
        clock: Gives seconds.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    order = list(range(len(runs)))
    with without_collections():
        for run in runs:
            run()
        for _ in range(rounds):
            for position in order:
                seconds[position].append(_once(runs[position], clock))
            order.reverse()
    return [Timing(1e3 * float(np.median(each)), spread_of(each), len(each)) for each in seconds]


def spread_of(seconds: Sequence[float]) -> float:
    """Half the width of the median's 95 % interval, 1.57 × interquartile range / √n, as a share of the median."""
    low, median, high = np.percentile(seconds, (25, 50, 75))
    return float(1.57 * (high - low) / len(seconds) ** 0.5 / median) if median else 0.0


def _once(run: Callable[[], object], clock: Clock) -> float:
    began = clock()
    run()
    return clock() - began
