"""How well ways of scoring rank measured mutants: tables for `mutant_truth.py`.

Everything is a difference from the own input of a mutant. FLOPs alone explain much of the truth: a rank correlation
at equal FLOPs (partial, given FLOPs) is what counts.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from benchmarks.measuring import interval, resampled, table_lines
from model_src.comp_graph.networks.initial import initial_network
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import parameter_count
from model_src.predictor.correction import Facts, learn
from model_src.predictor.training.metrics import spearman
from model_src.search.children import Rating
from model_src.search.feedback import facts_of
from model_src.search.objectives import FLOPS, graph_flops
from model_src.search.rescoring import merit_of

DEFAULT = "ensemble, caution 0.5"
CAUTIONS = (0.0, 0.5, 1.0, 2.0)
NEAR = 1.1  # pairs whose FLOPs differ by at most this factor
N_PATTERNS = 64  # images


@dataclass(frozen=True, eq=False)
class Mutant:
    """A measured network with what predictors say of it.

    Attributes:
        origin: The input that it comes from; its name for tables.
        kind: `input`, `random` or `history`.
        graph: The network.
        n_swaps: Swaps between the input and it.
        prescreen_score: Prediction of the last swap's own split.
        rating: Of all predictors.
        validation: Accuracy on the held-out training images, in percent.
        test: Accuracy on the test images, in percent.
    """

    origin: str
    kind: str
    graph: ComputeGraph
    n_swaps: int
    prescreen_score: float
    rating: Rating
    validation: float
    test: float

    @property
    def mflops(self) -> float:
        """FLOPs in millions."""
        return graph_flops(self.graph) / FLOPS.scale

    @property
    def facts(self) -> Facts:
        """What a correction looks at."""
        return facts_of(self.rating, self.mflops, self.n_swaps)


def linear_regions(cg: ComputeGraph, images: Tensor) -> float:
    """NWOT (Mellor et al., 2021): how different the patterns of active ReLUs are that images make before training."""
    network, codes = initial_network(cg, 0).eval(), []
    for layer in network.modules():
        if isinstance(layer, nn.ReLU | nn.ReLU6):
            layer.register_forward_hook(lambda _, __, maps: codes.append((maps > 0).flatten(1).float()))
    with torch.inference_mode():
        network(images)
    kernel = sum((code @ code.T + (1 - code) @ (1 - code).T for code in codes), torch.zeros(len(images), len(images)))
    return float(torch.linalg.slogdet(kernel.double())[1])


def ways(mutants: Sequence[Mutant], members: Sequence[str], images: Tensor) -> dict[str, np.ndarray]:
    """Way of scoring -> the score of every mutant."""
    scores = np.array([one.rating.members for one in mutants])
    psc = [position for position, name in enumerate(members) if "psc" in name]
    return {
        "one split (the published search)": np.array([one.prescreen_score for one in mutants]),
        **{f"member {name}": scores[:, position] for position, name in enumerate(members)},
        "mean of the PSC members": scores[:, psc].mean(axis=1),
        **{
            f"ensemble, caution {caution:g}": np.array([merit_of(one.rating, caution) for one in mutants])
            for caution in CAUTIONS
        },
        "FLOPs": np.array([one.mflops for one in mutants]),
        "parameters": np.array([float(parameter_count(one.graph)) for one in mutants]),
        "NWOT, a proxy without training": np.array([linear_regions(one.graph, images) for one in mutants]),
    }


def partial_spearman(first: np.ndarray, second: np.ndarray, given: np.ndarray) -> float:
    """Rank correlation of two values once the ranks of a third are regressed out of both."""
    ranks = [rankdata(values) for values in (first, second, given)]
    ab, ag, bg = (float(np.corrcoef(ranks[i], ranks[j])[0, 1]) for i, j in ((0, 1), (0, 2), (1, 2)))
    scale = (1 - ag**2) * (1 - bg**2)
    return (ab - ag * bg) / scale**0.5 if scale > 1e-9 else float("nan")


def ordered_rightly(scores: np.ndarray, truth: np.ndarray, flops: np.ndarray, origin: np.ndarray) -> tuple[float, int]:
    """Share of pairs of one input and nearly equal FLOPs that scores order as the truth does, and their number."""
    i, j = np.triu_indices(len(scores), 1)
    near = (np.abs(np.log(flops[i] / flops[j])) <= np.log(NEAR)) & (origin[i] == origin[j])
    agree = (scores[i] - scores[j]) * (truth[i] - truth[j])
    return float(np.mean((agree[near] > 0) + 0.5 * (agree[near] == 0))), int(near.sum())


def _from_input(values: np.ndarray, mutants: Sequence[Mutant]) -> np.ndarray:
    """Every value minus that of the mutant's input."""
    start = {one.origin: value for one, value in zip(mutants, values, strict=True) if one.kind == "input"}
    return values - np.array([start[one.origin] for one in mutants])


