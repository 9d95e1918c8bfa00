"""How well predictors rank mutants, which is what a search must do and no NAS benchmark holds: by training them.

From each of two inputs (published and shipped) random mutants are drawn within strata of FLOPs and number of swaps;
then networks from a search's history, uniformly. Predictions play no part in the draw.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks import drawing, measuring
from benchmarks.drawing import distinct, random_walks, trainable
from benchmarks.judge import load_source
from benchmarks.measuring import EPOCHS, LABELS, at_epochs
from benchmarks.ranking import N_PATTERNS, Mutant, correction_table, ranking_table, ways
from model_src.cli import FlagParser, positive_int, run_script
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.files import save_text
from model_src.search.config import MutatorFiles, SearchConfig
from model_src.search.mutator import Mutator
from model_src.search.rescoring import merit_of
from model_src.search.session import search
from model_src.training.cifar10_data import load_cifar10

FAMILIES = ("two_path", "hiaml")
ORIGINS = ("published", "shipped")
PER_INPUT, OF_HISTORY = 20, 16
DRAWS, LONGEST = 12_000, 10
BANDS = (0.25, 0.5, 0.7, 0.9, 1.1)  # shares of the input's FLOPs
SWAPS = (1, 4, 7, 11)


@dataclass(frozen=True)
class Drawn:
    """What is known of a network before it is trained.

    Attributes:
        name: The beginning of its graph's hash, and the name of its file.
        origin: Which input it comes from, `published` or `shipped`.
        kind: `input`, `random` or `history`.
        n_swaps: Swaps between the input and it.
        flops_share: Its FLOPs, as a share of the input's.
        prescreen_score: Prediction of the last swap's own split.
        accepted: Whether a search would accept it.
    """

    name: str
    origin: str
    kind: str
    n_swaps: int
    flops_share: float
    prescreen_score: float
    accepted: bool


def draw(family: str, reference: Path) -> tuple[list[Drawn], dict[str, ComputeGraph]]:
    """Draw the networks of a family."""
    drawn: list[Drawn] = []
    graphs: dict[str, ComputeGraph] = {}

    def add(cg: ComputeGraph, *known: object) -> None:
        name = canonical_hash(cg)[:12]
        if name not in graphs:
            graphs[name] = cg
            drawn.append(Drawn(name, *known))  # type: ignore[arg-type]

    mutator = MutatorFiles(SearchConfig(family))()
    for number, origin in enumerate(ORIGINS):
        source, rng = load_source(f"{origin} {family}", reference), np.random.default_rng(number)
        start, least = graph_macs(source), _merit(mutator, source)
        trained = trainable(source)
        assert trained is not None
        add(_like(trained, source), origin, "input", 0, 1.0, mutator.baseline(source, rng), False)
        found = list(distinct(random_walks(source, mutator, LONGEST, rng), DRAWS))
        shares = np.array([graph_macs(cg) / start for _, cg in found])
        for at in _stratified(found, shares, rng):
            mutant, cg = found[at]
            accepted = _merit(mutator, mutant.graph) > least
            add(
                _like(cg, source), origin, "random", mutant.n_swaps, float(shares[at]), mutant.prescreen_score, accepted
            )
    source = load_source(f"published {family}", reference)
    config = SearchConfig(family, epoch=10, min_flops_decrease_percent=-10, max_flops_decrease_percent=100)
    result = search(source, config).whole()
    rng = np.random.default_rng(len(ORIGINS))
    for one in rng.permutation(np.array(result.history, dtype=object)).tolist():
        if sum(other.kind == "history" for other in drawn) == OF_HISTORY:
            break
        if (cg := trainable(one.graph)) is not None:
            share, accepted = graph_macs(cg) / graph_macs(source), one.merit > result.goal.least
            add(_like(cg, source), "published", "history", one.n_swaps, share, one.prescreen_score, accepted)
    return drawn, graphs


def _like(cg: ComputeGraph, source: ComputeGraph) -> ComputeGraph:
    """Under the source's normalisers, so that predictors see it as a search does."""
    return cg.with_normalisers(source.normalisers)


def _merit(mutator: Mutator, cg: ComputeGraph) -> float:
    return merit_of(mutator.rate([cg])[0], SearchConfig.caution)


