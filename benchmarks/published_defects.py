"""Defects of the published code that change what a search finds, each to be switched on in ours.

A defect is a mix-in over `Mutator`, or another search strategy. The product itself has no switches. Numbers are those
of docs/conformance.md. What an overridden method does is said in `Mutator`.
"""

# ruff: noqa: D102

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash, induced_subgraph, prune_merges
from model_src.comp_graph.segment import Cut, Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.propagation import problem
from model_src.propagation.forward import forward_propagate
from model_src.search.candidates import Candidate
from model_src.search.children import Swap
from model_src.search.mutator import Mutator
from model_src.search.objectives import FLOPS
from model_src.search.pareto import Individual, pareto_front
from model_src.search.strategy import ParetoStrategy, Strategy

BATCH = 64  # of the published PSC prediction


@dataclass(frozen=True)
class Defect:
    """A search with one or several defects.

    Attributes:
        name: Number and what happens.
        mixins: Classes in front of `Mutator`.
        inputs: What to measure it on: a family, with ` op` behind it for the mutation of single operations.
        strategy: (most parents, mutator) -> the strategy of a search.
        patched: Makes a context in which a search runs.
    """

    name: str
    mixins: tuple[type, ...] = ()
    inputs: tuple[str, ...] = ("hiaml", "two_path")
    strategy: Callable[[int, Mutator], Strategy] = lambda top_k, _: ParetoStrategy(top_k)
    patched: Callable[[], Any] = nullcontext

    def mutator(self, *args: Any, **options: Any) -> Mutator:
        """A mutator with the defect."""
        return type("Mutator", (*self.mixins, Mutator), {})(*args, **options)


def in_batch_order(values: Sequence[float], keys: Sequence[Any], rng: np.random.Generator) -> list[float]:
    """The values as the published batches return them: binned by key, cut into batches, batches shuffled."""
    bins: dict[Any, list[float]] = {}
    for value, key in zip(values, keys, strict=True):
        bins.setdefault(key, []).append(value)
    batches = [members[i : i + BATCH] for members in bins.values() for i in range(0, len(members), BATCH)]
    return [value for position in rng.permutation(len(batches)) for value in batches[position]]


class Scored:
    """Keeps every child that was scored in an iteration: parent, candidate, swap and score."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.scored: list[tuple[ComputeGraph, Candidate, Swap, float]] = []

    def score(self, candidate: Candidate, swaps: Sequence[Swap]) -> list[float]:
        scores = super().score(candidate, swaps)
        self.scored += [(candidate.parent, candidate, *pair) for pair in zip(swaps, scores, strict=True)]
        return scores


class ShuffledPredictions(Scored):
    """D-01: predictions belong to other inputs, in the choice of targets and in what is stored for a child.

    Acceptance is not touched: the published code predicts for that test anew.
    """

    def most_promising(self, candidate, targets, count, rng):
        if count <= 0 or not targets:
            return []
        keys = [self._sizes(candidate, target) for target in targets]
        scores = in_batch_order(self.score_parts(candidate, targets), keys, rng)
        return [targets[i] for i in np.argsort(scores, kind="stable")[-count:]]

    def mutate(self, cg, goal, rng):
        first = len(self.scored)
        mutation = super().mutate(cg, goal, rng)
        children = self.scored[first:]
        keys = [self._sizes(candidate, swap.segment) for _, candidate, swap, _ in children]
        stored = in_batch_order([score for *_, score in children], keys, rng)
        score_of = {id(swap): score for (_, _, swap, _), score in zip(children, stored, strict=True)}
        accepted = [replace(child, score=score_of[id(child.swap)]) for child in mutation.accepted]
        return replace(mutation, accepted=accepted)

    def _sizes(self, candidate: Candidate, target: Segment) -> tuple[int, int]:
        parts = candidate.predecessor, self.part(target, candidate.parent), candidate.successor
        return sum(part.n_nodes for part in parts), sum(part.n_weighted_nodes for part in parts)


class ScoredBeforeTheMilp:
    """D-02: the score is of the segment as it was before the MILP."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._unresolved: WeakKeyDictionary[Segment, ComputeGraph] = WeakKeyDictionary()

    def resolve(self, candidate, target, rng):
        swap = super().resolve(candidate, target, rng)
        if swap is not None and swap.segment is not target:
            self._unresolved[swap.segment] = prune_merges(forward_propagate(target, swap.segment.input_shapes))
        return swap

    def part(self, target, parent):
        before = self._unresolved.get(target)
        return super().part(target, parent) if before is None else before.with_normalisers(parent.normalisers)


