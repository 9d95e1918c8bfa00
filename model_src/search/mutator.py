"""Mutate one network: pick segments, find others that fit, score the swaps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash, is_merge, topological_order
from model_src.comp_graph.segment import Cut, Segment, Shape, cut, replace_segment
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_flops_counter import node_macs
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops, graph_macs
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segment_db import SegmentDatabase
from model_src.encoder.segmentation import segment
from model_src.encoder.tokenizer import Tokenizer
from model_src.files import InputError
from model_src.propagation.milp import Propagator, Statistics
from model_src.search.candidates import Candidate, allowed_ops, find_candidates, select_candidates
from model_src.search.objectives import Objectives


class Predictor(Protocol):
    """What the search needs of a predictor; higher scores are better."""

    def score_graphs(self, graphs: list[ComputeGraph]) -> list[float]:
        """Score whole networks, in order."""

    def score_psc(self, triples: list[tuple[ComputeGraph, ComputeGraph, ComputeGraph]]) -> list[float]:
        """Score (predecessor, segment, successor) triples, in order."""


@dataclass(frozen=True)
class MutationConfig:
    """How networks are mutated; the attributes are named after autogo.py's flags."""

    model_family: str
    graph_encoder_family: str = "combined"
    mutation_unit: str = "segment"
    max_candidate_per_iter: int = 10
    max_target_per_iter: int = 100
    num_consecutive_segs: int = 3
    segment_sparsity: float = 0.5


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
    """A swap whose network was accepted: its canonical hash, predicted score and FLOPs in millions."""

    swap: Swap
    identity: str
    score: float
    mflops: float


@dataclass(frozen=True)
class Mutation:
    """What mutating one network gave."""

    accepted: list[Child] = field(default_factory=list)
    n_scored: int = 0
    propagation: Statistics = field(default_factory=Statistics)


