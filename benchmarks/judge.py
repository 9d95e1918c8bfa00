"""What fronts are worth to predictors that no search has used.

Searches from the five shipped and the five published inputs, three seeds each, with the README's settings, in several
variants; the networks of every front are then scored as wholes by judges: the published PSC checkpoint (mean over all
splits of the published vocabulary), the published GNN checkpoint, and the ensemble's members that the variant leaves
out. Gains are against the input, in standard deviations of accuracy (GNN: as fractions).

Every search is appended to a file, and what is there is not repeated: several of these can run side by side. Half of
the searches are there to choose settings by, the other half to report; see `half_of`.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import constants  # noqa: E402
from benchmarks import search_quality  # noqa: E402
from model_src.cli import FlagParser, non_negative_int, run_script  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph  # noqa: E402
from model_src.encoder.network_encoder import NetworkEncoder  # noqa: E402
from model_src.encoder.paths import vocabulary_files  # noqa: E402
from model_src.encoder.segmentation import segment  # noqa: E402
from model_src.encoder.tokenizer import Tokenizer  # noqa: E402
from model_src.families import entry_of  # noqa: E402
from model_src.files import InputError  # noqa: E402
from model_src.predictor.scoring import load_predictor  # noqa: E402
from model_src.search.config import SearchConfig  # noqa: E402
from model_src.search.pareto import Individual  # noqa: E402
from model_src.search.run import with_run_normalisers  # noqa: E402
from model_src.search.session import search  # noqa: E402

ENSEMBLE = constants.SAVED_MODELS_DIR / "ensemble"
FAMILIES = ("hiaml", "two_path", "inception", "nb101", "nb201")
INPUTS = tuple(f"{origin} {family}" for origin in ("shipped", "published") for family in FAMILIES)
MOST_FLOPS = 1.1  # the window of the searches, hence the corner of the hypervolume
CHEAP = 0.7  # share of the input's FLOPs
PSC, GNN = "published PSC", "published GNN"


@dataclass(frozen=True)
class Variant:
    """A way to search; `members` are beginnings of the names of the ensemble's files."""

    members: tuple[str, ...] = ("1", "2", "3", "4")
    rescore_per_iter: int = 200
    caution: float = 0.5

    @property
    def files(self) -> list[Path]:
        """Its checkpoints."""
        return [path for path in sorted(ENSEMBLE.glob("*.pt")) if path.name.startswith(self.members)]

    @property
    def predictor_path(self) -> tuple[str, ...]:
        """What to give a search: the folder, if it is all of it, so that the deviation is calibrated."""
        return (str(ENSEMBLE),) if self.left_out == [] else tuple(map(str, self.files))

    @property
    def left_out(self) -> list[Path]:
        """The members that can judge."""
        return [path for path in sorted(ENSEMBLE.glob("*.pt")) if path not in self.files]


VARIANTS = {
    "plain": Variant(("1",), 0),
    "one PSC": Variant(("1",), caution=0),
    "caution 0": Variant(caution=0),
    "caution 0.5": Variant(),
    "caution 1": Variant(caution=1),
    "50 rescored": Variant(rescore_per_iter=50, caution=1),
    "PSC only": Variant(("1", "2", "3"), caution=1),
    "without a PSC": Variant(("1", "2", "4")),
}


def half_of(source: str, seed: int) -> str:
    """`choose` or `report`: neighbouring inputs and seeds alternate."""
    return ("choose", "report")[(INPUTS.index(source) + seed) % 2]