class TargetsLost:
    """D-03, as if a failed propagation counted: after a failure the candidate's further targets are dropped."""

    _failed: Candidate | None = None

    def resolve(self, candidate, target, rng):
        if self._failed is candidate:
            return None
        swap = super().resolve(candidate, target, rng)
        if swap is None:
            self._failed = candidate
        return swap


class ConcatRejected:
    """D-07: no segment with a concat is ever made to fit."""

    def resolve(self, candidate, target, rng):
        if any(node.op_name == "concat" for node in target.graph.nodes):
            return None
        return super().resolve(candidate, target, rng)


class RenumberedIds:
    """D-11, D-12: equal children count as different, and a segment is replaced by itself."""

    _count = 0

    def candidates(self, *args):
        found = super().candidates(*args)
        for candidate in found:
            candidate.place.segment.__dict__["identity"] = ""
        return found

    def child(self, *args):
        child = super().child(*args)
        self._count += 1
        return replace(child, identity=f"{child.identity} {self._count}")


class UnsortedKey:
    """D-15: the exact key is in the order of full resolutions, the database's in the order of (H, W, C)."""

    _missed = False

    def swaps(self, candidate, rng):
        nodes, place = candidate.parent.nodes, candidate.place
        sources = sorted((nodes[source] for source in place.sources), key=lambda node: node.resolution)
        readers = sorted((nodes[i] for port in place.readers for i in port), key=lambda node: node.resolution)
        keys = [node.out_shape for node in sources], [node.in_shape for node in readers]
        self._missed = any(key != sorted(key) for key in keys)
        return super().swaps(candidate, rng)

    def fitting(self, input_shapes, output_shapes):
        return () if self._missed else super().fitting(input_shapes, output_shapes)


class PortsByEdge:
    """D-16: a candidate has a port for every edge that crosses its boundary, a target one for every end node."""

    def candidates(self, *args):
        found = super().candidates(*args)
        for candidate in found:
            candidate.__dict__["place"] = cut_by_edges(candidate.parent, candidate.indices)
        return found

    def attach(self, *args):
        return EdgeSwap(**vars(super().attach(*args)))

    def resolve(self, *args):
        swap = super().resolve(*args)
        return swap and EdgeSwap(**vars(swap))

    def child(self, offspring, candidate, swap, *rest):
        child = super().child(offspring, candidate, swap, *rest)
        return replace(child, costs=(FLOPS.measure(swap.apply(candidate.parent, "new")),))


class EdgeSwap(Swap):
    """A swap whose ports are edges."""

    def place_in(self, parent: ComputeGraph) -> Cut:
        """What is taken out of a network."""
        return cut_by_edges(parent, self.indices)


def cut_by_edges(cg: ComputeGraph, indices: Sequence[int]) -> Cut:
    """A cut with one port per edge."""
    kept = sorted(indices)
    position = {index: new for new, index in enumerate(kept)}
    into = [(source, position[i]) for i in kept for source in cg.predecessors[i] if source not in position]
    out = [(position[i], target) for i in kept for target in cg.successors[i] if target not in position]
    segment = Segment(
        graph=induced_subgraph(cg, kept),
        inputs=tuple((node,) for _, node in into),
        input_shapes=tuple(cg.nodes[source].out_shape for source, _ in into),
        outputs=tuple(node for node, _ in out),
    )
    return Cut(segment, tuple(kept), tuple(source for source, _ in into), tuple((target,) for _, target in out))


