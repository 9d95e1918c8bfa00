"""Networks to be measured that no search has chosen: random mutants, and inputs with scaled widths."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash, topological_order
from model_src.comp_graph.ops import Channels
from model_src.comp_graph.tf_comp_graph import ComputeGraph, node_from_state
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream, graph_macs
from model_src.search.mutator import Mutator

WIDTH_STEP = 4  # channels
BISECTIONS = 12


@dataclass(frozen=True, eq=False)
class Mutant:
    """A network that random swaps have made.

    Attributes:
        graph: As a search would have it.
        n_swaps: Swaps between the input and it.
        prescreen_score: What the first predictor said of the last swap's own split.
    """

    graph: ComputeGraph
    n_swaps: int
    prescreen_score: float


def random_walks(source: ComputeGraph, mutator: Mutator, longest: int, rng: np.random.Generator) -> Iterator[Mutant]:
    """Mutants without end: walks of random swaps from the input, every step of which is yielded.

    A step takes any segment that a search could take out, and puts in any of those that fit it, all with the same
    probability; predictions play no part. In every second walk steps that raise the FLOPs are not taken: others rarely
    come far down.
    """
    for number in count():
        graph, n_swaps = source, 0
        for _ in range(longest):
            mutant = _random_swap(graph, n_swaps + 1, mutator, rng)
            if mutant is None:
                break
            if number % 2 == 0 or graph_macs(mutant.graph) <= graph_macs(graph):
                graph, n_swaps = mutant.graph, n_swaps + 1
                yield mutant


def _random_swap(cg: ComputeGraph, n_swaps: int, mutator: Mutator, rng: np.random.Generator) -> Mutant | None:
    candidates = mutator.candidates(cg, rng)
    if not candidates:
        return None
    candidate = candidates[rng.integers(len(candidates))]
    source = candidate.place.segment
    exact = [
        one for one in mutator.fitting(source.input_shapes, source.output_shapes) if one.identity != source.identity
    ]
    others = mutator.of_arity(source)
    for number in rng.permutation(len(exact) + len(others)).tolist():
        if number < len(exact):
            swap = mutator.attach(candidate, exact[number], rng)
        elif (found := mutator.resolve(candidate, others[number - len(exact)], rng)) is None:
            continue
        else:
            swap = found
        (score,) = mutator.score(candidate, [swap])
        return Mutant(swap.apply(cg, f"{n_swaps}."), n_swaps, score)
    return None


def trainable(cg: ComputeGraph) -> ComputeGraph | None:
    """The network with sizes that follow from its input, or None where they do not fit."""
    try:
        return correct_cg_for_downstream(cg, *cg.input_shape[1:])
    except ValueError:
        return None


def scaled(cg: ComputeGraph, macs: float) -> ComputeGraph:
    """A network with all its widths times a factor, so that it has about so many multiply-accumulates."""
    low, high = 0.0, 4.0
    for _ in range(BISECTIONS):
        factor = (low + high) / 2
        low, high = (factor, high) if graph_macs(_widened(cg, factor)) < macs else (low, factor)
    return min((_widened(cg, factor) for factor in (low, high)), key=lambda one: abs(graph_macs(one) - macs))


def _widened(cg: ComputeGraph, factor: float) -> ComputeGraph:
    """The network with all widths but those of its input and its classifier times a factor."""
    order = topological_order(cg)
    last = [index for index in order if cg.nodes[index].operation.channels is Channels.CHOSEN][-1]
    widths: dict[int, int] = {}
    nodes = list(cg.nodes)
    for index in order:
        node, entering = nodes[index], [widths[source] for source in cg.predecessors[index]]
        h_in, h_out, w_in, w_out, c_in, c_out = node.resolution
        if entering:
            kind = node.operation.channels
            c_in = min(entering)
            if kind is Channels.CHOSEN and index != last:
                c_out = max(WIDTH_STEP, WIDTH_STEP * round(c_out * factor / WIDTH_STEP))
            elif kind is Channels.SUMMED:
                c_out = sum(entering)
            elif kind is Channels.PASSED:
                c_out = c_in
        state = {**node.state_dict(), "resolution": (h_in, h_out, w_in, w_out, c_in, c_out)}
        if node.type_idx:
            state["shape"] = node.operation.kernel_shape(c_in, c_out, *node.kernel[2:])
        nodes[index] = node_from_state(state, bool(node.type_idx))
        widths[index] = c_out
    changed = ComputeGraph.from_nodes(cg.name, cg.input_shape, nodes, cg.edge_pairs, cg.normalisers)
    return correct_cg_for_downstream(changed, *cg.input_shape[1:])


def distinct(mutants: Iterator[Mutant], most: int) -> Iterator[tuple[Mutant, ComputeGraph]]:
    """Of the first so many mutants those that can be trained and differ, with the network to train."""
    seen: set[str] = set()
    for _, mutant in zip(range(most), mutants, strict=False):
        graph = trainable(mutant.graph)
        if graph is not None and (identity := canonical_hash(graph)) not in seen:
            seen.add(identity)
            yield mutant, graph
