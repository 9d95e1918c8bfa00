"""Is a short training a fair judge? NAS-Bench-201 cells whose accuracies after 200 epochs are known, trained briefly.

24 cells evenly over measured accuracies from 86 to 94.4 %; the first eight of them cover the range, too. Then how much
the seed matters, and what fewer and more epochs change.
"""

import csv
import gzip
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import measuring
from benchmarks.measuring import EPOCHS, LABELS, accuracies, at_epochs, spearman_with_interval, table_lines
from model_src.cli import FlagParser, run_script
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream
from model_src.predictor.training.metrics import spearman
from model_src.search_space import nb201

N_CELLS, LOWEST, HIGHEST = 24, 86.0, 94.37
FIRST = 8  # cells that are trained first, also with fewer and more epochs
OTHERS = (4, 16)  # epochs
N_SEEDS = 4  # of one network, for the noise
CELLS, PAIRS = LABELS / "budget_nb201.csv", LABELS / "budget_pairs.csv"
# Published pairs: input and found, with the accuracies of the paper's Table 2 (200 epochs).
PUBLISHED = {"hiaml": (92.32, 92.75), "nb201": (93.50, 93.84)}


def cells(reference: Path) -> dict[str, float]:
    """Architecture string -> known test accuracy (percent): cells without `none`, the one nearest to every target."""
    path = reference / "labels" / "nb201_cifar10_test_accuracy.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        known = {row["architecture"]: float(row["test_accuracy_percent"]) for row in csv.DictReader(file)}
    left = {name: accuracy for name, accuracy in known.items() if "none" not in name}
    chosen = {}
    for target in np.linspace(LOWEST, HIGHEST, N_CELLS).tolist():
        name = min(left, key=lambda name: (abs(left[name] - target), name))
        chosen[name] = left.pop(name)
    names, step = list(chosen), N_CELLS // FIRST
    return {names[at]: chosen[names[at]] for start in (1, 0, 2) for at in range(start, N_CELLS, step)}


def networks(names: Sequence[str]) -> dict[str, ComputeGraph]:
    """The networks of cells."""
    return {name: nb201.build(nb201.config_of(name), nb201.network_name(nb201.config_of(name))) for name in names}


def pairs(reference: Path) -> dict[str, ComputeGraph]:
    """The published inputs and what was found from them."""
    folder = reference / "published" / "architectures"
    found = {}
    for family in PUBLISHED:
        for kind, path in (("input", f"{family}_best.pkl"), ("found", f"samples/{family}/best_autogo.pkl")):
            cg = load_cg(folder / path)
            found[f"{family} {kind}"] = correct_cg_for_downstream(cg, *cg.input_shape[1:])
    return found


def report(reference: Path) -> Iterator[str]:
    """The tables."""
    known = cells(reference)
    short = _first_run(CELLS)
    names = sorted(short, key=known.__getitem__)
    yield f"\n**{len(short)} of {N_CELLS} cells**\n"
    others = {epochs: _first_run(at_epochs(CELLS, epochs)) for epochs in OTHERS}
    rows = [
        (
            f"`{name}`",
            f"{known[name]:.2f}",
            *(f"{one[name]:.2f}" if name in one else "" for one in (short, *others.values())),
        )
        for name in names
    ]
    yield from table_lines(("cell", "benchmark, 200 epochs", *(f"{n} epochs" for n in (EPOCHS, *OTHERS))), rows)
    if len(short) > 2:
        yield f"\nSpearman: {spearman_with_interval([known[name] for name in names], [short[name] for name in names])}"
    for epochs, found in others.items():
        if len(both := [name for name in names if name in found]) > 2:
            benchmark, brief, long = (np.array([one[name] for name in both]) for one in (known, short, found))
            yield (
                f"\n{epochs} epochs, {len(both)} cells: Spearman with the benchmark {spearman(benchmark, long):.2f}"
                f" (the same cells at {EPOCHS} epochs: {spearman(benchmark, brief):.2f}), with {EPOCHS} epochs"
                f" {spearman(brief, long):.2f}"
            )
    noise = next((values for values in accuracies(CELLS).values() if len(values) > 1), [])
    if noise:
        yield f"\nOne network, {len(noise)} seeds: {mean(noise):.2f} ± {stdev(noise):.2f} %"
    yield "\n**Published pairs** (paper: 200 epochs)\n"
    yield from table_lines(("network", "seeds", "accuracy, %", "paper, %"), map(_pair_row, accuracies(PAIRS).items()))


def _first_run(table: Path) -> dict[str, float]:
    return {name: values[0] for name, values in accuracies(table).items()}


def _pair_row(item: tuple[str, list[float]]) -> tuple[str, int, str, str]:
    (name, values), (family, kind) = item, item[0].split()
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return name, len(values), f"{mean(values):.2f}{deviation}", f"{PUBLISHED[family][kind == 'found']:.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    parser = FlagParser(__doc__)
    measuring.add_measuring_flags(parser.add_argument)
    parser.add_argument(
        "-part", choices=("first", "all", "others", "pairs", "noise"), default="all", help="what to train"
    )
    args = parser.parse_args(argv)
    names, how = list(cells(args.reference)), (args.n_jobs, args.data_dir)
    if not args.report:
        if args.part == "noise":
            measuring.train(networks(names[4:5]), CELLS, N_SEEDS, *how)
        elif args.part == "others":
            for epochs in OTHERS:
                measuring.train(networks(names[:FIRST]), at_epochs(CELLS, epochs), 1, *how, epochs)
        elif args.part == "pairs":
            measuring.train(pairs(args.reference), PAIRS, 3, *how)
        else:
            measuring.train(networks(names[: FIRST if args.part == "first" else None]), CELLS, 1, *how)
    sys.stdout.write("\n".join(report(args.reference)) + "\n")
    return 0


if __name__ == "__main__":
    run_script(main)
