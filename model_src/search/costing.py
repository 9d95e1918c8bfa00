"""Costs that are measured on a device: which networks are asked for, and what becomes of their costs."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.profiling.command import Command, parse_command
from model_src.profiling.meter import Meter, latency_meter
from model_src.profiling.remembered import Remembered
from model_src.profiling.runtimes import Runtime, usual_runtime
from model_src.search.config import SearchConfig
from model_src.search.objectives import COMMAND, LATENCY, Goal, Objective, Window
from model_src.search.pareto import Individual

logger = logging.getLogger(__name__)


def meters_of(config: SearchConfig, own: Path | None = None) -> dict[str, Meter]:
    """What measures costs in a search, by the names of objectives.

    Args:
        config: Of the search.
        own: The table of costs of the search; None for none.

    Raises:
        InputError: The runtime or the device is not there, or a table is damaged.
    """
    shared = Path(config.costs_dir) if config.costs_dir else None
    table = Path(config.latency_table) if config.latency_table else None
    meters = {}
    for objective, _, _ in config.limits():
        if objective.name == LATENCY.name:
            name = config.latency_runtime or usual_runtime()
            runtime = Runtime(name, config.latency_device, config.latency_threads, config.latency_batch)
            meters[objective.name] = latency_meter(runtime, own, shared, table)
        elif objective.name.startswith(COMMAND):
            words = parse_command(objective.name.removeprefix(COMMAND))
            command = Command(words, config.command_timeout, config.command_attempts, config.command_jobs)
            meters[objective.name] = Meter(command, Remembered(command.setting, own, shared))
    return meters


def measured_by(config: SearchConfig) -> dict[str, str]:
    """Column of every objective that is measured -> what a measurement depends on besides the network.

    Raises:
        InputError: See `meters_of`.
    """
    meters = meters_of(replace(config, costs_dir=None))
    return {o.column: meters[o.name].setting for o, _, _ in config.limits() if o.is_measured}


class Costing:
    """What networks of a search cost.

    Measuring waits until it is alone: while it runs, this process asks no worker for anything.

    Args:
        config: Of the search.
        meters: Name of objective -> measures it; one for each that is measured.
    """

    def __init__(self, config: SearchConfig, meters: Mapping[str, Meter]):
        self._limits, self._meters = config.limits(), dict(meters)

    def windows(self, cg: ComputeGraph) -> tuple[Window, ...]:
        """The windows that an input opens; estimates of measured objectives are scaled so that its own is right.

        Raises:
            InputError: It has nothing of an objective that could be made smaller, or cannot be measured.
        """
        windows = []
        for objective, low, high in self._limits:
            value = objective.measure(cg)
            if objective.is_measured:
                value = self._meters[objective.name]({cg.name: cg})[cg.name]
                if isnan(value):
                    raise InputError(f"-objective {objective.name}: the input {cg.name} cannot be measured; see above")
                objective = self._estimating(objective, cg, value)
            if not value:
                raise InputError(f"{cg.name}: the network has no {objective.title}, nothing can be made smaller")
            windows.append(Window(objective, value, low, high))
        return tuple(windows)

    def _estimating(self, objective: Objective, cg: ComputeGraph, value: float) -> Objective:
        meter = self._meters[objective.name]
        self._meters[objective.name] = meter.beside(cg, value)
        estimate = meter.estimate(cg, value)
        if estimate is not None and estimate.of_graph(cg):
            objective = replace(objective, of_graph=estimate.of_graph, of_segment=estimate.of_segment)
        raw = objective.of_graph(cg)
        logger.info("%s: %s", objective.title, meter.setting)
        return replace(objective, scale=raw / value) if raw and value else objective

    def measured(self, individuals: Sequence[Individual], goal: Goal) -> list[Individual]:
        """The same individuals; those that are good enough with measured costs, the others with estimates."""
        if not self._meters:
            return list(individuals)
        asked = {one.identity: one for one in individuals if one.is_estimated and one.merit > goal.least}
        graphs = {identity: one.graph for identity, one in asked.items()}
        found = [
            self._meters[window.objective.name](graphs) if window.objective.is_measured else None
            for window in goal.windows[: goal.n_objectives]
        ]
        return [_with_costs(one, found) if one.identity in asked else one for one in individuals]

    def kept(self, individuals: Iterable[Individual], goal: Goal) -> list[Individual]:
        """Those that measured costs leave inside the windows."""
        return [one for one in self.measured(list(individuals), goal) if goal.keeps(one.merit, one.costs)]


def _with_costs(one: Individual, found: Sequence[Mapping[str, float] | None]) -> Individual:
    pairs = zip(one.costs, found, strict=True)
    costs = tuple(cost if measured is None else measured[one.identity] for cost, measured in pairs)
    return replace(one, costs=costs, is_estimated=False)
