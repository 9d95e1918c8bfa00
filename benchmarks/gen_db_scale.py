"""Time and peak memory of database building (gen_DB.py) as the number of networks grows.

Every size is sampled in equal parts from the five families, written to a temporary folder and made into a database in a
process of its own, from the caches to the saved file. The vocabulary is the shipped one unless another is named.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gen_DB  # noqa: E402
import gen_families  # noqa: E402
from model_src.cli import FlagParser, positive_int, run_script  # noqa: E402
from model_src.encoder.paths import vocabulary_files  # noqa: E402
from model_src.families import with_networks  # noqa: E402
from model_src.family_data import family_path  # noqa: E402

if TYPE_CHECKING:
    from model_src.encoder.segment_db import DatabaseStatistics

HEADER = f"{'networks':>9}{'seconds':>9}{'ms/network':>12}{'peak MB':>9}{'texts':>8}{'rows':>8}{'file MB':>9}"


def build(flags: Sequence[str], output: Path) -> tuple[float, float, "DatabaseStatistics"]:
    """Build a database; returns seconds, peak memory of this process in MB, and what the database holds."""
    from model_src.encoder.segment_db import SegmentDatabase

    start = time.perf_counter()
    gen_DB.main(flags)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds, peak, SegmentDatabase.open(output).statistics()


def measure(folder: Path, size: int, vocabulary: Sequence[str]) -> str:
    """A row of the table."""
    families, output = [row.name for row in with_networks()], folder / "database.pkl"
    for family in families:
        number, path = str(size // len(families)), str(family_path(family, folder))
        gen_families.main(["-family", family, "-num", number, "-output", path])
    flags = [*vocabulary, "-data_dir", str(folder), "-output", str(output)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh_process:
        seconds, peak, statistics = fresh_process.submit(build, flags, output).result()
    return (
        f"{size:>9}{seconds:>9.1f}{1000 * seconds / size:>12.2f}{peak:>9.0f}"
        f"{statistics.n_unique:>8}{statistics.n_rows:>8}{output.stat().st_size / 1e6:>9.2f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = FlagParser(__doc__.split("\n", 1)[0])
    files = vocabulary_files()
    parser.add_argument("-sizes", type=positive_int, nargs="+", default=[1000, 5000, 20000], help="networks in all")
    parser.add_argument("-encoder_path", default=str(files.encoder), help="encoder")
    parser.add_argument("-tokenizer_path", default=str(files.model), help="SentencePiece model")
    flags = parser.parse_args(argv)
    vocabulary = ["-encoder_path", flags.encoder_path, "-tokenizer_path", flags.tokenizer_path]
    rows = [HEADER]
    for size in flags.sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), size, vocabulary))
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    run_script(main)
