"""What a family past memory takes, from sampling to predictors: seconds and peak memory of every step.

    python benchmarks/past_memory.py -sizes 2000 20000 100000

Distinct networks of NAS-Bench-101 are sampled and written as shards, with accuracies that are made up from their FLOPs
(real ones are known of fewer networks, and no step takes longer for them). Every step is a script with its usual flags
and runs in a process of its own; both trainings are one epoch, of PSC with one split of every network, and the test.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gen_DB
import gen_vocab
import make_segment_predictor_cache_sa
import run_cg_kgnn_predictor
import run_gpi_segment_predictor
import run_psc_segment
from model_src.cli import FlagParser, positive_int, run_script
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segment_db import SegmentDatabase

if TYPE_CHECKING:
    from model_src.search_space.sampling import Drawn

FAMILY = "nb101"
HEADER = f"{'networks':>9}  {'step':<36}{'wall s':>8}{'CPU s':>8}{'ms/network':>12}{'peak MB':>9}{'disk MB':>9}"


def sample(folder: Path, size: int) -> None:
    """Write distinct networks as shards, with made-up accuracies."""
    import numpy as np

    from model_src.comp_graph.tf_comp_graph import OP2I
    from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
    from model_src.family_data import family_path
    from model_src.family_data.sampled import labelled_graphs
    from model_src.family_data.shards import save_shards, shards_of
    from model_src.search_space.sampling import distinct_networks, space_of

    op2i = OP2I().build_from_file()

    def rated(drawn: "Drawn") -> "Drawn":
        return drawn._replace(accuracy=float(0.6 + 0.03 * np.log(compute_cg_flops(drawn.graph, op2i))))

    networks = map(rated, distinct_networks(space_of(FAMILY), np.random.default_rng(0), size))
    save_shards(shards_of(family_path(FAMILY, folder / "data")), labelled_graphs(networks))


def steps(folder: Path, size: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """The name of every step and what it does."""
    data, cache = ["-data_dir", str(folder / "data")], ["-cache_dir", str(folder / "cache")]
    own, texts = ["-encoder_families", FAMILY], str(folder / "vocabulary")
    files, database = vocabulary_files(FAMILY, root=texts), folder / "database.pkl"
    cut = ["-encoder_path", str(files.encoder), "-tokenizer_path", str(files.model), "-output", str(database)]
    to_split = ["-data_family", FAMILY, *own, *cache]
    to_train = ["-data_families", FAMILY, "-epochs", "1", "-num_workers", "1", "-device_str", "cpu"]
    to_train += ["-saved_models_dir", str(folder / "models"), "-logs_dir", str(folder / "logs")]
    to_train_psc = [*to_train, *own, *cache, "-epoch_samples", "1"]
    yield "sampling and writing", partial(sample, folder, size)
    yield "gen_vocab.py", partial(gen_vocab.main, ["-families", FAMILY, *data, "-output_dir", texts, "-overwrite"])
    yield "gen_DB.py", partial(gen_DB.main, ["-families", FAMILY, *data, *cut])
    yield "opening the database", partial(SegmentDatabase.open, database)
    yield "run_psc_segment.py", partial(run_psc_segment.main, [*to_split, *data, "-vocabulary_dir", texts])
    yield "make_segment_predictor_cache_sa.py", partial(make_segment_predictor_cache_sa.main, to_split)
    yield "run_cg_kgnn_predictor.py", partial(run_cg_kgnn_predictor.main, [*to_train, *data])
    yield "run_gpi_segment_predictor.py", partial(run_gpi_segment_predictor.main, to_train_psc)


def timed(work: Callable[[], object]) -> tuple[float, float, float]:
    """Do something; seconds by the clock and of the processor, and the peak memory of this process in MB."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    seconds = time.perf_counter() - clock, time.process_time() - processor
    return *seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, size: int, first: int) -> None:
    """Print a row for every step, from the given one on."""
    for name, work in list(steps(folder, size))[first:]:
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh_process:
            clock, processor, peak = fresh_process.submit(timed, work).result()
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        each = 1000 * processor / size
        print(f"{size:>9}  {name:<36}{clock:>8.2f}{processor:>8.2f}{each:>12.2f}{peak:>9.0f}{disk:>9.1f}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = FlagParser(__doc__.split("\n", 1)[0])
    parser.add_argument("-sizes", type=positive_int, nargs="+", default=[2000, 20000], help="networks")
    parser.add_argument("-folder", type=Path, help="where to write; otherwise a folder that is deleted in the end")
    parser.add_argument(
        "-first", type=positive_int, default=1, help="step to begin with, where the folder has the rest"
    )
    flags = parser.parse_args(argv)
    print(HEADER, flush=True)
    for size in flags.sizes:
        with nullcontext(flags.folder / str(size)) if flags.folder else TemporaryDirectory() as folder:
            measure(Path(folder), size, flags.first - 1)
    return 0


if __name__ == "__main__":
    run_script(main)
