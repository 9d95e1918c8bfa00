"""Children of a network: one segment replaced by another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_src.comp_graph.segment import Cut, Segment, cut, replace_segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape
from model_src.comp_graph.validate import validate_edges, validate_node
from model_src.processes import Parcel
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
        place = place or self.place_in(parent)
        return replace_segment(parent, place, self.segment, self.input_map, self.output_map, prefix)

    def place_in(self, parent: ComputeGraph) -> Cut:
        """What is taken out of a network."""
        return cut(parent, self.indices)

    def state_dict(self) -> dict[str, Any]:
        """The swap as JSON data."""
        segment = self.segment
        return {
            "indices": self.indices,
            "graph": segment.graph.state_dict(),
            "inputs": segment.inputs,
            "input_shapes": segment.input_shapes,
            "outputs": segment.outputs,
            "text": segment.text,
            "input_map": self.input_map,
            "output_map": self.output_map,
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Swap":
        """The swap from its JSON data.

        Raises:
            ValueError: A node of its segment, or what goes along an edge, breaks a rule of `validate`.
        """
        graph = ComputeGraph.from_state_dict(state["graph"])
        for node in graph.nodes:
            validate_node(node)
        validate_edges(graph, is_whole=False)
        segment = Segment(
            graph,
            tuple(map(tuple, state["inputs"])),
            tuple(map(tuple, state["input_shapes"])),
            tuple(state["outputs"]),
            state["text"],
        )
        return cls(tuple(state["indices"]), segment, tuple(state["input_map"]), tuple(state["output_map"]))

    def bypasses_merges(self, parent: ComputeGraph, child: ComputeGraph) -> bool:
        """Whether merges outside of the swap disappeared when it was applied."""
        return child.n_nodes != parent.n_nodes - len(self.indices) + self.segment.graph.n_nodes


def pair_ports(wanted: Sequence[Shape], offered: Sequence[Shape], rng: np.random.Generator) -> tuple[int, ...]:
    """For every wanted shape the position of an offered one that equals it, each used once, ties at random."""
    free: dict[Shape, list[int]] = {}
    for position in rng.permutation(len(offered)).tolist():
        free.setdefault(offered[position], []).append(position)
    return tuple(free[shape].pop() for shape in wanted)


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
class Rating:
    """What predictors say of a whole network, in standard deviations of accuracy (a GNN alone: fractions).

    Attributes:
        score: Mean of the members.
        sd: Their calibrated deviation; nan where there is one member.
        members: The score of each.
        known_share: Share (0 to 1) of the network's pieces that networks have from which they learnt; nan if unknown.
        embedding: (width,) what they see of the network, where that was asked for.
    """

    score: float
    sd: float
    members: tuple[float, ...]
    known_share: float = math.nan
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Screened:
    """A swap whose network is not built yet.

    Attributes:
        swap: The swap; few of them are asked for.
        score: The prediction of its own split.
        costs: One per window of the goal, in the units of the objectives; None where only the built network tells.
    """

    swap: Parcel[Swap]
    score: float
    costs: tuple[float | None, ...]


@dataclass(frozen=True)
class Mutation:
    """What mutating one network gave.

    Attributes:
        accepted: The children that are better than the input, built.
        screened: The most promising children inside the windows, where networks are scored anew as a whole.
        n_scored: Children scored.
        n_outside: Those of them outside the windows; where this score accepts children, only of those that are better
            than the input.
        propagation: Counts and times of the resolution propagation.
    """

    accepted: list[Child] = field(default_factory=list)
    screened: list[Screened] = field(default_factory=list)
    n_scored: int = 0
    n_outside: int = 0
    propagation: Statistics = field(default_factory=Statistics)