class Judges:
    """Scores whole networks with predictors that a search does not know."""

    def __init__(self, reference: Path):
        published = reference / "published"
        if not published.is_dir():
            raise InputError(f"{published}: the published checkpoints are not there; give -reference")
        files = vocabulary_files(root=published / "cache_sentence_piece")
        own = vocabulary_files()
        self._vocabularies = {
            True: (NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)),
            False: (NetworkEncoder.load(own.encoder), Tokenizer.load(own.model)),
        }
        self._published = {
            PSC: load_predictor(published / "saved_models" / "psc_chkpt.pt", "PSC_predictor", "cpu"),
            GNN: load_predictor(published / "saved_models" / "gnn_chkpt.pt", "GNN", "cpu"),
        }

    def scores(self, graphs: Sequence[ComputeGraph], left_out: Sequence[Path], family: str) -> dict[str, list[float]]:
        """Judge -> the score of every network: in deviations, but for the published GNN, which knows no scale."""
        judges = {name: (judge, True) for name, judge in self._published.items()}
        judges |= {path.stem: (load_predictor(path, device="cpu"), False) for path in left_out}
        found = {}
        for name, (judge, is_published) in judges.items():
            vocabulary = self._vocabularies[is_published]
            scores = judge.score_networks([(cg, segment(cg, *vocabulary)) for cg in graphs])
            mean, deviation = entry_of(judge.target_normalisers, family) or (0.0, 1.0)
            is_fraction = judge.predictor_type == "GNN"
            found[name] = [(score - mean) / deviation for score in scores] if is_fraction else scores
        return found


def load_source(source: str, reference: Path) -> ComputeGraph:
    """An input under the normalisers of the predictors."""
    origin, family = source.split()
    folder = (reference / "published" if origin == "published" else ROOT) / "architectures"
    return with_run_normalisers(load_cg(folder / f"{family}_best.pkl"))


def judged(source: str, seed: int, variant: Variant, judges: Judges, reference: Path, name: str) -> dict:
    """Search once; what the search says of every network of its front and of the input, and what the judges say."""
    config = SearchConfig(
        source.split()[1],
        variant.predictor_path,
        epoch=10,
        rescore_per_iter=variant.rescore_per_iter,
        caution=variant.caution,
        min_flops_decrease_percent=-10,
        max_flops_decrease_percent=100,
        seed=seed,
    )
    result = search(load_source(source, reference), config).whole()
    networks = [result.source, *result.front]
    verdicts = judges.scores([one.graph for one in networks], variant.left_out, config.model_family)
    rows = [
        _claim(one, {judge: scores[number] for judge, scores in verdicts.items()})
        for number, one in enumerate(networks)
    ]
    head = {"variant": name, "input": source, "seed": seed, "seconds": round(result.seconds, 1)}
    return {**head, "rescored": len(result.history), "source": rows[0], "front": rows[1:]}


def _claim(one: Individual, verdicts: dict[str, float]) -> dict:
    rating = {"sd": one.rating.sd, "known_share": one.rating.known_share} if one.rating else {}
    return {"score": one.score, "merit": one.merit, "mflops": one.mflops, **rating, "judges": verdicts}


def gains(record: dict, judge: str | None = None) -> np.ndarray:
    """The gains of a front over the input, claimed or judged."""
    values = [row["judges"][judge] if judge else row["score"] for row in (record["source"], *record["front"])]
    return np.array(values[1:]) - values[0]


def costs(record: dict) -> np.ndarray:
    """The FLOPs of a front, as shares of the input's."""
    return np.array([row["mflops"] for row in record["front"]]) / record["source"]["mflops"]


def hypervolume(record: dict, judge: str) -> float:
    """Area of gain x share of FLOPs that a front dominates, up to no gain at MOST_FLOPS."""
    points = zip(gains(record, judge).tolist(), costs(record).tolist(), strict=True)
    return search_quality.hypervolume(list(points), (0.0, MOST_FLOPS))


def above(record: dict, judge: str) -> float:
    """Share of a front that is above the input."""
    return float(np.mean(gains(record, judge) > 0)) if record["front"] else 0.0


def kept(records: Sequence[dict], judge: str) -> float:
    """Of all results that claim a gain, the share that has one."""
    verdicts = [gain > 0 for record in records for gain in gains(record, judge)[gains(record) > 0]]
    return float(np.mean(verdicts)) if verdicts else float("nan")


def exaggeration(record: dict, judge: str) -> float:
    """Claimed minus judged gain, mean over a front."""
    return float(np.mean(gains(record) - gains(record, judge))) if record["front"] else float("nan")


