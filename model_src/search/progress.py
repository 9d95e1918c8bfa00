"""What a search tells while it runs: a line on the terminal, one per iteration in its log, and its tables."""

import logging
import time
from collections.abc import Sequence
from types import TracebackType

from tqdm import tqdm

from model_src.search.output import write_so_far
from model_src.search.pareto import Individual, hypervolume
from model_src.search.report import accuracy
from model_src.search.result import SearchResult
from model_src.search.result_folder import ResultFolder
from model_src.search.run import Progress

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_PICTURES = 30.0  # drawing one takes half a second, the first one a second
_LINE = "{desc} {percentage:3.0f}% |{bar:10}| {elapsed} gone, {remaining} left{postfix}"


class ProgressLine:
    """Shows where a search is; after every iteration its folder has tables of the front so far, and a recent picture.

    Args:
        n_iterations: Of the search.
        folder: Of the search.
        quiet: Show no line.
    """

    def __init__(self, n_iterations: int, folder: ResultFolder, quiet: bool):
        self._n_iterations, self._folder, self._drawn = n_iterations, folder, time.monotonic()
        self._bar = tqdm(total=n_iterations, desc="search", bar_format=_LINE, disable=quiet)

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bar.close()

    def __call__(self, now: Progress) -> None:
        """Show where the search is."""
        text = _text(now, now.so_far())
        if now.is_over:
            logger.debug("iteration %d of %d: %s", now.iteration, self._n_iterations, text)
            draws = time.monotonic() >= self._drawn + SECONDS_BETWEEN_PICTURES
            self._drawn = time.monotonic() if draws else self._drawn
            write_so_far(now.so_far(), self._folder, draws)
        if not self._bar.disable:
            self._bar.n = now.iteration - 1 + now.parent / now.n_parents
            self._bar.set_description_str(f"iteration {now.iteration}/{self._n_iterations}", refresh=False)
            self._bar.set_postfix_str(text)


def _text(now: Progress, result: SearchResult) -> str:
    rescored = f", rescored {now.n_rescored:,}" if now.n_rescored else ""
    found = [one for one in now.front if one is not result.source]
    text = f"scored {now.n_scored:,}{rescored}, front {len(found)}"
    return f"{text}, {_gains(found, result)}" if found else text


def _gains(found: Sequence[Individual], result: SearchResult) -> str:
    source, scale, goal = result.source, result.scorer.accuracy_scale, result.goal
    values = [accuracy(one.score, scale) if scale else one.score for one in (source, *found)]
    windows = goal.windows[: goal.n_objectives]
    gains = [value - values[0] for value in values[1:]]
    shares = [[cost / window.source for cost, window in zip(one.costs, windows, strict=True)] for one in found]
    ends = zip(windows, zip(*shares, strict=True), strict=True)
    most = [min(1 - window.min_decrease / 100, max(1.0, *column)) for window, column in ends]
    volume = hypervolume(gains, shares, most)
    return f"best {max(gains):+.2f}{' points' if scale else ''}, hypervolume {volume:.3f}"
