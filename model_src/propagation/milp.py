"""Fit a segment between its new neighbours: given input sizes, required output sizes, least change.

`resolution_propagate` works on a networkx segment that is forward-propagated already; `Propagator` does both steps on a
`Segment`, remembers its answers and keeps count.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import sqrt
from typing import TYPE_CHECKING, Any, Self

from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import Shape
from model_src.propagation.forward import (
    PropagationError,
    forward_resolutions,
    outside_shapes,
    with_resolutions,
)
from model_src.propagation.milp_highs import solve_in_process
from model_src.propagation.problem import (
    CHANGE,
    CONCAT,
    CONV,
    DEPTHWISE,
    INFEASIBLE,
    OPTIMAL,
    POOL,
    ResolutionProblem,
    operation_of,
    problem_of_graph,
    problem_of_segment,
    resolution_kind,
)

if TYPE_CHECKING:
    import networkx as nx

FORWARD_FAILED = "forward failed"

Call = tuple[Segment, tuple[Shape, ...], tuple[Shape, ...]]  # a segment, its input and its output (H, W, C)


def resolution_propagate(
    segment: "nx.DiGraph", target_outputs: Mapping[Any, Shape], solver: Any = None
) -> tuple[str, "nx.DiGraph | None", float | None]:
    """Find the resolutions of least cost with which a forward-propagated segment gives the required outputs.

    Args:
        segment: Nodes carry `op_name`, `resolution` (H_in, H_out, W_in, W_out, C_in, C_out) and, where they have any,
            `strides`, `metadata` and the kernel's `shape`. It is not changed. Nodes without predecessors keep the input
            sizes of their resolution; other nodes read nothing from outside.
        target_outputs: Every node without successors -> the (H, W, C) that it must give.
        solver: None for the in-process solver; or a Pyomo solver, by name or as an object.

    Returns:
        `optimal`, a copy of the segment with integer resolutions, strides and kernel channels, and its cost; otherwise
        `infeasible` or the reason why there is no proven optimum, None and None.

    Raises:
        ValueError: The segment is cyclic, `target_outputs` does not name its sinks, or the solver is not installed.
    """
    try:
        problem = problem_of_graph(segment, target_outputs)
    except PropagationError as error:
        return str(error), None, None
    status, shapes = _solve(problem, solver)
    if shapes is None:
        return status, None, None
    resolved = segment.copy()
    for node, attributes in enumerate(resolved.nodes.values()):
        resolution = attributes["resolution"] = problem.resolution(node, shapes)
        if problem.kinds[node] in CHANGE:
            attributes["strides"] = (1, *problem.new_strides(node, shapes), 1)
        if attributes.get("shape") is not None:
            kernel = operation_of(attributes).kernel_shape(*resolution[4:], *attributes["shape"][2:])
            attributes["shape"] = kernel
    return status, resolved, float(problem.objective(shapes))


def _solve(problem: ResolutionProblem, solver: Any) -> tuple[str, list[Shape] | None]:
    if solver is None:
        status, shapes = solve_in_process(problem)
    else:
        from model_src.propagation.milp_pyomo import solve_with_pyomo

        status, shapes = solve_with_pyomo(problem, solver)
    if shapes is not None and not problem.keeps_groups(shapes):  # which no solver is told of
        return INFEASIBLE, None
    return status, shapes


def _found(solver: Any) -> Any:
    if solver is None:
        return None
    from model_src.propagation.milp_pyomo import find_solver

    return find_solver(solver)


@dataclass
class _Sum:
    """Dataclasses whose fields are added one by one."""

    def __add__(self, other: Self) -> Self:
        names = [entry.name for entry in fields(self)]
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass
class Tally(_Sum):
    """Calls that ended alike.

    Attributes:
        count: The calls.
        timed: Those that were worked out, not remembered.
        seconds: The time that these took.
        squares: The sum of the squares of their times.
    """

    count: int = 0
    timed: int = 0
    seconds: float = 0.0
    squares: float = 0.0

    def add(self, seconds: float | None) -> None:
        """Count one call; None for a remembered one."""
        self.count += 1
        if seconds is not None:
            self.timed += 1
            self.seconds += seconds
            self.squares += seconds * seconds

    @property
    def mean(self) -> float:
        """Mean time in seconds, 0 without any."""
        return self.seconds / self.timed if self.timed else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of the times in seconds (of a sample), 0 for fewer than two."""
        if self.timed < 2:
            return 0.0
        return sqrt(max(0.0, self.squares - self.timed * self.mean**2) / (self.timed - 1))


