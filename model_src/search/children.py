"""Children of a network: one segment replaced by another."""

from dataclasses import dataclass, field

from model_src.comp_graph.segment import Cut, Segment, cut, replace_segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.propagation.milp import Statistics


@dataclass(frozen=True)
class Swap:
    """One replacement, without the network that it applies to."""

    indices: tuple[int, ...]
    segment: Segment
    input_map: tuple[int, ...]
    output_map: tuple[int, ...]

    def apply(self, parent: ComputeGraph, prefix: str, place: Cut | None = None) -> ComputeGraph:
        """The network with the segment replaced; ids of new nodes begin with `prefix`, `place` is known or cut anew."""
        place = place or cut(parent, self.indices)
        return replace_segment(parent, place, self.segment, self.input_map, self.output_map, prefix)


@dataclass(frozen=True)
class Child:
    """A swap whose network was accepted.

    Attributes:
        swap: The swap.
        identity: Canonical hash of the network.
        score: Its predicted score.
        costs: One per window of the goal, in the units of the objectives.
    """

    swap: Swap
    identity: str
    score: float
    costs: tuple[float, ...]


@dataclass(frozen=True)
class Mutation:
    """What mutating one network gave."""

    accepted: list[Child] = field(default_factory=list)
    n_scored: int = 0
    propagation: Statistics = field(default_factory=Statistics)
