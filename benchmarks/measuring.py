"""What the scripts that train networks share: the budget, their networks and tables, statistics.

Every network is trained on the first 45,000 training images by the fast recipe, with the same budget in all tables. The
last 5,000 training images are for choices; the test images are for the tables that are printed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

import constants
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import save_pickle
from model_src.labels.table import LabelRow, read_rows
from model_src.predictor.training.metrics import spearman
from model_src.training.cifar10_data import CIFAR10_DIR, load_cifar10
from model_src.training.labels import Measurement, Subject, measure
from model_src.training.recipe import FastConfig

REFERENCE = constants.ROOT.parent / "shared" / "reference"
LABELS = constants.DATA_DIR / "labels"
EPOCHS = 8  # four turned out to punish deep networks: see docs/measured.md
HELD_OUT = 5000
N_RESAMPLES = 2000


def at_epochs(table: Path, epochs: int) -> Path:
    """The table for another number of epochs than the usual one."""
    return table if epochs == EPOCHS else table.with_stem(f"{table.stem}_{epochs}")


def train(
    networks: Mapping[str, ComputeGraph], table: Path, n_runs: int, n_jobs: int, data_dir: Path, epochs: int = EPOCHS
) -> None:
    """Train named networks, all with seed 0 first; what is in the table is not repeated."""
    recipe = FastConfig(epochs=epochs, epochs_per_test=epochs, held_out=HELD_OUT)
    subjects = [Subject(cg, name, canonical_hash(cg)) for name, cg in networks.items()]
    measure(subjects, Measurement(recipe, n_runs, n_jobs, partial(load_cifar10, data_dir)), table)


def rows_of(table: Path) -> list[LabelRow]:
    """The trainings of a table that did not fail; none where there is no table."""
    return [row for row in read_rows(table) if row.accuracy is not None] if table.exists() else []


def accuracies(table: Path) -> dict[str, list[float]]:
    """Name of a network -> accuracies on the test images (percent), in order of the seeds."""
    found: dict[str, list[float]] = {}
    for row in sorted(rows_of(table), key=lambda row: row.seed or 0):
        found.setdefault(row.config_hash, []).append(100 * (row.accuracy or 0.0))
    return found


def keep_graphs(networks: Mapping[str, ComputeGraph], folder: Path) -> None:
    """Write every network as `<name>.pkl`, with `_` for blanks."""
    for name, cg in networks.items():
        save_pickle(cg, _graph_path(folder, name))


def kept_graphs(names: Iterable[str], folder: Path) -> dict[str, ComputeGraph]:
    """Read networks that `keep_graphs` wrote."""
    return {name: load_cg(_graph_path(folder, name)) for name in names}


def _graph_path(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '_')}.pkl"


def resampled(statistic: Callable[[np.ndarray], float], count: int, seed: int = 0) -> np.ndarray:
    """A statistic of bootstrap samples, each given as positions; those that have no value are left out."""
    rng = np.random.default_rng(seed)
    values = np.array([statistic(rng.integers(count, size=count)) for _ in range(N_RESAMPLES)])
    return values[~np.isnan(values)]


def interval(values: np.ndarray) -> str:
    """The middle 95 % of bootstrap values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{low:.2f} to {high:.2f}"


def spearman_with_interval(first: Sequence[float], second: Sequence[float]) -> str:
    """Spearman's rank correlation and its 95 % bootstrap interval."""
    a, b = np.array(first), np.array(second)
    values = resampled(lambda chosen: spearman(a[chosen], b[chosen]), len(a))
    return f"{spearman(a, b):.2f} ({interval(values)})"


def table_lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def add_measuring_flags(add: Callable[..., Any]) -> None:
    """Add the flags that all these scripts have."""
    add("-report", action="store_true", help="train nothing, only print the tables of what is there")
    add("-n_jobs", type=int, default=2, help="trainings at a time")
    add("-data_dir", type=Path, default=CIFAR10_DIR, help="the images")
    add("-reference", type=Path, default=REFERENCE, help="folder of the published files")
