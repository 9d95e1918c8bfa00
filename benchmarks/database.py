"""Building a segment database of 1,000 networks per family, and the search's time per iteration as databases grow."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from gen_db_scale import build
from harness import (
    FAMILIES,
    Row,
    learn_vocabulary,
    run,
    seconds_of,
    shipped_mutator,
    shipped_network,
    write_families,
)

if TYPE_CHECKING:
    from model_src.encoder.paths import VocabularyFiles

SIZES = (200, 1000, 4000)  # networks per family
ITERATIONS, REPEATS = 3, 3
PUBLISHED_MS = 150  # per network at 200 networks, and growing


def _iteration(files: "VocabularyFiles", database: Path) -> float:
    """Seconds per iteration of a short search, in this process."""
    from model_src.search.config import SearchConfig
    from model_src.search.session import search
    from model_src.search.workers import Workers

    config = SearchConfig(
        "nb201",
        epoch=ITERATIONS,
        top_k=3,
        min_flops_decrease_percent=-10,
        max_flops_decrease_percent=100,
        rescore_per_iter=0,
    )
    mutator = shipped_mutator(files=files, database=database)
    with Workers(lambda: mutator, 1) as workers:
        return seconds_of(lambda: search(shipped_network(), config, workers=workers)) / ITERATIONS


def measure() -> list[Row]:
    """Networks are drawn and written before; building goes from the caches to the saved file, in a fresh process."""
    building, searching, files = {}, {}, None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size in SIZES:
            write_families(folder, size)
            files = files or learn_vocabulary(folder)
            database, count = folder / f"{size}.pkl", size * len(FAMILIES)
            flags = ["-data_dir", str(folder), "-output", str(database)]
            flags += ["-encoder_path", str(files.encoder), "-tokenizer_path", str(files.model)]
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh_process:
                seconds, _, statistics = fresh_process.submit(build, flags, database).result()
            building[count] = 1e3 * seconds / count
            searching[f"{count:,} networks ({statistics.n_rows:,} rows)"] = [
                _iteration(files, database) for _ in range(REPEATS)
            ]
    first, *_, last = (min(seconds) for seconds in searching.values())
    return [
        *(
            Row(f"`gen_DB.py`, {count:,} networks, per network", "ms", (ms,), PUBLISHED_MS / 50, published=PUBLISHED_MS)
            for count, ms in building.items()
        ),
        *(
            Row(f"one iteration (3 parents), database of {words}", "s", tuple(seconds))
            for words, seconds in searching.items()
        ),
        Row("the same: last against first", "×", (last / first,), 2),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
