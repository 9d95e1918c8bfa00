"""Processor time and peak memory of database building (gen_DB.py) as the number of networks grows.

Every size is sampled in equal parts from the families, written to a temporary folder and made into a database, each in
a process of its own. The vocabulary is the shipped one unless another is named. `-families nb101 -sharded` measures
what a family past memory takes.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gen_DB  # noqa: E402
import gen_families  # noqa: E402
from model_src.cli import FlagParser, positive_int, run_script  # noqa: E402
from model_src.encoder.paths import vocabulary_files  # noqa: E402
from model_src.families import parse_families, with_networks  # noqa: E402
from model_src.family_data import family_path  # noqa: E402

if TYPE_CHECKING:
    from model_src.encoder.segment_db import DatabaseStatistics

HEADER = (
    f"{'networks':>9}{'sample s':>10}{'peak MB':>9}{'caches MB':>11}{'build s':>9}{'ms/network':>12}{'peak MB':>9}"
    f"{'texts':>8}{'rows':>8}{'file MB':>9}{'open s':>8}"
)


def timed(main: Callable[[Sequence[str]], int], flags: Sequence[str]) -> tuple[float, float]:
    """Run a script; returns seconds of the processor, and the peak memory of this process in MB."""
    start = time.process_time()
    main(flags)
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(main: Callable[[Sequence[str]], int], flags: Sequence[str]) -> tuple[float, float]:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh_process:
        return fresh_process.submit(timed, main, flags).result()


def opened(path: Path) -> tuple[float, "DatabaseStatistics"]:
    """Seconds of the processor that a database takes to open, the least of three times, and what it holds."""
    from model_src.encoder.segment_db import SegmentDatabase

    seconds = []
    for _ in range(3):
        start = time.process_time()
        database = SegmentDatabase.open(path)
        seconds.append(time.process_time() - start)
    return min(seconds), database.statistics()


def build(flags: Sequence[str], output: Path) -> tuple[float, float, "DatabaseStatistics"]:
    """Build a database; returns seconds, peak memory of this process in MB, and what the database holds."""
    start = time.perf_counter()
    _, peak = timed(gen_DB.main, flags)
    return time.perf_counter() - start, peak, opened(output)[1]


def measure(folder: Path, size: int, families: Sequence[str], form: Sequence[str], how: Sequence[str]) -> str:
    """A row of the table.

    Args:
        folder: Where everything is written.
        size: Networks in all.
        families: What they are of.
        form: Flags that say how they are written.
        how: Flags of gen_DB.py.
    """
    number, output, caches = str(size // len(families)), folder / "database.pkl", folder / "caches"
    samples = []
    for family in families:
        path = str(family_path(family, caches))
        samples.append(alone(gen_families.main, ["-family", family, "-num", number, "-output", path, *form]))
    on_disk = sum(path.stat().st_size for path in caches.rglob("*") if path.is_file()) / 1e6
    flags = [*how, "-families", "+".join(families), "-data_dir", str(caches), "-output", str(output)]
    seconds, peak = alone(gen_DB.main, flags)
    open_seconds, statistics = opened(output)
    return (
        f"{size:>9}{sum(sample[0] for sample in samples):>10.1f}{max(sample[1] for sample in samples):>9.0f}"
        f"{on_disk:>11.1f}{seconds:>9.1f}{1000 * seconds / size:>12.2f}{peak:>9.0f}"
        f"{statistics.n_unique:>8}{statistics.n_rows:>8}{output.stat().st_size / 1e6:>9.2f}{open_seconds:>8.2f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = FlagParser(__doc__.split("\n", 1)[0])
    files = vocabulary_files()
    parser.add_argument("-sizes", type=positive_int, nargs="+", default=[1000, 5000, 20000], help="networks in all")
    parser.add_argument("-encoder_path", default=str(files.encoder), help="encoder")
    parser.add_argument("-tokenizer_path", default=str(files.model), help="SentencePiece model")
    names = "+".join(row.name for row in with_networks())
    parser.add_argument("-families", default=names, help="families to sample from")
    parser.add_argument("-sharded", action="store_true", help="write shards")
    parser.add_argument("-n_jobs", default="1", help="processes that cut shards")
    flags = parser.parse_args(argv)
    how = ["-encoder_path", flags.encoder_path, "-tokenizer_path", flags.tokenizer_path, "-n_jobs", flags.n_jobs]
    families, form = parse_families(flags.families), ["-sharded"] * flags.sharded
    print(HEADER, flush=True)
    for size in flags.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder), size, families, form, how), flush=True)
    return 0


if __name__ == "__main__":
    run_script(main)
