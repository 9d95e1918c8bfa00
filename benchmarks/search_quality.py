"""How good is what a search finds: our search against recorded ones, and with one published defect at a time.

Every search runs in this process, with the settings of the recorded searches (one row: of the README) and with the
published encoder, tokenizer, PSC checkpoint and segment database. An independent judge looks at the networks of the
front: their FLOPs, and the score of the published GNN checkpoint. The hypervolume is taken against (the input's score
- 0.05, 1.1 x the input's FLOPs) and given in percent of 0.05 x 1.1 x the input's FLOPs. Prints the tables of
docs/conformance.md.
"""

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import mean, median, stdev

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import moocore  # noqa: E402

import constants  # noqa: E402
from benchmarks.published_defects import DEFECTS, FIXED, Defect  # noqa: E402
from model_src.cli import FlagParser, positive_int, run_script  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import (  # noqa: E402
    compute_cg_flops,
    correct_cg_for_downstream,
    derived_normalisers,
)
from model_src.encoder.network_encoder import NetworkEncoder  # noqa: E402
from model_src.encoder.paths import vocabulary_files  # noqa: E402
from model_src.encoder.segment_db import SegmentDatabase  # noqa: E402
from model_src.encoder.segment_map import build_database  # noqa: E402
from model_src.encoder.tokenizer import Tokenizer  # noqa: E402
from model_src.predictor.scoring import load_predictor  # noqa: E402
from model_src.search.config import SearchConfig  # noqa: E402
from model_src.search.mutator import MutationConfig  # noqa: E402
from model_src.search.session import search  # noqa: E402
from model_src.search.workers import Workers  # noqa: E402

INPUTS = ("hiaml", "two_path")
RECORDED_SEEDS = (0, 1, 2)
MARGIN, GROWTH = 0.05, 1.1
Points = list[tuple[float, float]]  # (score, MFLOPs)
QUALITY = (
    "input: code", "searches", "hypervolume, %: median (range)", "valid of the fronts",
    "valid of all accepted in 3 searches", "accepted", "seconds", "accepted per second",
)  # fmt: skip
DEFECT = ("defect switched on", "input", "searches", "hypervolume, %: median", "mean change", "accepted")


def hypervolume(points: Points, worst: tuple[float, float]) -> float:
    """Area that points dominate up to the `worst` point; more score and fewer FLOPs are better."""
    costs = [(-score, mflops) for score, mflops in points]
    return float(moocore.hypervolume(costs, ref=(-worst[0], worst[1]))) if costs else 0.0


class Judge:
    """FLOPs and published GNN score, every network under the feature normalisers that the GNN was trained with."""

    def __init__(self, reference: Path, source: ComputeGraph):
        self._gnn = load_predictor(reference / "published" / "saved_models" / "gnn_chkpt.pt", "GNN", "cpu")
        self._op2i = OP2I().build_from_file()
        self._input_size = source.input_shape[1:]
        ((score, mflops),) = self.points([source])
        self._worst = score - MARGIN, GROWTH * mflops

    def points(self, graphs: Sequence[ComputeGraph]) -> Points:
        """Score and MFLOPs of every network."""
        scores = self._gnn.score_graphs([cg.with_normalisers(constants.DOMAIN_NORMALISERS) for cg in graphs])
        return [(score, compute_cg_flops(cg, self._op2i)) for score, cg in zip(scores, graphs, strict=True)]

    def changes_on_reload(self, graphs: Sequence[ComputeGraph]) -> list[float]:
        """By how much the score of each network changes under the normalisers that its own sizes give."""
        own = self._gnn.score_graphs([cg.with_normalisers(derived_normalisers(cg)) for cg in graphs])
        return [abs(score - there) for there, (score, _) in zip(own, self.points(graphs), strict=True)]

    def quality(self, points: Points) -> float:
        """Hypervolume in percent."""
        return 100 * hypervolume(points, self._worst) / (MARGIN * self._worst[1])

    def n_valid(self, graphs: Sequence[ComputeGraph]) -> int:
        """How many networks fit together: inferring all sizes anew changes what no node gives."""
        return sum(map(self._is_valid, graphs))

    def _is_valid(self, cg: ComputeGraph) -> bool:
        try:
            fixed = correct_cg_for_downstream(cg, *self._input_size)
        except ValueError:
            return False
        before, after = (Counter((node.op_name, node.out_shape) for node in graph.nodes) for graph in (cg, fixed))
        return before == after


@dataclass(frozen=True)
class Outcome:
    """What one search found.

    Attributes:
        front: The networks of its front.
        accepted: All networks accepted, each once; empty for recorded searches.
        n_accepted: How many; for recorded searches repeats are counted, too.
        seconds: Wall time without loading.
    """

    front: list[ComputeGraph]
    accepted: list[ComputeGraph]
    n_accepted: int
    seconds: float