class HalfOfTheSingleOps:
    """D-39 (`op` mode): the exact matches are cut to half the limit before those of one node are picked."""

    def swaps(self, candidate, rng):
        source = candidate.place.segment
        shapes = tuple(sorted(source.input_shapes)), tuple(sorted(source.output_shapes))
        pool = [target for target in self.database.by_resolution(*shapes) if self.is_allowed(target)]
        drawn = [pool[i] for i in rng.permutation(len(pool))[: self.config.max_target_per_iter // 2]]
        single = [target for target in drawn if target.graph.n_nodes == 1 and target.identity != source.identity]
        return [self.attach(candidate, target, rng) for target in single]


def frozen_depthwise() -> Any:
    """D-10: a depthwise convolution keeps its size in the MILP, and its stride as well."""
    kind = problem.resolution_kind
    return patch.object(problem, "resolution_kind", lambda op: problem.KEEP if op.name == "depthwise" else kind(op))


class PublishedParents(ParetoStrategy):
    """D-17: repeats among the parents, no extremes from the grid, rejected children to fill up. Needs `Scored`."""

    def __init__(self, top_k: int, mutator: Mutator):
        super().__init__(top_k)
        self._count, self._mutator = top_k, mutator

    def choose_parents(self, iteration, rng):
        children, self._mutator.scored = self._mutator.scored, []
        if iteration == 1:
            return super().choose_parents(iteration, rng)
        front, count = self.front, self._count
        parents = _inside_of_the_grid(front, isqrt(count), rng)
        parents += [front[i] for i in rng.integers(len(front), size=min(count - len(parents), len(front)))]
        return parents + _best(children, count - len(parents))


def _inside_of_the_grid(front: Sequence[Individual], side: int, rng: np.random.Generator) -> list[Individual]:
    """One random member strictly inside each cell of the grid over the front."""
    values = np.array([(one.merit, one.cost) for one in front])
    lines = np.linspace(values.min(axis=0), values.max(axis=0), side + 1)
    found = []
    for row, column in np.ndindex(side, side):
        low, high = lines[[row, row + 1], 0], lines[[column, column + 1], 1]
        inside = [one for one in front if low[0] < one.score < low[1] and high[0] < one.cost < high[1]]
        if inside:
            found.append(inside[rng.integers(len(inside))])
    return found


def _best(children: Sequence[tuple], count: int) -> list[Individual]:
    """The best scored children by rank sum, accepted or not."""
    if count <= 0 or not children:
        return []
    made = []
    for number, (parent, _, swap, score) in enumerate(children):
        graph = swap.apply(parent, f"r{number}.")
        mflops = FLOPS.measure(graph)
        made.append(
            Individual(lambda graph=graph: graph, canonical_hash(graph), score, score, (mflops,), mflops, 0, score)
        )
    ranks = np.argsort(np.argsort([-one.score for one in made])) + np.argsort(np.argsort([one.cost for one in made]))
    return [made[i] for i in np.argsort(ranks, kind="stable")[:count]]


class TiesStay(ParetoStrategy):
    """D-49: equal results of different iterations stay side by side in the front."""

    def take_in(self, children):
        self.latest += children
        unique = {id(one): one for one in (*self.front, *children)}.values()
        values = {(one.merit, one.cost) for one in pareto_front(unique)}
        self.front = sorted((one for one in unique if (one.merit, one.cost) in values), key=lambda one: -one.score)


class PublishedParentsAndTies(PublishedParents, TiesStay):
    """D-17 and D-49."""


FIXED = Defect("none", inputs=("hiaml", "two_path", "inception", "hiaml op"))
DEFECTS = (
    Defect("D-01 predictions shuffled", (ShuffledPredictions,)),
    Defect("D-02 scored before the MILP", (ScoredBeforeTheMilp,)),
    Defect("D-03 targets lost (upper bound)", (TargetsLost,)),
    Defect("D-07 concat rejected", (ConcatRejected,), ("two_path", "inception")),
    Defect("D-10 depthwise frozen in the MILP", (), ("inception",), patched=frozen_depthwise),
    Defect("D-11, D-12 identity by numbering", (RenumberedIds,)),
    Defect("D-15 keys unsorted", (UnsortedKey,), ("two_path", "inception")),
    Defect("D-16 ports by edge", (PortsByEdge,)),
    Defect("D-17 parents", (Scored,), strategy=PublishedParents),
    Defect("D-39 half of the single operations", (HalfOfTheSingleOps,), ("hiaml op",)),
    Defect("D-49 ties in the front", strategy=lambda top_k, _: TiesStay(top_k)),
    Defect(
        "D-01, 02, 07, 11, 12, 15, 16, 17, 49 together",
        (ShuffledPredictions, ScoredBeforeTheMilp, ConcatRejected, RenumberedIds, UnsortedKey, PortsByEdge),
        strategy=PublishedParentsAndTies,
    ),
)