class Mutator:
    """Mutates networks of one run; it keeps what repeats between them (database views, resolved segments)."""

    def __init__(
        self,
        config: MutationConfig,
        encoder: NetworkEncoder,
        tokenizer: Tokenizer,
        database: SegmentDatabase,
        predictor: Predictor,
        uses_parts: bool,
        solver: str | None = None,
    ):
        """Join the parts of a run.

        Args:
            config: How to mutate.
            encoder: Turns nodes into characters.
            tokenizer: Cuts the text into segments.
            database: Offers target segments.
            predictor: Scores the swaps.
            uses_parts: The predictor scores (P, S, C) triples, otherwise whole networks.
            solver: Name of the MILP solver; None is the in-process default.
        """
        self._config = config
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._database = database
        self._predictor = predictor
        self._uses_parts = uses_parts
        self._propagator = Propagator(solver)
        self._allowed = allowed_ops(config.model_family, config.graph_encoder_family)
        self._op2i = OP2I().build_from_file()
        self._exact: dict[tuple, tuple[Segment, ...]] = {}
        self._by_arity: dict[tuple[int, int], tuple[Segment, ...]] = {}
        self._parts: WeakKeyDictionary[Segment, ComputeGraph] = WeakKeyDictionary()

    def candidates(self, cg: ComputeGraph, rng: np.random.Generator) -> list[Candidate]:
        """All segments of a network that may be replaced, under a fresh random mask of the vocabulary."""
        if self._config.mutation_unit == "op":
            groups = [[index] for index in topological_order(cg)]
            return find_candidates(cg, groups, 1, self._allowed, single_ops=True)
        mask = self._tokenizer.segmenter.sample_mask(1 - self._config.segment_sparsity, rng)
        groups = segment(cg, self._encoder, self._tokenizer, mask)
        return find_candidates(cg, groups, self._config.num_consecutive_segs, self._allowed)

    def baseline(self, cg: ComputeGraph, rng: np.random.Generator) -> float:
        """The input's own score: its prediction, or the mean over all its candidates for a PSC predictor.

        Raises:
            InputError: The network has no segment that the family's operations allow to replace.
        """
        if not self._uses_parts:
            return self._predictor.score_graphs([cg])[0]
        found = self.candidates(cg, rng)
        if not found:
            family = self._config.model_family
            raise InputError(f"-model_family {family}: no segment of {cg.name} holds only operations of this family")
        triples = [(c.predecessor, self._part(c.place.segment, cg), c.successor) for c in found]
        return float(np.mean(self._predictor.score_psc(triples)))

    def mutate(self, cg: ComputeGraph, objectives: Objectives, rng: np.random.Generator) -> Mutation:
        """Score swaps of up to `max_candidate_per_iter` segments with up to `max_target_per_iter` targets each."""
        self._propagator.statistics = Statistics()
        rest_macs = graph_macs(cg, self._op2i)
        accepted, n_scored = [], 0
        found = self.candidates(cg, rng)
        for candidate in select_candidates(found, self._config.max_candidate_per_iter, self._op2i, rng):
            swaps = self._swaps(candidate, rng)
            kept_macs = rest_macs - segment_macs(candidate.place.segment, self._op2i)
            for swap, score in zip(swaps, self._score(candidate, swaps), strict=True):
                mflops = 2 * (kept_macs + segment_macs(swap.segment, self._op2i)) / 1e6
                if objectives.accepts(score, mflops):  # most fail here, before the network is built
                    accepted.append(self._build(candidate, swap, score, mflops))
            n_scored += len(swaps)
        kept = [child for child in accepted if objectives.accepts(child.score, child.mflops)]
        return Mutation(kept, n_scored, self._propagator.statistics)

    def _build(self, candidate: Candidate, swap: Swap, score: float, mflops: float) -> Child:
        cg = candidate.parent
        child = swap.apply(cg, "new", candidate.place)
        if child.n_nodes != cg.n_nodes - len(swap.indices) + swap.segment.graph.n_nodes:  # merges were bypassed
            mflops = compute_cg_flops(child, self._op2i)
        return Child(swap, canonical_hash(child), score, mflops)

    def _swaps(self, candidate: Candidate, rng: np.random.Generator) -> list[Swap]:
        """Targets of one candidate: segments of its very shapes, then segments of its arity made to fit."""
        source = candidate.place.segment
        exact = self._fitting(source.input_shapes, source.output_shapes)
        others = [target for target in exact if target.identity != source.identity]
        limit = self._config.max_target_per_iter
        if self._config.mutation_unit == "segment":
            used = {target.text for target in exact}
            drawn = [others[i] for i in rng.permutation(len(others))[: limit // 2]]
            rest = [target for target in self._of_arity(source) if target.text not in used]
        else:
            drawn, rest = [others[i] for i in rng.permutation(len(others))[:limit]], []
        swaps = [self._attach(candidate, target, rng) for target in drawn]
        for target in self._most_promising(candidate, rest, limit - len(drawn), rng):
            swap = self._resolve(candidate, target, rng)
            if swap is not None:
                swaps.append(swap)
        return swaps

    def _fitting(self, input_shapes: Sequence[Shape], output_shapes: Sequence[Shape]) -> tuple[Segment, ...]:
        key = tuple(sorted(input_shapes)), tuple(sorted(output_shapes))
        if key not in self._exact:
            single = self._config.mutation_unit == "op"
            self._exact[key] = tuple(
                target
                for target in self._database.by_resolution(*key)
                if self._is_allowed(target) and target.is_complete and not (single and target.graph.n_nodes > 1)
            )
        return self._exact[key]

    def _of_arity(self, source: Segment) -> tuple[Segment, ...]:
        """The first variant of every allowed text of the source's arity, with more than one node and edge."""
        key = len(source.inputs), len(source.outputs)
        if key not in self._by_arity:
            first: dict[str, Segment] = {}
            for target in self._database.by_arity(*key):
                first.setdefault(target.text, target)
            self._by_arity[key] = tuple(
                target
                for target in first.values()
                if target.graph.n_nodes > 1 and len(target.graph.edge_pairs) > 1 and self._is_allowed(target)
            )
        return self._by_arity[key]

    def _is_allowed(self, target: Segment) -> bool:
        return all(node.op_name in self._allowed for node in target.graph.nodes)

    def _most_promising(
        self, candidate: Candidate, targets: Sequence[Segment], count: int, rng: np.random.Generator
    ) -> list[Segment]:
        """The `count` best targets by prediction, in ascending order, or a random draw for a GNN predictor."""
        if count <= 0 or not targets:
            return []
        if not self._uses_parts:
            return [targets[i] for i in rng.permutation(len(targets))[:count]]
        scores = self._score_parts(candidate, targets)
        return [targets[i] for i in np.argsort(scores, kind="stable")[-count:]]

    def _attach(self, candidate: Candidate, target: Segment, rng: np.random.Generator) -> Swap:
        """Connect a segment of the very same shapes; ports of equal shape are paired at random."""
        source = candidate.place.segment
        return Swap(
            candidate.place.indices,
            target,
            _pair(target.input_shapes, source.input_shapes, rng),
            _pair(target.output_shapes, source.output_shapes, rng),
        )

    def _resolve(self, candidate: Candidate, target: Segment, rng: np.random.Generator) -> Swap | None:
        """Connect a segment of the same arity at random and make its resolutions fit; None where they cannot."""
        source = candidate.place.segment
        input_map = tuple(rng.permutation(len(source.inputs)).tolist())
        output_map = tuple(rng.permutation(len(source.outputs)).tolist())
        resolution = self._propagator.resolve(
            target, [source.input_shapes[i] for i in input_map], [source.output_shapes[i] for i in output_map]
        )
        if resolution.segment is None:
            return None
        return Swap(candidate.place.indices, resolution.segment, input_map, output_map)

    def _score(self, candidate: Candidate, swaps: Sequence[Swap]) -> list[float]:
        if self._uses_parts:
            return self._score_parts(candidate, [swap.segment for swap in swaps])
        place = candidate.place
        return self._predictor.score_graphs([swap.apply(candidate.parent, "new", place) for swap in swaps])

    def _score_parts(self, candidate: Candidate, targets: Sequence[Segment]) -> list[float]:
        before, after = candidate.predecessor, candidate.successor
        parts = [self._part(target, candidate.parent) for target in targets]
        return self._predictor.score_psc([(before, part, after) for part in parts])

    def _part(self, target: Segment, parent: ComputeGraph) -> ComputeGraph:
        """The segment as the predictor sees it, under the run's normalisers (children keep their parent's)."""
        if target not in self._parts:
            part = target.part
            same = part.normalisers == parent.normalisers
            self._parts[target] = part if same else part.with_normalisers(parent.normalisers)
        return self._parts[target]


def segment_macs(part: Segment, op2i: OP2I) -> int:
    """Multiply-accumulates of a segment in its place: inputs from outside count like inner ones."""
    n_inputs = [len(sources) for sources in part.graph.predecessors]
    for readers in part.inputs:
        for index in readers:
            n_inputs[index] += 1
    return sum(
        node_macs(node, op2i.query_op(node.op_type_idx)) * max(1, count)
        for node, count in zip(part.graph.nodes, n_inputs, strict=True)
        if count > 1 or not is_merge(node.label)
    )


def _pair(wanted: Sequence[Shape], offered: Sequence[Shape], rng: np.random.Generator) -> tuple[int, ...]:
    """For every wanted shape the position of an offered one that equals it, each used once, ties at random."""
    free: dict[Shape, list[int]] = {}
    for position in rng.permutation(len(offered)).tolist():
        free.setdefault(offered[position], []).append(position)
    return tuple(free[shape].pop() for shape in wanted)
