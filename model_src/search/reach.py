"""What single swaps reach, before anything is scored: whether a window can be met at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.mutator import Mutator
from model_src.search.objectives import Goal, SwapCosts, Window, digits


@dataclass(frozen=True)
class Reach:
    """The range of a cost over single swaps, in the unit of its objective."""

    low: float
    high: float

    def told(self, window: Window) -> str:
        """The range in words, and whether it misses the window of results."""
        ends = sorted(-window.decrease(value) for value in (self.low, self.high))
        costs = f"{digits(self.low, 4)} to {digits(self.high, 4)} {window.objective.unit}"
        text = f"single swaps of equal sizes reach {costs} ({ends[0]:+.1f} to {ends[1]:+.1f} %)"
        if ends[1] <= -window.max_decrease or ends[0] >= -window.min_decrease:
            return f"{text}, which is outside of the window: results need several swaps, or segments made to fit"
        return text


def reach(mutator: Mutator, cg: ComputeGraph, goal: Goal, rng: np.random.Generator) -> list[Reach | None]:
    """The range of every cost of a goal over the swaps with segments of the very same sizes.

    Costs that only the built network tells have none, and neither have any where nothing may be swapped.
    """
    costs, found = SwapCosts(goal, cg), list[Sequence[float | None]]()
    for candidate in mutator.candidates(cg, rng):
        source = candidate.place.segment
        targets = mutator.fitting(source.input_shapes, source.output_shapes)
        found += map(costs.at(source), targets)
    columns = [[cost for cost in column if cost is not None] for column in zip(*found, strict=True)]
    ranges = [Reach(min(column), max(column)) if column else None for column in columns]
    return ranges or [None] * len(goal.windows)