def _stratified(
    found: Sequence[tuple[drawing.Mutant, ComputeGraph]], shares: np.ndarray, rng: np.random.Generator
) -> Iterator[int]:
    """Positions of PER_INPUT mutants: as many of every band of FLOPs, in turn of every range of swaps."""
    swaps = np.array([mutant.n_swaps for mutant, _ in found])
    for low, high in pairwise(BANDS):
        cells = [
            rng.permutation(
                np.flatnonzero((shares >= low) & (shares < high) & (swaps >= first) & (swaps < stop))
            ).tolist()
            for first, stop in pairwise(SWAPS)
        ]
        chosen: list[int] = []
        while len(chosen) < PER_INPUT // (len(BANDS) - 1) and any(cells):
            chosen += [cell.pop() for cell in cells if cell]
        yield from chosen[: PER_INPUT // (len(BANDS) - 1)]


def files_of(family: str, epochs: int = EPOCHS) -> tuple[Path, Path, Path]:
    """The table of a family's trainings, what is known of its networks, and the folder of their graphs."""
    table = LABELS / f"mutants_{family}.csv"
    return at_epochs(table, epochs), table.with_suffix(".json"), table.with_suffix("")


def drawn_networks(family: str, reference: Path) -> list[Drawn]:
    """What is known of a family's networks, which are drawn and kept the first time."""
    _, known, folder = files_of(family)
    if not known.exists():
        drawn, graphs = draw(family, reference)
        measuring.keep_graphs(graphs, folder)
        save_text("[\n" + ",\n".join(json.dumps(asdict(one)) for one in drawn) + "\n]\n", known)
    return [Drawn(**entry) for entry in json.loads(known.read_text(encoding="utf-8"))]


def measured_mutants(family: str, epochs: int) -> list[Mutant]:
    """The networks of a family that are trained, with their ratings; none where there is no table."""
    table, known, folder = files_of(family, epochs)
    rows = {row.config_hash: row for row in measuring.rows_of(table)}
    drawn = [Drawn(**entry) for entry in json.loads(known.read_text(encoding="utf-8"))] if rows else []
    drawn = [one for one in drawn if one.name in rows]
    graphs = measuring.kept_graphs([one.name for one in drawn], folder)
    ratings = MutatorFiles(SearchConfig(family))().rate(list(graphs.values()), embed=True)
    mutants = [
        Mutant(
            f"{one.origin} {family}",
            one.kind,
            graphs[one.name],
            one.n_swaps,
            one.prescreen_score,
            rating,
            100 * (rows[one.name].held_out or 0.0),
            100 * (rows[one.name].accuracy or 0.0),
        )
        for one, rating in zip(drawn, ratings, strict=True)
    ]
    with_input = {one.origin for one in mutants if one.kind == "input"}
    return [one for one in mutants if one.origin in with_input]


def report(data_dir: Path, epochs: int) -> Iterator[str]:
    """The tables of all families together and of each, and what a correction learns."""
    by_family = {
        family: measured_mutants(family, epochs) for family in FAMILIES if files_of(family, epochs)[0].exists()
    }
    images = torch.from_numpy(load_cifar10(data_dir).train_images[:N_PATTERNS]).float() / 255
    members = MutatorFiles(SearchConfig(FAMILIES[0]))().ensemble.member_names
    everything = [one for mutants in by_family.values() for one in mutants]
    for family, mutants in by_family.items():
        kinds = [one.kind for one in mutants]
        counts = ", ".join(f"{kinds.count(kind)} of {kind}" for kind in ("random", "history"))
        yield f"\n**{family}: {counts}**\n"
        yield from ranking_table(mutants, ways(mutants, members, images))
    yield "\n**Learnt corrections**\n"
    yield from correction_table(everything)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    parser = FlagParser(__doc__)
    measuring.add_measuring_flags(parser.add_argument)
    parser.add_argument("-family", choices=FAMILIES, default="two_path", help="of the inputs")
    parser.add_argument("-epochs", type=positive_int, default=EPOCHS, help="of a training")
    args = parser.parse_args(argv)
    if not args.report:
        table, _, folder = files_of(args.family, args.epochs)
        drawn = drawn_networks(args.family, args.reference)
        # The inputs first; the others in random order, so that a part of the table is no special one.
        order = np.random.default_rng(0).permutation(len(drawn)).tolist()
        names = [drawn[at].name for at in sorted(order, key=lambda at: drawn[at].kind != "input")]
        measuring.train(measuring.kept_graphs(names, folder), table, 1, args.n_jobs, args.data_dir, args.epochs)
    sys.stdout.write("\n".join(report(args.data_dir, args.epochs)) + "\n")
    return 0


if __name__ == "__main__":
    run_script(main)