def records(reference: Path, family: str) -> list[dict]:
    """The searches of the published code on an input."""
    paths = [reference / "search" / f"{family}_{seed}.json.gz" for seed in RECORDED_SEEDS]
    return [json.loads(gzip.decompress(path.read_bytes())) for path in paths]


def outcome_of(record: dict) -> Outcome:
    """What a recorded search found."""
    front = [ComputeGraph.from_state_dict(entry["graph"]) for entry in record["rescored"]]
    return Outcome(front, [], record["visited"] - 1, record["search_s"])


@dataclass(frozen=True)
class Size:
    """How widely to search; the defaults are those of the recorded searches."""

    epoch: int = 3
    top_k: int = 3
    candidates: int = 6
    targets: int = 30


README_SIZE = Size(10, 10, 10, 100)


@dataclass(frozen=True)
class Setting:
    """What the searches of one input share."""

    reference: Path
    family: str
    database: SegmentDatabase
    unit: str = "segment"
    size: Size = Size()

    @cached_property
    def source(self) -> ComputeGraph:
        """The published input."""
        return load_cg(self.reference / "published" / "architectures" / f"{self.family}_best.pkl")

    @cached_property
    def _parts(self) -> tuple:
        """Encoder, tokenizer, database and PSC predictor."""
        predictor = load_predictor(
            self.reference / "published" / "saved_models" / "psc_chkpt.pt", "PSC_predictor", "cpu"
        )
        return (*vocabulary(self.reference), self.database, predictor)

    def search(self, defect: Defect, seed: int) -> Outcome:
        """Run one search."""
        size, distinct = self.size, {}

        class Recorder(Workers):
            def mutate(self, graphs, *rest):
                graphs = list(graphs)
                for graph, mutation in zip(graphs, super().mutate(graphs, *rest), strict=True):
                    distinct.update((child.identity[:32], (graph, child.swap)) for child in mutation.accepted)
                    yield mutation

        config = MutationConfig(self.family, "combined", self.unit, size.candidates, size.targets)
        mutator = defect.mutator(config, *self._parts, uses_parts=True)
        limits = {"min_flops_decrease_percent": -10, "max_flops_decrease_percent": 100}
        searched = SearchConfig(
            self.family, epoch=size.epoch, top_k=size.top_k, seed=seed, rescore_per_iter=0, **limits
        )
        strategy = defect.strategy(size.top_k, mutator)
        with Recorder(lambda: mutator, n_jobs=1) as workers, defect.patched():
            result = search(self.source, searched, strategy, workers=workers).whole()
        distinct.pop(canonical_hash(self.source), None)
        small = size == Size()
        accepted = [swap.apply(graph, "new") for graph, swap in distinct.values()] if small else []
        return Outcome([one.graph for one in result.front], accepted, len(distinct), result.seconds)


def vocabulary(reference: Path) -> tuple:
    """The published encoder and tokenizer."""
    files = vocabulary_files(root=reference / "published" / "cache_sentence_piece")
    return NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)


def databases(reference: Path) -> tuple[SegmentDatabase, SegmentDatabase]:
    """The published table, which has no ports, and one made of the same 200 networks, which has."""
    graphs = []
    for family in ("hiaml", "inception", "nb101", "nb201", "two_path"):
        with gzip.open(reference / "families" / f"{family}.jsonl.gz", "rt") as lines:
            graphs += [ComputeGraph.from_state_dict(json.loads(line)["graph"]) for line in islice(lines, 40)]
    encoder, tokenizer = vocabulary(reference)
    grown = replace(encoder, op2vocab=dict(encoder.op2vocab))  # as the published code does while it builds
    for cg in graphs:
        grown.learn(cg)
    published = SegmentDatabase.open(reference / "database" / "combined_segment_DB_res_ratio.pkl")
    return published, build_database(graphs, grown, tokenizer)


def quality_row(title: str, outcomes: Sequence[Outcome], judge: Judge) -> str:
    """One row of the first table."""
    qualities = [judge.quality(judge.points(outcome.front)) for outcome in outcomes]
    front = [cg for outcome in outcomes for cg in outcome.front]
    accepted = [cg for outcome in outcomes[: len(RECORDED_SEEDS)] for cg in outcome.accepted]
    cells = [
        title,
        len(outcomes),
        f"{median(qualities):.1f} ({min(qualities):.1f} to {max(qualities):.1f})",
        f"{judge.n_valid(front)} of {len(front)}",
        f"{judge.n_valid(accepted)} of {len(accepted)}" if accepted else "-",
        f"{median(outcome.n_accepted for outcome in outcomes):.0f}",
        f"{median(outcome.seconds for outcome in outcomes):.1f}",
        f"{median(outcome.n_accepted / outcome.seconds for outcome in outcomes):.0f}",
    ]
    return row(cells)


