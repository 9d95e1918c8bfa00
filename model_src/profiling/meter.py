"""Costs of networks, measured once and remembered."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.profiling.estimate import Estimate, learn, time_layers
from model_src.profiling.remembered import Reading, Remembered, key_of
from model_src.profiling.runtimes import Runtime
from model_src.profiling.stopwatch import Stopwatch
from model_src.profiling.table import read_table
from model_src.profiling.timing import SHORT

logger = logging.getLogger(__name__)


class Profiler(Protocol):
    """Measures what networks cost."""

    def readings(self, networks: Sequence[ComputeGraph]) -> Iterator[tuple[int, Reading]]:
        """The positions of networks with what measuring gave, as it comes."""

    def beside(self, reference: ComputeGraph, cost: float) -> "Profiler":
        """The same, for costs that hold while a network costs so much; where nothing disturbs, this very one."""


class Meter:
    """Costs of networks; none is measured twice.

    Args:
        profiler: Measures.
        remembered: What was measured before.
        estimate: See the method.

    Attributes:
        setting: All that a cost depends on besides the network, in one line.
    """

    def __init__(
        self,
        profiler: Profiler,
        remembered: Remembered,
        estimate: Callable[[ComputeGraph, float], Estimate | None] = lambda cg, cost: None,
    ):
        self.setting, self._estimate = remembered.setting, estimate
        self._profiler, self._remembered = profiler, remembered

    def beside(self, reference: ComputeGraph, cost: float) -> "Meter":
        """The same, for costs that hold while a network costs so much: how fast the machine is at the moment."""
        return Meter(self._profiler.beside(reference, cost), self._remembered, self._estimate)

    def estimate(self, cg: ComputeGraph, cost: float) -> Estimate | None:
        """What estimates the costs of networks like one that costs so much; None where there is no such way."""
        return self._estimate(cg, cost)

    def __call__(self, networks: Mapping[str, ComputeGraph]) -> dict[str, float]:
        """The costs of networks by their names; nan where one cannot be measured."""
        keys = {name: key_of(cg) for name, cg in networks.items()}
        new = {key: networks[name] for name, key in keys.items() if self._remembered.get(key) is None}
        order = list(new)
        for position, reading in self._profiler.readings(list(new.values())):
            self._remembered.add(order[position], reading)
            if reading.failure:
                logger.warning("%s cannot be measured: %s", new[order[position]].name, reading.failure)
        costs = {name: self._remembered.get(key) for name, key in keys.items()}
        return {name: math.nan if cost is None else cost for name, cost in costs.items()}


def latency_meter(
    runtime: Runtime, own: Path | None = None, shared: Path | None = None, table: Path | None = None
) -> Meter:
    """What measures latencies, and estimates them from the layers of a table, or of the network that is given.

    Args:
        runtime: Where networks run.
        own: The table of one search; None for none.
        shared: The folder of tables that searches share; None for none.
        table: Of times of layers; None times those of the network.

    Raises:
        InputError: The runtime or the device is not there, or a table is damaged.
    """
    runtime.check()
    if table:
        known = learn(read_table(table), runtime.fused)
        return Meter(Stopwatch(runtime), Remembered(runtime.setting, own, shared), lambda cg, ms: known)
    setting = runtime.setting
    layers = Meter(Stopwatch(runtime, SHORT), Remembered(f"{setting}, single layers", own, shared))

    def estimate(cg: ComputeGraph, ms: float) -> Estimate | None:
        times = time_layers(cg.nodes, runtime.fused, layers.beside(cg, ms))
        return learn(times, runtime.fused) if times else None

    return Meter(Stopwatch(runtime), Remembered(setting, own, shared), estimate)
