"""What a search makes smaller while it raises the score, and what a child must achieve to be accepted.

An objective is one entry of `OBJECTIVES`; the flags, the windows, the front and the reports follow from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from model_src.comp_graph.memory import peak_activation_bytes
from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_flops_counter import node_macs
from model_src.comp_graph.tf_comp_graph_utils import graph_macs, parameter_count
from model_src.files import InputError
from model_src.profiling.layers import nodes_of_segment

COMMAND = "command:"  # what the name of an objective begins with that a program tells
UNIT = "units"  # of what it tells, where nobody says


@dataclass(frozen=True)
class Objective:
    """A cost of networks that a search makes smaller.

    Attributes:
        name: Its name as a flag's value.
        title: Its name in sentences.
        unit: What `of_graph(cg) / scale` counts.
        column: Its column in tables.
        of_graph: The raw cost of a network.
        of_segment: The raw cost of a segment in its place, where the cost of a network is the sum over its nodes; None
            where only the whole network tells.
        scale: Raw cost per unit.
        is_measured: `of_graph` and `of_segment` only estimate, which screens children; who is to stay is measured.
    """

    name: str
    title: str
    unit: str
    column: str
    of_graph: Callable[[ComputeGraph], float]
    of_segment: Callable[[Segment], float] | None = None
    scale: float = 1.0
    is_measured: bool = False

    def measure(self, cg: ComputeGraph) -> float:
        """The cost of a network, in `unit`."""
        return self.of_graph(cg) / self.scale

    @property
    def label(self) -> str:
        """Its name with its unit."""
        return self.title if self.title == self.unit else f"{self.title} ({self.unit})"


def digits(value: float, count: int) -> str:
    """A number with so many digits at least, never with an exponent for being large."""
    return f"{value:,.{count}g}" if abs(value) < 10**count else f"{value:,.0f}"


def graph_flops(cg: ComputeGraph) -> int:
    """FLOPs (2 x MACs, raw) of a network."""
    return 2 * graph_macs(cg)


def segment_flops(segment: Segment) -> int:
    """FLOPs (2 x MACs, raw) of a segment in its place: inputs from outside count like inner ones."""
    return 2 * sum([node_macs(node, count) for node, count in nodes_of_segment(segment)])


def segment_parameters(segment: Segment) -> int:
    """Parameters of a segment."""
    return parameter_count(segment.graph)


FLOPS = Objective("flops", "FLOPs", "MFLOPs", "mflops", graph_flops, segment_flops, 1e6)
PARAMS = Objective("params", "parameters", "parameters", "params", parameter_count, segment_parameters)
PEAK_MEMORY = Objective(
    "peak_memory", "peak activation memory", "MB", "peak_memory_mb", peak_activation_bytes, scale=1e6
)
LATENCY = Objective("latency", "latency", "ms", "latency_ms", graph_flops, segment_flops, is_measured=True)
OBJECTIVES = {objective.name: objective for objective in (FLOPS, PARAMS, PEAK_MEMORY, LATENCY)}


def objective_of(name: str | Objective, unit: str = UNIT) -> Objective:
    """The objective of a name; an objective is handed on.

    Args:
        name: A name of `OBJECTIVES`, or `command:` and a program that tells the cost of a network.
        unit: Of what a program tells.

    Raises:
        InputError: There is none of this name.
    """
    if isinstance(name, Objective):
        return name
    if name.startswith(COMMAND):
        return Objective(name, "cost", unit, "cost", graph_flops, segment_flops, is_measured=True)
    if name not in OBJECTIVES:
        choice = f"{', '.join(OBJECTIVES)}, or {COMMAND}'PROGRAM {{onnx}}'"
        raise InputError(f"-objective: unknown objective {name!r}; choose from {choice}")
    return OBJECTIVES[name]


def objectives_of(names: str | Objective | Sequence[str | Objective], unit: str = UNIT) -> tuple[Objective, ...]:
    """The objectives of one name or several; see `objective_of`.

    Raises:
        InputError: There is none of a name, or no name, or two objectives have one column.
    """
    found = [objective_of(name, unit) for name in ((names,) if isinstance(names, str | Objective) else names)]
    columns = [one.column for one in found]
    if twice := [one.name for one in found if columns.count(one.column) > 1]:
        raise InputError(f"-objective: {twice[0]} and {twice[1]} are one cost; give one of them")
    if not found:
        raise InputError("-objective: give at least one")
    return tuple(found)


@dataclass(frozen=True)
class Window:
    """The range that an objective of an accepted network lies in, as a decrease against the input's.

    Attributes:
        objective: What is measured.
        source: The input's value, in the objective's unit.
        min_decrease: In percent of the input's value; results lie strictly above. Negative allows growth.
        max_decrease: In percent of the input's value; results lie strictly below.
    """

    objective: Objective
    source: float
    min_decrease: float
    max_decrease: float

    def decrease(self, value: float) -> float:
        """By how many percent of the input's value a value is smaller."""
        return 100 * (self.source - value) / self.source

    def contains(self, value: float) -> bool:
        """Whether a value lies strictly inside the window."""
        return self.min_decrease < self.decrease(value) < self.max_decrease

    def __str__(self) -> str:
        ends = (self.source * (1 - percent / 100) for percent in (self.max_decrease, self.min_decrease))
        source, low, high = (digits(max(value, 0), 6) for value in (self.source, *ends))
        return (
            f"{self.objective.title}: the input has {source} {self.objective.unit}, results lie between "
            f"{low} and {high} (decrease of {self.min_decrease:g} to {self.max_decrease:g} %)"
        )


