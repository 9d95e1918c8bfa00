"""Which segments of a network are new, compared with the network that it came from."""

from collections.abc import Sequence
from typing import Any

from model_src.comp_graph.tf_comp_graph import ComputeGraph

Groups = Sequence[Sequence[int]]
Signature = tuple[Any, ...]


def changed_segments(
    source: ComputeGraph, source_groups: Groups, mutant: ComputeGraph, mutant_groups: Groups
) -> list[int]:
    """Positions of the mutant's segments that do not stand in the source's list, comparing both in order.

    At a mismatch the comparison goes on at the first equal pair with both members strictly later; what the mutant
    skips is changed. Without such a pair everything that is left is changed.

    Args:
        source: The original network.
        source_groups: Its segments, in topological order.
        mutant: The network that came from it.
        mutant_groups: The mutant's segments, in topological order.
    """
    before = [_signature(source, group) for group in source_groups]
    after = [_signature(mutant, group) for group in mutant_groups]
    changed: list[int] = []
    i = j = 0
    while i < len(before) and j < len(after):
        if before[i] == after[j]:
            i, j = i + 1, j + 1
            continue
        pair = _next_equal(before, i + 1, after, j + 1)
        next_i, next_j = pair or (len(before), len(after))
        changed += range(j, next_j)
        i, j = next_i, next_j
    return changed + list(range(j, len(after)))


def _next_equal(before: list[Signature], i: int, after: list[Signature], j: int) -> tuple[int, int] | None:
    for later_i in range(i, len(before)):
        for later_j in range(j, len(after)):
            if before[later_i] == after[later_j]:
                return later_i, later_j
    return None


def _signature(cg: ComputeGraph, group: Sequence[int]) -> Signature:
    """What makes two segments equal: node and edge counts, and the operations with their resolutions."""
    inside = set(group)
    n_edges = sum(target in inside for index in group for target in cg.successors[index])
    nodes = sorted((cg.nodes[index].operation.name, cg.nodes[index].resolution) for index in group)
    return len(group), n_edges, tuple(nodes)
