"""Source segments: which parts of a network may be replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model_src.comp_graph.graph_ops import part_of
from model_src.comp_graph.ops import OPERATIONS, Channels
from model_src.comp_graph.segment import Cut, cut
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_flops_counter import node_macs
from model_src.families import find
from model_src.files import InputError


def allowed_ops(model_family: str, encoder_family: str = "combined") -> frozenset[str]:
    """Operation names that a mutation may take out of and put into a network of a family.

    Args:
        model_family: The family of the network.
        encoder_family: Narrows them to those of another family; `combined` leaves them as they are.

    Raises:
        InputError: One of the names is unknown.
    """
    allowed = _operations("-model_family", model_family)
    if encoder_family != "combined":
        allowed &= _operations("-graph_encoder_family (combined, or a family)", encoder_family)
    return allowed - {row.op_name for row in OPERATIONS if not row.is_mutable}


def _operations(flag: str, family: str) -> frozenset[str]:
    try:
        return find(family).operations
    except InputError as error:
        raise InputError(f"{flag}: {error}") from error


@dataclass(frozen=True, eq=False)
class Candidate:
    """Consecutive groups of a network's topological order that may be replaced together."""

    parent: ComputeGraph
    order: Sequence[int]
    start: int
    stop: int

    @property
    def indices(self) -> Sequence[int]:
        """The nodes of the segment, in topological order."""
        return self.order[self.start : self.stop]

    @cached_property
    def place(self) -> Cut:
        """The segment with its boundary."""
        return cut(self.parent, self.indices)

    @cached_property
    def predecessor(self) -> ComputeGraph:
        """The part before the segment, as the predictor sees it."""
        return part_of(self.parent, self.order[: self.start])

    @cached_property
    def successor(self) -> ComputeGraph:
        """The part after the segment, as the predictor sees it."""
        return part_of(self.parent, self.order[self.stop :])

    def macs(self) -> int:
        """Multiply-accumulates of the segment on its own (merges with one inner input are not counted)."""
        passed_on: dict[int, int] = {}  # a node inside -> the one whose result it is, which differs for idle merges
        macs = 0
        for index in self.indices:
            node = self.parent.nodes[index]
            sources = {passed_on[source] for source in self.parent.predecessors[index] if source in passed_on}
            is_idle = len(sources) == 1 and node.operation.is_idle(1)
            passed_on[index] = sources.pop() if is_idle else index
            macs += 0 if is_idle else node_macs(node, len(sources))
        return macs


def find_candidates(
    cg: ComputeGraph, groups: Sequence[Sequence[int]], longest: int, allowed: frozenset[str], single_ops: bool = False
) -> list[Candidate]:
    """All runs of at most `longest` groups that hold only allowed operations.

    The first and the last group stay: they hold the network's input and output.

    Args:
        cg: The network.
        groups: Its nodes in topological order, cut into consecutive groups.
        longest: Most groups replaced at once.
        allowed: Operation names that may be replaced.
        single_ops: Every group is one node; a convolution then counts only if it keeps its input's size.
    """
    order = [index for group in groups for index in group]
    starts = np.concatenate([[0], np.cumsum([len(group) for group in groups])]).tolist()
    valid = [all(cg.nodes[index].op_name in allowed for index in group) for group in groups]
    found = []
    for first in range(1, len(groups) - 1):
        for last in range(first, min(first + longest, len(groups) - 1)):
            if not valid[last]:
                break
            if single_ops and not _keeps_size(cg, groups[first][0]):
                break
            found.append(Candidate(cg, order, starts[first], starts[last + 1]))
    return found


def _keeps_size(cg: ComputeGraph, index: int) -> bool:
    node = cg.nodes[index]
    return node.operation.channels is not Channels.CHOSEN or node.in_shape == node.out_shape


def select_candidates(candidates: Sequence[Candidate], most: int, rng: np.random.Generator) -> list[Candidate]:
    """Keep `most` candidates: half of them with the fewest FLOPs, the rest at random (AutoGO, A.5.5)."""
    by_cost = sorted(candidates, key=Candidate.macs)
    n_cheapest = -(-most // 2)
    rest = by_cost[n_cheapest:]
    drawn = rng.permutation(len(rest))[: most // 2]
    return by_cost[:n_cheapest] + [rest[position] for position in drawn]