def first_cheap(record: dict, judge: str) -> float:
    """The judged gain of the result that the front ranks first among those at no more than CHEAP of the FLOPs."""
    cheap = np.flatnonzero(costs(record) <= CHEAP)
    return float(gains(record, judge)[cheap[0]]) if len(cheap) else float("nan")


def _mean_of(measure: Callable[[dict, str], float], records: Sequence[dict], judge: str) -> str:
    values = [value for record in records if not np.isnan(value := measure(record, judge))]
    return f"{mean(values):+.3f}" if values else "-"


def report(records: Sequence[dict]) -> Iterator[str]:
    """A table per group of inputs and judge, one row per variant; then every search, judged by the published PSC."""
    groups = {
        "NAS-Bench inputs": ("nb101", "nb201"),
        "HiAML, Two-Path, Inception inputs": ("hiaml", "two_path", "inception"),
    }
    names = [name for name in VARIANTS if any(record["variant"] == name for record in records)]
    for half in ("choose", "report"):
        for title, families in groups.items():
            chosen = [
                one
                for one in records
                if half_of(one["input"], one["seed"]) == half and one["input"].split()[1] in families
            ]
            for judge in dict.fromkeys(judge for one in chosen for judge in one["source"]["judges"]):
                yield f"\n**{title}, half to {half}, judge: {judge}** (kept: claimed gains that are some)\n"
                yield "| variant | searches | hypervolume | above the input | claimed gain | claimed - judged | kept |"
                yield "|" + "---|" * 7
                for name in names:
                    own = [one for one in chosen if one["variant"] == name and judge in one["source"]["judges"]]
                    if own:
                        yield _row(name, own, judge)
    yield "\n| search | rescored | results | first at <= 0.7 x FLOPs | above the input | claimed - judged |"
    yield "|" + "---|" * 6
    for one in sorted(records, key=lambda one: (names.index(one["variant"]), one["input"], one["seed"])):
        cells = [f"{one['variant']}: {one['input']}, {one['seed']}", one["rescored"], len(one["front"])]
        cells += [_mean_of(measure, [one], PSC) for measure in (first_cheap, above, exaggeration)]
        yield f"| {' | '.join(map(str, cells))} |"


def _row(name: str, records: Sequence[dict], judge: str) -> str:
    claimed = _mean_of(lambda record, _: float(gains(record).mean()) if record["front"] else float("nan"), records, "")
    cells = [_mean_of(hypervolume, records, judge), _mean_of(above, records, judge), claimed]
    cells += ["-" if judge == GNN else _mean_of(exaggeration, records, judge), f"{kept(records, judge):.2f}"]
    return f"| {name} | {len(records)} | {' | '.join(cells)} |"


def stored(path: Path) -> list[dict]:
    """The searches that were made."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-variants", nargs="*", choices=VARIANTS, default=[], help="variants to search with; none: only report")
    add("-inputs", nargs="+", choices=INPUTS, default=INPUTS, help="inputs to search from")
    add("-seeds", nargs="+", type=non_negative_int, default=[0, 1, 2], help="seeds to search with")
    add("-half", choices=("choose", "report", "both"), default="both", help="which half of the searches to make")
    add("-reference", type=Path, default=ROOT.parent / "shared" / "reference", help="folder of the published files")
    add("-output", type=Path, default=constants.OUTPUTS_DIR / "judged.jsonl", help="the searches, a line for each")
    args = parser.parse_args(argv)
    judges = Judges(args.reference) if args.variants else None
    for name in args.variants:
        for source in args.inputs:
            for seed in args.seeds:
                done = {(one["variant"], one["input"], one["seed"]) for one in stored(args.output)}
                if (name, source, seed) in done or args.half not in ("both", half_of(source, seed)):
                    continue
                record = judged(source, seed, VARIANTS[name], judges, args.reference, name)
                with args.output.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                sys.stderr.write(f"{name}, {source}, seed {seed}: {record['seconds']} s\n")
    sys.stdout.write("\n".join(report(stored(args.output))) + "\n")
    return 0


if __name__ == "__main__":
    run_script(main)
