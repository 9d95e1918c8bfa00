"""How many images go through a network at once, where its memory is small."""

import logging
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

logger = logging.getLogger(__name__)


class Portions:
    """How many images go through a network at once: fewer, once the memory was too small for them."""

    def __init__(self, size: int, title: str):
        self._size, self._title = size, title

    def sums(
        self,
        work: Callable[[int, int], tuple[Any, Any]],
        start: int,
        stop: int,
        undo: Callable[[], None] = lambda: None,
    ) -> tuple[Any, Any]:
        """Do work on a range, in one go or in parts, and add up the pairs that it returns.

        Args:
            work: Called with start and stop; raises MemoryError where that is too much.
            start: Of the range.
            stop: Of the range.
            undo: Takes back the work on parts before it is done again on smaller ones.

        Raises:
            MemoryError: A single image is too much.
        """
        while True:
            try:
                pairs = [work(*part) for part in parts(start, stop, self._size)]
                return sum(loss for loss, _ in pairs), sum(right for _, right in pairs)
            except MemoryError:
                if self._size == 1:
                    raise
            undo()
            size, self._size = self._size, math.ceil(min(self._size, stop - start) / 2)
            logger.warning(
                "%s: out of memory with %d images at once; going on with parts of %d, the steps stay the same",
                self._title, size, self._size,
            )  # fmt: skip


def parts(start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut a range into parts of at most `most` whose sizes differ by one at most, as pairs of start and stop."""
    n_parts = math.ceil((stop - start) / most)
    bounds = [start + (stop - start) * number // n_parts for number in range(n_parts + 1)]
    return pairwise(bounds)
