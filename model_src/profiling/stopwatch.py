"""Times networks in a runtime, one after the other, in this process."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import nan

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.profiling.remembered import Reading
from model_src.profiling.runtimes import Runtime
from model_src.profiling.timing import USUAL, Patience, compared, timed

logger = logging.getLogger(__name__)

Run = Callable[[], object]
_DRIFT = 1.1  # that is worth a word


class Stopwatch:
    """A profiler (see `meter.Profiler`) whose costs are milliseconds.

    Machines are not always as fast: others compute beside, it gets warm. So a network is timed in turn with another
    one, the reference, and its time is given as if that took what it usually does.

    Args:
        runtime: Where networks run.
        patience: How long each is timed.
        reference: A network, and the milliseconds that it usually takes; None for none.
    """

    def __init__(
        self, runtime: Runtime, patience: Patience = USUAL, reference: tuple[ComputeGraph, float] | None = None
    ):
        self._runtime, self._patience, self._reference = runtime, patience, reference

    def beside(self, reference: ComputeGraph, cost: float) -> "Stopwatch":
        """The same with a reference, and the milliseconds that it usually takes."""
        return Stopwatch(self._runtime, self._patience, (reference, cost))

    def readings(self, networks: Sequence[ComputeGraph]) -> Iterator[tuple[int, Reading]]:
        """The positions of networks and their times."""
        if not networks:
            return
        if self._reference is None:
            for position, cg in enumerate(networks):
                yield position, self._reading(cg, self._alone)
            return
        paces: list[float] = []
        with self._runtime.prepared(self._reference[0]) as other:
            for position, cg in enumerate(networks):
                yield position, self._reading(cg, partial(self._beside, other, paces))
        if paces and (max(paces) > _DRIFT or min(paces) < 1 / _DRIFT):
            text = "the machine took %.2f to %.2f times as long as before; times allow for that"
            logger.info(text, min(paces), max(paces))

    def _reading(self, cg: ComputeGraph, time: Callable[[Run], Reading]) -> Reading:
        try:
            with self._runtime.prepared(cg) as run:
                return time(run)
        except Exception as error:  # whatever a runtime raises
            return Reading(nan, failure=f"{type(error).__name__}: {error}")

    def _alone(self, run: Run) -> Reading:
        found = timed(run, self._patience)
        return Reading(found.ms, found.spread, found.runs)

    def _beside(self, other: Run, paces: list[float], run: Run) -> Reading:
        assert self._reference
        usual, found = self._reference[1], compared(run, other, self._patience)
        paces.append(found.other_ms / usual)
        return Reading(found.ratio * usual, found.spread, found.runs)
