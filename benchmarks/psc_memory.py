"""Time and peak memory of the PSC predictor's data and training: from the families' caches to a trained predictor.

Networks are sampled from the five families, about in the published proportions, and every step runs in a process of its
own. The training is one epoch with one split of every network: its data is that of all splits. The vocabulary is the
shipped one.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness import FAMILIES, write_families

import make_segment_predictor_cache_sa
import run_gpi_segment_predictor
import run_psc_segment
from model_src.cli import FlagParser, positive_int, run_script

SHARES = {"hiaml": 0.25, "inception": 0.05, "two_path": 0.25, "nb101_5k": 0.25, "nb201": 0.2}
HEADER = f"{'step':<40}{'seconds':>9}{'peak MB':>9}{'file MB':>9}"


def timed(main: Callable[[Sequence[str]], int], flags: Sequence[str]) -> tuple[float, float]:
    """Run a script in this process; returns seconds and the peak memory of the process in MB."""
    start = time.perf_counter()
    main(flags)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_fresh_process(main: Callable[[Sequence[str]], int], flags: Sequence[str]) -> tuple[float, float]:
    """What `timed` returns, in a process that has done nothing before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(timed, main, flags).result()


def row(step: str, measured: Sequence[tuple[float, float]], n_bytes: int) -> str:
    """A line of the table: the time of all runs of a step, and the largest memory of one."""
    seconds, peaks = zip(*measured, strict=True)
    return f"{step:<40}{sum(seconds):>9.1f}{max(peaks):>9.0f}{n_bytes / 1e6:>9.1f}"


def measure(folder: Path, size: int) -> list[str]:
    """The lines for one number of networks."""
    from model_src.predictor.data.psc_cache import load_cache

    write_families(folder, [round(size * SHARES[family]) for family in FAMILIES])
    cache, models = folder / "cache", folder / "models"
    steps = (
        ("run_psc_segment.py", run_psc_segment.main, ["-data_dir", str(folder)]),
        ("make_segment_predictor_cache_sa.py", make_segment_predictor_cache_sa.main, []),
    )
    rows = [f"{size} networks"]
    for name, main, flags in steps:
        before = set(cache.glob("*"))
        runs = [[*flags, "-data_family", family, "-cache_dir", str(cache)] for family in FAMILIES]
        measured = [in_fresh_process(main, run) for run in runs]
        rows.append(row(name, measured, sum(path.stat().st_size for path in set(cache.glob("*")) - before)))
    flags = ["-epochs", "1", "-epoch_samples", "1", "-num_workers", "1", "-device_str", "cpu"]
    flags += ["-cache_dir", str(cache), "-logs_dir", str(models), "-saved_models_dir", str(models)]
    measured = [in_fresh_process(run_gpi_segment_predictor.main, flags)]
    rows.append(row("run_gpi_segment_predictor.py", measured, sum(path.stat().st_size for path in models.glob("*.pt"))))
    rows.append(f"{sum(len(load_cache(path).selected) for path in cache.glob('*_s_ns*'))} splits")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = FlagParser(__doc__.split("\n", 1)[0])
    parser.add_argument("-sizes", type=positive_int, nargs="+", default=[20000], help="networks in all")
    lines = [HEADER]
    for size in parser.parse_args(argv).sizes:
        with tempfile.TemporaryDirectory() as folder:
            lines += measure(Path(folder), size)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    run_script(main)