@dataclass(frozen=True)
class Goal:
    """What a child must achieve: a merit above the input's, or not far below, and costs inside the windows.

    Attributes:
        score: The input's predicted score, in the predictor's units.
        windows: One per cost that is measured, FLOPs among them.
        n_objectives: The first so many costs form the front; the others only limit it.
        threshold: What a network's merit must exceed: the input's own, less the drop that is allowed; None: the score.
    """

    score: float
    windows: tuple[Window, ...]
    n_objectives: int = 1
    threshold: float | None = None

    @cached_property
    def least(self) -> float:
        """What a network's merit must exceed."""
        return self.score if self.threshold is None else self.threshold

    @cached_property
    def flops(self) -> int:
        """Position of FLOPs among the costs."""
        return next(i for i, window in enumerate(self.windows) if window.objective.name == FLOPS.name)

    @cached_property
    def estimates(self) -> bool:
        """Whether costs that form the front are estimates before they are measured."""
        return any(window.objective.is_measured for window in self.windows[: self.n_objectives])

    def score_gain(self, score: float) -> float:
        """By how many percent of the input's absolute score a network is better."""
        return 100 * (score - self.score) / abs(self.score) if self.score else 100 * (score - self.score)

    def accepts(self, merit: float, costs: Sequence[float | None]) -> bool:
        """Whether a network is good enough and inside every window."""
        return merit > self.least and self.contains(costs)

    def keeps(self, merit: float, front_costs: Sequence[float]) -> bool:
        """Whether a network is good enough and those of its costs that form the front are inside their windows."""
        return merit > self.least and all(map(Window.contains, self.windows, front_costs))

    def contains(self, costs: Sequence[float | None]) -> bool:
        """Whether every cost lies in its window; None is a cost not known yet."""
        return all(cost is None or window.contains(cost) for window, cost in zip(self.windows, costs, strict=True))

    def costs_of(self, child: ComputeGraph, known: Sequence[float | None], merges_bypassed: bool) -> tuple[float, ...]:
        """The costs of a child that is built.

        Args:
            child: The network.
            known: What `SwapCosts` gave.
            merges_bypassed: Whether nodes outside of the swap disappeared, so that sums over nodes no longer hold.
        """
        return tuple(
            window.objective.measure(child) if cost is None or merges_bypassed else cost
            for window, cost in zip(self.windows, known, strict=True)
        )

    def front_costs(self, costs: Sequence[float | None]) -> tuple[float, ...]:
        """The costs that form the front; FLOPs stand in for those that are not known yet."""
        flops = costs[self.flops] or 0.0
        return tuple(flops if cost is None else cost for cost in costs[: self.n_objectives])


class SwapCosts:
    """Costs of the children of one parent, as far as they are known before a child is built."""

    def __init__(self, goal: Goal, parent: ComputeGraph):
        self._objectives = [window.objective for window in goal.windows]
        self._of_parent = [o.of_graph(parent) if o.of_segment else 0 for o in self._objectives]

    def at(self, place: Segment) -> Callable[[Segment], tuple[float | None, ...]]:
        """A function that gives the costs of the child in which a segment stands in the place of another one."""
        rest = [
            raw - objective.of_segment(place) if objective.of_segment else 0
            for objective, raw in zip(self._objectives, self._of_parent, strict=True)
        ]

        def costs(segment: Segment) -> tuple[float | None, ...]:
            return tuple(
                (kept + objective.of_segment(segment)) / objective.scale if objective.of_segment else None
                for objective, kept in zip(self._objectives, rest, strict=True)
            )

        return costs