def defect_row(defect: str, title: str, outcomes: list[Outcome], fixed: list[Outcome], judge: Judge) -> str:
    """One row of the second table: the search with a defect against the one without, seed by seed."""
    with_it, without = ([judge.quality(judge.points(one.front)) for one in each] for each in (outcomes, fixed))
    differences = [a - b for a, b in zip(with_it, without, strict=True)]
    error = stdev(differences) / len(differences) ** 0.5
    n_networks = median(outcome.n_accepted for outcome in outcomes)
    change = f"{mean(differences):+.1f} ± {error:.1f}" if outcomes is not fixed else ""
    return row([defect, title, len(outcomes), f"{median(with_it):.1f}", change, f"{n_networks:.0f}"])


def row(cells: Sequence[object]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |\n"


def table(names: Sequence[str], rows: Iterable[str]) -> None:
    """Print a Markdown table row by row."""
    sys.stdout.write("\n" + row(names) + "|" + "---|" * len(names) + "\n")
    for line in rows:
        sys.stdout.write(line)
        sys.stdout.flush()


class Runs:
    """All searches of the benchmark; a search without defects is run once."""

    def __init__(self, reference: Path, n_seeds: int):
        self._reference = reference
        self._seeds = range(n_seeds)
        self._published, self._with_ports = databases(reference)
        self._settings = {family: Setting(reference, family, self._published) for family in (*INPUTS, "inception")}
        self._settings["hiaml op"] = replace(self._settings["hiaml"], unit="op")
        self._judges = {title: Judge(reference, setting.source) for title, setting in self._settings.items()}
        self._fixed: dict[str, list[Outcome]] = {}

    def quality_rows(self) -> Iterator[str]:
        """The published code and this one on the inputs of the recorded searches."""
        for family in INPUTS:
            judge = self._judges[family]
            published = [outcome_of(record) for record in records(self._reference, family)]
            yield quality_row(f"{family}: published code", published, judge)
            outcomes = self._run(FIXED, family)
            yield quality_row(f"{family}: this code, the same seeds", outcomes[: len(RECORDED_SEEDS)], judge)
            yield quality_row(f"{family}: this code", outcomes, judge)
            setting = replace(self._settings[family], database=self._with_ports)
            rebuilt = [setting.search(FIXED, seed) for seed in self._seeds]
            yield quality_row(f"{family}: this code, database with ports", rebuilt, judge)
            setting = replace(self._settings[family], size=README_SIZE)
            wide = [setting.search(FIXED, seed) for seed in RECORDED_SEEDS]
            yield quality_row(f"{family}: this code, 10 iterations, 10 parents, 10 x 100", wide, judge)

    def score_difference(self) -> float:
        """Largest difference between the scores in the records and those of the judge."""
        differences = []
        for family in INPUTS:
            for record in records(self._reference, family):
                points = self._judges[family].points(outcome_of(record).front)
                stored = [entry["gnn"] for entry in record["rescored"]]
                differences += [abs(score - own) for (score, _), own in zip(points, stored, strict=True)]
        return max(differences)

    def defect_rows(self) -> Iterator[str]:
        """Every defect by itself, and most together."""
        for defect in (FIXED, *DEFECTS):
            for title in defect.inputs:
                fixed = self._run(FIXED, title)
                outcomes = fixed if defect is FIXED else self._run(defect, title)
                yield defect_row(defect.name, title, outcomes, fixed, self._judges[title])

    def reload_change(self) -> float:
        """Mean change of the judge's score when a result is read back under normalisers of its own sizes (D-13)."""
        changes = []
        for title in INPUTS:
            for outcome in self._run(FIXED, title)[: len(RECORDED_SEEDS)]:
                changes += self._judges[title].changes_on_reload(outcome.front)
        return mean(changes)

    def _run(self, defect: Defect, title: str) -> list[Outcome]:
        if defect is FIXED and title in self._fixed:
            return self._fixed[title]
        seeds = self._seeds if title in INPUTS else self._seeds[: max(2, len(self._seeds) // 2)]
        outcomes = [self._settings[title].search(defect, seed) for seed in seeds]
        if defect is FIXED:
            self._fixed[title] = outcomes
        return outcomes


def main(argv: Sequence[str] | None = None) -> int:
    """Run all searches and print the tables."""
    parser = FlagParser(__doc__.splitlines()[0])
    folder = ROOT.parent / "shared" / "reference"
    parser.add_argument("-reference", type=Path, default=folder, help="the reference folder")
    parser.add_argument("-seeds", type=positive_int, default=16, help="searches per row, at least 3")
    args = parser.parse_args(argv)
    runs = Runs(args.reference, max(args.seeds, len(RECORDED_SEEDS)))
    table(QUALITY, runs.quality_rows())
    table(DEFECT, runs.defect_rows())
    sys.stdout.write(f"\nscores in the records and of the judge differ by at most {runs.score_difference():.1e}\n")
    sys.stdout.write(f"GNN score of a result under normalisers of its own sizes: {runs.reload_change():.4f} off\n")
    return 0


if __name__ == "__main__":
    run_script(main)
