"""Mutate one network: pick segments, find others that fit, score the swaps."""

import math
import pickle
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np

from model_src.comp_graph.graph_ops import topological_order
from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segment_db import SegmentDatabase
from model_src.encoder.segmentation import segment, segment_with_text
from model_src.encoder.tokenizer import Tokenizer
from model_src.files import InputError
from model_src.processes import Parcel
from model_src.propagation.milp import Propagator, Statistics
from model_src.search.candidates import Candidate, allowed_ops, find_candidates, select_candidates
from model_src.search.children import Child, Mutation, Rating, Screened, Swap, pair_ports
from model_src.search.objectives import Goal, SwapCosts
from model_src.search.offspring import Offspring, most_promising
from model_src.search.predictors import NetworkScorer, Predictor

MAX_UNPACKED = 50  # networks that came from elsewhere and are kept: the parents of some iterations


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
        ensemble: NetworkScorer | None = None,
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
            ensemble: Scores whole networks; None where that is not asked for.
        """
        self._made_of = (config, encoder, tokenizer, database, predictor, uses_parts, solver, ensemble)
        self.config, self.encoder, self.tokenizer = config, encoder, tokenizer
        self.database = database
        self.predictor = predictor
        self.uses_parts = uses_parts
        self.ensemble = ensemble
        known = ensemble.known_pieces if ensemble else None
        self._known_pieces = known if known and known.fits(encoder, tokenizer) else None
        self._propagator = Propagator(solver)
        self.allowed = allowed_ops(config.model_family, config.graph_encoder_family)
        self._exact: dict[Hashable, tuple[Segment, ...]] = {}
        self._by_arity: dict[tuple[int, int], tuple[Segment, ...]] = {}
        self._parts: WeakKeyDictionary[Segment, ComputeGraph] = WeakKeyDictionary()
        self._parent: ComputeGraph | None = None  # the last one; all these parts are under its normalisers
        self._unpacked = lru_cache(MAX_UNPACKED)(pickle.loads)

    def __reduce__(self) -> tuple[object, ...]:
        return Mutator, self._made_of  # without what it keeps

    def candidates(self, cg: ComputeGraph, rng: np.random.Generator) -> list[Candidate]:
        """All segments of a network that may be replaced, under a fresh random mask of the vocabulary."""
        if self.config.mutation_unit == "op":
            groups = [[index] for index in topological_order(cg)]
            return find_candidates(cg, groups, 1, self.allowed, single_ops=True)
        mask = self.tokenizer.segmenter.sample_mask(1 - self.config.segment_sparsity, rng)
        groups = segment(cg, self.encoder, self.tokenizer, mask)
        return find_candidates(cg, groups, self.config.num_consecutive_segs, self.allowed)

    def baseline(self, cg: ComputeGraph, rng: np.random.Generator) -> float:
        """The input's own score: its prediction, or the mean over all its candidates for a PSC predictor.

        Raises:
            InputError: The network has no segment that the family's operations allow to replace.
        """
        if not self.uses_parts:
            return self.predictor.score_graphs([cg])[0]
        found = self.candidates(cg, rng)
        if not found:
            family = self.config.model_family
            raise InputError(f"-model_family {family}: no segment of {cg.name} holds only operations of this family")
        return float(np.mean(self.score_places(found)))

    def mutate(self, cg: ComputeGraph, goal: Goal, rng: np.random.Generator) -> Mutation:
        """Score swaps of up to `max_candidate_per_iter` segments with up to `max_target_per_iter` targets each."""
        accepted, n_scored, n_outside = [], 0, 0
        offspring = Offspring(cg, goal)
        for candidate, swap, score, costs_of in self._scored_swaps(cg, goal, rng):
            n_scored += 1
            if score <= goal.least:  # most end here, before the network is built
                continue
            if goal.contains(known := costs_of(swap.segment)):
                accepted.append(self.child(offspring, candidate, swap, score, known))
            else:
                n_outside += 1
        kept = [child for child in accepted if goal.accepts(child.score, child.costs)]
        n_outside += len(accepted) - len(kept)
        return Mutation(kept, [], n_scored, n_outside, self._propagator.statistics)

    def screen(self, cg: ComputeGraph, goal: Goal, most: int, rng: np.random.Generator) -> Mutation:
        """Score the same swaps as `mutate`; keep the `most` promising ones inside the windows, whatever their score."""
        found, n_scored = [], 0
        for _, swap, score, costs_of in self._scored_swaps(cg, goal, rng):
            n_scored += 1
            if goal.contains(known := costs_of(swap.segment)):
                found.append(Screened(Parcel(swap), score, known))
        kept = most_promising(found, goal, most)
        return Mutation([], kept, n_scored, n_scored - len(found), self._propagator.statistics)

    def _scored_swaps(
        self, cg: ComputeGraph, goal: Goal, rng: np.random.Generator
    ) -> Iterator[tuple[Candidate, Swap, float, Callable[[Segment], tuple[float | None, ...]]]]:
        """Swaps of the chosen candidates with their scores and what tells their costs; statistics begin anew."""
        self._propagator.statistics = Statistics()
        costs, found = SwapCosts(goal, cg), self.candidates(cg, rng)
        chosen = select_candidates(found, self.config.max_candidate_per_iter, rng)
        if self.uses_parts:  # the predictor keeps what it sees of their ends, which are quicker seen together
            self.score_places(chosen)
        for candidate in chosen:
            swaps, costs_of = self.swaps(candidate, rng), costs.at(candidate.place.segment)
            for swap, score in zip(swaps, self.score(candidate, swaps), strict=True):
                yield candidate, swap, score, costs_of

    def rate(self, graphs: Sequence[ComputeGraph], embed: bool = False) -> list[Rating]:
        """Score whole networks at all their segments of the full vocabulary, by all predictors.

        Args:
            graphs: The networks.
            embed: Also say what the predictors see of them.

        Raises:
            ValueError: There are no predictors of whole networks, or a network has something that they do not know.
        """
        if self.ensemble is None:
            raise ValueError("no predictor of whole networks was given")
        cuts = [segment_with_text(cg, self.encoder, self.tokenizer) for cg in graphs]
        networks = [(cg, [nodes for _, nodes in pieces]) for cg, pieces in zip(graphs, cuts, strict=True)]
        known, family = self._known_pieces, self.config.model_family
        scores = self.ensemble.score_members(networks, family)
        seen = self.ensemble.embed_networks(networks) if embed and networks else [None] * len(networks)
        return [
            Rating(score, sd, tuple(row), known.share(cg, pieces) if known else math.nan, embedding)
            for cg, pieces, (score, sd), row, embedding in zip(
                graphs, cuts, self.ensemble.summary(scores, family), scores.round(9).tolist(), seen, strict=True
            )
        ]

    def unpacked(self, parcel: Parcel[ComputeGraph]) -> ComputeGraph:
        """The network in a parcel; those that came last, and what is known of their nodes, are kept."""
        network: ComputeGraph = parcel.value if parcel.is_open else self._unpacked(parcel.packed)
        return network

    def child(
        self, offspring: Offspring, candidate: Candidate, swap: Swap, score: float, known: Sequence[float | None]
    ) -> Child:
        """The child of a swap; `known` are its costs, as far as they are known before it is built."""
        identity, costs = offspring.traits(swap, known, candidate.place)
        return Child(swap, identity, score, costs)

    def swaps(self, candidate: Candidate, rng: np.random.Generator) -> list[Swap]:
        """Targets of one candidate: segments of its very shapes, then segments of its arity made to fit."""
        source = candidate.place.segment
        exact = self.fitting(source.input_shapes, source.output_shapes)
        others = [target for target in exact if target.identity != source.identity]
        limit = self.config.max_target_per_iter
        if self.config.mutation_unit == "segment":
            used = {target.text for target in exact}
            drawn = [others[i] for i in rng.permutation(len(others))[: limit // 2]]
            rest = [target for target in self.of_arity(source) if target.text not in used]
        else:
            drawn, rest = [others[i] for i in rng.permutation(len(others))[:limit]], []
        swaps = [self.attach(candidate, target, rng) for target in drawn]
        for target in self.most_promising(candidate, rest, limit - len(drawn), rng):
            swap = self.resolve(candidate, target, rng)
            if swap is not None:
                swaps.append(swap)
        return swaps

    def fitting(self, input_shapes: Sequence[Shape], output_shapes: Sequence[Shape]) -> tuple[Segment, ...]:
        """The allowed and complete segments of the very (H, W, C) of inputs and outputs, in any order of ports."""
        key = tuple(sorted(input_shapes)), tuple(sorted(output_shapes))
        if key not in self._exact:
            single = self.config.mutation_unit == "op"
            self._exact[key] = tuple(
                target
                for target in self.database.by_resolution(*key)
                if self.is_allowed(target) and target.is_complete and not (single and target.graph.n_nodes > 1)
            )
        return self._exact[key]

    def of_arity(self, source: Segment) -> tuple[Segment, ...]:
        """The first variant of every allowed text of the source's arity, with more than one node and edge."""
        key = len(source.inputs), len(source.outputs)
        if key not in self._by_arity:
            first: dict[str, Segment] = {}
            for target in self.database.by_arity(*key):
                first.setdefault(target.text, target)
            self._by_arity[key] = tuple(
                target
                for target in first.values()
                if target.graph.n_nodes > 1 and len(target.graph.edge_pairs) > 1 and self.is_allowed(target)
            )
        return self._by_arity[key]

    def is_allowed(self, target: Segment) -> bool:
        """Whether a segment holds only operations of the family."""
        return all(node.op_name in self.allowed for node in target.graph.nodes)

    def most_promising(
        self, candidate: Candidate, targets: Sequence[Segment], count: int, rng: np.random.Generator
    ) -> list[Segment]:
        """The `count` best targets by prediction, in ascending order, or a random draw for a GNN predictor."""
        if count <= 0 or not targets:
            return []
        if not self.uses_parts:
            return [targets[i] for i in rng.permutation(len(targets))[:count]]
        scores = self.score_parts(candidate, targets)
        return [targets[i] for i in np.argsort(scores, kind="stable")[-count:]]

    def attach(self, candidate: Candidate, target: Segment, rng: np.random.Generator) -> Swap:
        """Connect a segment of the very same shapes; ports of equal shape are paired at random."""
        source = candidate.place.segment
        return Swap(
            candidate.place.indices,
            target,
            pair_ports(target.input_shapes, source.input_shapes, rng),
            pair_ports(target.output_shapes, source.output_shapes, rng),
        )

    def resolve(self, candidate: Candidate, target: Segment, rng: np.random.Generator) -> Swap | None:
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

    def score(self, candidate: Candidate, swaps: Sequence[Swap]) -> list[float]:
        """The predictions of the children of one candidate, in order."""
        if self.uses_parts:
            return self.score_parts(candidate, [swap.segment for swap in swaps])
        place = candidate.place
        return self.predictor.score_graphs([swap.apply(candidate.parent, "new", place) for swap in swaps])

    def score_places(self, candidates: Sequence[Candidate]) -> list[float]:
        """The predictions of a network from the splits at these segments of it."""
        triples = [(c.predecessor, self.part(c.place.segment, c.parent), c.successor) for c in candidates]
        return self.predictor.score_psc(triples)

    def score_parts(self, candidate: Candidate, targets: Sequence[Segment]) -> list[float]:
        """The predictions of (predecessor, target, successor) triples, in order."""
        before, after = candidate.predecessor, candidate.successor
        parts = [self.part(target, candidate.parent) for target in targets]
        return self.predictor.score_psc([(before, part, after) for part in parts])

    def part(self, target: Segment, parent: ComputeGraph) -> ComputeGraph:
        """The segment as the predictor sees it, under its parent's normalisers."""
        if parent is not self._parent:
            if self._parent is not None and parent.normalisers != self._parent.normalisers:
                self._parts.clear()
            self._parent = parent
        if target not in self._parts:
            part = target.part
            same = part.normalisers == parent.normalisers
            self._parts[target] = part if same else part.with_normalisers(parent.normalisers)
        return self._parts[target]
