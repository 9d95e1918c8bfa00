"""Time of a search's iterations and of trainings for one and two processes, of the local pool and of Ray.

Ray is left out where it is not installed. What `docs/scaling.md` computes for more machines comes from these times.
"""

import logging
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from model_src.cli import FlagParser, positive_int, run_script  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.processes import Backend  # noqa: E402
from model_src.search.config import MutatorFiles, SearchConfig, workers_of  # noqa: E402
from model_src.search.report import pareto_rows  # noqa: E402
from model_src.search.run import Progress  # noqa: E402
from model_src.search.session import search  # noqa: E402
from model_src.training.image_data import ImageData  # noqa: E402
from model_src.training.labels import Measurement, Subject, trained_rows  # noqa: E402
from model_src.training.recipe import Execution, FastConfig  # noqa: E402

INPUT = ROOT / "architectures" / "nb201_best.pkl"
CONFIG = SearchConfig("nb201", min_flops_decrease_percent=-10, max_flops_decrease_percent=100)
N_TRAININGS, N_IMAGES = 4, 96


class Stopwatch:
    """Seconds of every iteration: until all parents are mutated, and from there to its end.

    `here` has the processor time of this process in each: what no other process does for it.
    """

    def __init__(self) -> None:
        self.mutating, self.rescoring, self.here = list[float](), list[float](), list[float]()
        self._last, self._last_here = time.perf_counter(), time.process_time()

    def __call__(self, now: Progress) -> None:
        """Note the time where a part of an iteration ends."""
        if now.is_over or now.parent == now.n_parents:
            part = self.rescoring if now.is_over else self.mutating
            part.append(time.perf_counter() - self._last)
            self._last = time.perf_counter()
        if now.is_over:
            self.here.append(time.process_time() - self._last_here)
            self._last_here = time.process_time()


def search_row(backend: Backend, n_jobs: int, iterations: int) -> tuple[str, object]:
    """A row of the table of searches, and what the search found."""
    config = replace(CONFIG, epoch=iterations, n_jobs=n_jobs, parallel_backend=backend.name)
    began = time.perf_counter()
    with workers_of(config) as workers:
        workers.prepare()
        start = time.perf_counter() - began
        watch = Stopwatch()
        result = search(load_cg(INPUT), config, on_progress=watch, workers=workers).whole()
    # The first iteration has one parent, and starts the second process.
    mutating, rescoring = mean(watch.mutating[1:]), mean(watch.rescoring[1:])
    parts = (mutating, rescoring, mutating + rescoring, mean(watch.here[1:]))
    row = f"| {backend.name} | {n_jobs} | {start:.1f} | {' | '.join(f'{part:.2f}' for part in parts)} |"
    return row, pareto_rows(result)


def made_up_images() -> ImageData:
    """As many as a short training needs."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (N_IMAGES, 3, 32, 32), np.uint8), rng.integers(0, 10, N_IMAGES)
    return ImageData(images, labels, images[:32], labels[:32])


def training_row(backend: Backend, n_jobs: int) -> str:
    """A row of the table of trainings."""
    graph, recipe = load_cg(INPUT), FastConfig(epochs=1, batch_size=32)
    subject = Subject(graph, "input", canonical_hash(graph))
    how = Measurement(recipe, N_TRAININGS, n_jobs, made_up_images, Execution("cpu"), backend)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        rows = list(trained_rows([subject], how, Path(folder) / "table.csv"))
        seconds = time.perf_counter() - began
    alone = mean(row.seconds or 0 for row in rows)
    return f"| {backend.name} | {n_jobs} | {seconds:.1f} | {alone:.1f} |"


def lines(iterations: int) -> Iterator[str]:
    """The tables."""
    backends = [Backend(), *([Backend("ray")] if find_spec("ray") else [])]
    began = time.perf_counter()
    mutator = MutatorFiles(CONFIG)()
    read = time.perf_counter() - began
    yield f"read: {read:.1f} s; travels once: {len(pickle.dumps(mutator)) / 1e6:.1f} MB; a network: "
    yield f"{len(pickle.dumps(load_cg(INPUT))) / 1e3:.0f} kB\n"
    yield "| backend | processes | start, s | mutations, s | rescoring, s | an iteration, s | here, processor s |"
    yield "|---|---|---|---|---|---|---|"
    fronts = []
    for backend in backends:
        for n_jobs in (1, 2):
            row, front = search_row(backend, n_jobs, iterations)
            fronts.append(front)
            yield row
    yield f"\nall results are equal: {all(front == fronts[0] for front in fronts)}\n"
    yield f"| backend | processes | {N_TRAININGS} trainings, s | one by itself, s |\n|---|---|---|---|"
    yield from (training_row(backend, n_jobs) for backend in backends for n_jobs in (1, 2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = FlagParser(__doc__.split("\n", 1)[0])
    parser.add_argument("-iterations", type=positive_int, default=6, help="of each search")
    flags = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    list(map(partial(print, flush=True), lines(flags.iterations)))
    return 0


if __name__ == "__main__":
    run_script(main)
