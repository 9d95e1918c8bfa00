"""What the benchmarks share: rows with targets, timing, tables, and the files and networks that they work on."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from model_src.cli import FlagParser, run_script  # noqa: E402

if TYPE_CHECKING:
    from model_src.comp_graph.segment import Segment
    from model_src.comp_graph.tf_comp_graph import ComputeGraph
    from model_src.encoder.paths import VocabularyFiles
    from model_src.search.mutator import Mutator
    from model_src.search.objectives import Goal

REFERENCE = ROOT.parent / "shared" / "reference"
VOCABULARY = "h+i+n15+n2+t"
FAMILIES = ("hiaml", "inception", "two_path", "nb101_5k", "nb201")
HEADER = ("work", "unit", "median", "min", "max", "n", "target", "met", "published code*", "times better*")


@dataclass(frozen=True)
class Row:
    """One figure of the table.

    Attributes:
        work: What was measured.
        unit: Of the values.
        values: One per repetition.
        target: What the median must not exceed, or must reach; None where there is no target.
        more_is_better: The target must be reached.
        published: The published code's figure in the same unit, measured on another machine of this kind.
    """

    work: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    more_is_better: bool = False
    published: float | None = None

    @property
    def median(self) -> float:
        """The figure that is held against the target."""
        return median(self.values)

    @property
    def met(self) -> bool:
        """Whether the target is met; true without one."""
        if self.target is None:
            return True
        return self.median >= self.target if self.more_is_better else self.median <= self.target

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of HEADER."""
        ratio = "" if self.published is None else _ratio(self.median, self.published, self.more_is_better)
        target = "" if self.target is None else f"{'≥' if self.more_is_better else '≤'} {_short(self.target)}"
        met = "" if self.target is None else "yes" if self.met else "**no**"
        figures = (self.median, min(self.values), max(self.values))
        published = "" if self.published is None else _short(self.published)
        return (
            self.work, self.unit, *map(_short, figures), str(len(self.values)), target, met, published, ratio
        )  # fmt: skip


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float, published: float, more_is_better: bool) -> str:
    return _short(value / published if more_is_better else published / value)


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def run(measure: Callable[[], list[Row]], description: str) -> None:
    """Run a benchmark from the command line: print its table, or write its rows as JSON for `run_all.py`."""

    def main(argv: Sequence[str] | None = None) -> int:
        parser = FlagParser(description)
        parser.add_argument("-json", type=Path, help="write the rows there")
        flags = parser.parse_args(argv)
        rows = measure()
        if flags.json:
            flags.json.write_text(json.dumps([asdict(row) for row in rows]))
        else:
            print(table(rows))
        return 0

    run_script(main)


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def processor_seconds_of(work: Callable[[], Any]) -> float:
    """Processor time of one call: its wall time where nothing else runs, for work on one thread."""
    start = time.process_time()
    work()
    return time.process_time() - start


def has_reference() -> bool:
    """Whether the reference folder is there; says so where it is not."""
    if not REFERENCE.is_dir():
        print("skipped what needs the reference folder", file=sys.stderr)
    return REFERENCE.is_dir()


def shipped_files() -> "VocabularyFiles":
    """The shipped vocabulary and segment database."""
    from model_src.encoder.paths import vocabulary_files

    return vocabulary_files()


def shipped_mutator(
    family: str = "nb201", files: "VocabularyFiles | None" = None, database: Path | None = None, **config: Any
) -> "Mutator":
    """A mutator on the shipped predictor, vocabulary and database (if not given), with nothing remembered."""
    files = files or shipped_files()
    paths = files.encoder, files.model, database or files.database
    return _mutator(family, config, ROOT / "saved_models", *paths)


def another_mutator(mutator: "Mutator", **config: Any) -> "Mutator":
    """A mutator on the same files, which nothing is remembered of but the database's embeddings."""
    from dataclasses import replace

    from model_src.search.mutator import Mutator

    parts = mutator.encoder, mutator.tokenizer, mutator.database, mutator.predictor
    return Mutator(replace(mutator.config, **config), *parts, uses_parts=mutator.uses_parts)


def open_goal(cg: "ComputeGraph", score: float = -1e9) -> "Goal":
    """A goal that every child better than a score achieves, whatever it costs."""
    from model_src.search.objectives import FLOPS, Goal, Window

    return Goal(score, (Window(FLOPS, FLOPS.measure(cg), -1e9, 1e9),))


def reference_mutator(family: str) -> "Mutator":
    """A mutator on the published predictor and vocabulary and the reference database, with nothing remembered."""
    folder = REFERENCE / "published" / "cache_sentence_piece" / VOCABULARY
    return _mutator(
        family,
        {},
        REFERENCE / "published" / "saved_models",
        folder / f"{VOCABULARY}_encoder_shp.pkl",
        folder / "models" / f"{VOCABULARY}_vsize2000_bpe_shp.model",
        REFERENCE / "database" / "combined_segment_DB_res_ratio.pkl",
    )


def _mutator(family: str, config: dict, models: Path, encoder: Path, tokenizer: Path, database: Path) -> "Mutator":
    from model_src.search.config import MutatorFiles, SearchConfig

    paths = map(str, (models / "psc_chkpt.pt", encoder, tokenizer, database))
    names = ("predictor_path", "graph_encoder_path", "tokenizer_path", "segment_database_path")
    return MutatorFiles(SearchConfig(family, **dict(zip(names, paths, strict=True)), **config, device_str="cpu"))()


def shipped_network(family: str = "nb201") -> "ComputeGraph":
    """A shipped input network as a search sees it."""
    from model_src.comp_graph.load import load_cg
    from model_src.search.run import with_run_normalisers

    return with_run_normalisers(load_cg(ROOT / "architectures" / f"{family}_best.pkl"))


def shipped_segments() -> "tuple[Segment, ...]":
    """The segments of the shipped database."""
    from model_src.encoder.segment_db import SegmentDatabase

    return tuple(SegmentDatabase.open(shipped_files().database).segments)


def learn_vocabulary(folder: Path) -> "VocabularyFiles":
    """A vocabulary of the five families' caches in a folder."""
    import gen_vocab
    from model_src.encoder.paths import vocabulary_files

    gen_vocab.main(["-data_dir", str(folder), "-output_dir", str(folder)])
    return vocabulary_files(root=folder)


def write_families(folder: Path, counts: int | Sequence[int]) -> None:
    """Write caches of random networks, equally many of all families or so many of each, with made-up accuracies."""
    counts = [counts] * len(FAMILIES) if isinstance(counts, int) else counts
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(_write_family, FAMILIES, [folder] * len(FAMILIES), counts))


def _write_family(family: str, folder: Path, count: int) -> None:
    from model_src.family_data import LabelledGraph, family_path, save_family

    networks = enumerate(random_networks(family, count))
    save_family(
        family_path(family, folder), (LabelledGraph(cg, 0.9 + 1e-5 * number, 100.0) for number, cg in networks)
    )  # fmt: skip


def random_networks(family: str, count: int) -> "list[ComputeGraph]":
    """Distinct networks of a family, the same in every run."""
    import numpy as np

    from model_src.search_space.sampling import distinct_networks, space_of

    drawn = distinct_networks(space_of(family), np.random.default_rng(0), count, None)
    return [network.graph for network in drawn]