@dataclass
class Statistics(_Sum):
    """What a `Propagator` did; add two to merge them.

    All counts include remembered answers, so that they do not depend on who shares a memory; only `repeated` and the
    times do.

    Attributes:
        calls: All calls.
        repeated: Calls answered from memory.
        forward_failures: Calls that failed in forward propagation.
        successes: Calls that found a resolution; times without forward propagation.
        failures: Calls that found none after forward propagation.
        unproven: Those of them in which the solver gave up, at a limit or for another reason.
        conv: Convolutions (with depthwise ones) in the segments of all calls; likewise `pool` and `concat`.
    """

    calls: int = 0
    repeated: int = 0
    forward_failures: int = 0
    successes: Tally = field(default_factory=Tally)
    failures: Tally = field(default_factory=Tally)
    unproven: int = 0
    conv: int = 0
    pool: int = 0
    concat: int = 0


@dataclass(frozen=True, eq=False)
class Resolution:
    """The answer to one call of `Propagator.resolve`.

    Attributes:
        status: `optimal`, `infeasible`, `forward failed`, or what else stopped the solver.
        segment: The segment with the new sizes, None unless the status is `optimal`.
        objective: The cost, None unless the status is `optimal`.
        reason: Why forward propagation failed.
    """

    status: str
    segment: Segment | None = None
    objective: float | None = None
    reason: str = ""


class Propagator:
    """Resolves segments, remembers the answers and keeps count.

    Attributes:
        statistics: What was done so far.
    """

    def __init__(self, solver: Any = None, memory: int = 16_384):
        """`solver` as for `resolution_propagate`; at most `memory` answers are kept, the oldest go first.

        Raises:
            InputError: The named solver is not installed.
        """
        self.statistics = Statistics()
        self._solver = _found(solver)
        self._limit = memory
        self._memory: dict[Call, Resolution] = {}

    def resolve(self, segment: Segment, input_shapes: Sequence[Shape], output_shapes: Sequence[Shape]) -> Resolution:
        """Fit a segment between neighbours; the same segment object and shapes give the same answer object.

        Args:
            segment: The segment.
            input_shapes: Per input tensor, the (H, W, C) that it will have.
            output_shapes: Per output tensor, the (H, W, C) that it must have.

        Raises:
            ValueError: The number of output shapes is not that of the output tensors, or the solver is not installed.
        """
        key: Call = (segment, tuple(input_shapes), tuple(output_shapes))
        answer, seconds = self._memory.get(key), None
        repeated = answer is not None
        if answer is None:
            if len(self._memory) >= self._limit:
                del self._memory[next(iter(self._memory))]
            answer, seconds = self._work_out(*key)
            self._memory[key] = answer
        self._count(segment, answer, repeated, seconds)
        return answer

    def _work_out(
        self, segment: Segment, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]
    ) -> tuple[Resolution, float]:
        try:
            outside = outside_shapes(segment, inputs)
            resolutions = forward_resolutions(segment, outside)
        except PropagationError as error:
            return Resolution(FORWARD_FAILED, reason=str(error)), 0.0
        start = time.perf_counter()
        problem = problem_of_segment(segment, resolutions, outside, outputs)
        status, shapes = _solve(problem, self._solver)
        answer = Resolution(status)
        if shapes is not None:
            answer = Resolution(status, _resolved(segment, inputs, problem, shapes), float(problem.objective(shapes)))
        return answer, time.perf_counter() - start

    def _count(self, segment: Segment, answer: Resolution, repeated: bool, seconds: float | None) -> None:
        statistics = self.statistics
        statistics.calls += 1
        statistics.repeated += repeated
        if answer.status == FORWARD_FAILED:
            statistics.forward_failures += 1
        else:
            (statistics.failures if answer.segment is None else statistics.successes).add(seconds)
            statistics.unproven += answer.status not in (OPTIMAL, INFEASIBLE)
        kinds = Counter(resolution_kind(node.operation) for node in segment.graph.nodes)
        statistics.conv += kinds[CONV] + kinds[DEPTHWISE]
        statistics.pool += kinds[POOL]
        statistics.concat += kinds[CONCAT]


def _resolved(
    segment: Segment, inputs: tuple[Shape, ...], problem: ResolutionProblem, shapes: Sequence[Shape]
) -> Segment:
    nodes = segment.graph.nodes
    graph = with_resolutions(
        segment.graph,
        [problem.resolution(index, shapes) for index in range(len(nodes))],
        [
            (1, *problem.new_strides(index, shapes), 1) if kind in CHANGE else node.strides
            for index, (node, kind) in enumerate(zip(nodes, problem.kinds, strict=True))
        ],
    )
    if graph is segment.graph and inputs == segment.input_shapes:
        return segment
    return replace(segment, graph=graph, input_shapes=inputs)