def ranking_table(mutants: Sequence[Mutant], scores: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A row per way of scoring, with 95 % intervals, and its difference to the default at equal FLOPs."""
    chosen = np.array([one.kind != "input" for one in mutants])
    truth = _from_input(np.array([one.test for one in mutants]), mutants)[chosen]
    origin = np.array([one.origin for one in mutants])[chosen]
    flops = np.array([one.mflops for one in mutants])
    shares = np.exp(_from_input(np.log(flops), mutants))[chosen]
    found = {name: _from_input(values, mutants)[chosen] for name, values in scores.items()}

    def equal(values: np.ndarray, at: np.ndarray) -> float:
        return partial_spearman(values[at], truth[at], shares[at])

    rows = []
    whole = np.arange(len(truth))
    for name, values in found.items():
        by_all = resampled(lambda at, values=values: spearman(values[at], truth[at]), len(truth))
        by_equal = resampled(lambda at, values=values: equal(values, at), len(truth))
        ahead = resampled(lambda at, values=values: equal(values, at) - equal(found[DEFAULT], at), len(truth))
        pairs, count = ordered_rightly(values, truth, flops[chosen], origin)
        rows.append(
            (
                name,
                f"{spearman(values, truth):.2f} ({interval(by_all)})",
                "" if name == "FLOPs" else f"{equal(values, whole):.2f} ({interval(by_equal)})",
                f"{100 * pairs:.0f} %",
                "" if name in (DEFAULT, "FLOPs") else interval(ahead),
            )
        )
    header = (
        "way of scoring",
        "Spearman",
        "at equal FLOPs",
        f"of {count} close pairs",
        "ahead of the default",
    )
    yield from table_lines(header, rows)


def correction_table(mutants: Sequence[Mutant]) -> Iterator[str]:
    """A correction is learnt on all but one input's mutants, or on one's, and ranks those of an input not seen."""
    origins = list(dict.fromkeys(one.origin for one in mutants))
    rows = [_correction_row(mutants, *pair) for pair in permutations(origins, 2)]
    header = ("learnt on", "tested on", "lesson", "ensemble: Spearman, at equal FLOPs", "corrected")
    yield from table_lines(header, rows)


def _correction_row(mutants: Sequence[Mutant], taught: str, asked: str) -> tuple[str, ...]:
    sides = {name: [one for one in mutants if one.origin == name] for name in (taught, asked)}
    (source,), (asked_source,) = ([one for one in side if one.kind == "input"] for side in sides.values())
    learnt = [one for one in sides[taught] if one is not source]
    tested = [one for one in sides[asked] if one is not asked_source]
    gains = [one.validation - source.validation for one in learnt]
    lesson = learn(source.facts, [one.facts for one in learnt], gains)
    truth, flops = (np.array([getattr(one, name) for one in tested]) for name in ("test", "mflops"))
    plain = np.array([merit_of(one.rating, 0.5) for one in tested])
    cells = [f"{spearman(plain, truth):.2f}, {partial_spearman(plain, truth, flops):.2f}", "stays out"]
    if lesson.correction:
        # Differences from the input of their own, seen by what was learnt on the other one.
        moved = [_as_if_from(one.facts, asked_source.facts, source.facts) for one in tested]
        means, deviations = lesson.correction.predict(moved)
        corrected = means - 0.5 * deviations
        cells[1] = f"{spearman(corrected, truth):.2f}, {partial_spearman(corrected, truth, flops):.2f}"
    return taught, asked, f"{lesson.error:.2f} points, scores alone {lesson.plain_error:.2f}", *cells


def _as_if_from(one: Facts, own: Facts, other: Facts) -> Facts:
    """The same differences, from another input."""
    return Facts(
        one.score - own.score + other.score,
        tuple(np.subtract(one.members, own.members) + np.array(other.members)),
        one.embedding - own.embedding + other.embedding,
        one.mflops / own.mflops * other.mflops,
        one.n_swaps,
    )
