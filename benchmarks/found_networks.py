"""What searches find, against their input, by training: two-stage and plain results, and controls of the same FLOPs.

Controls: the input with all widths scaled, and random mutants of any swaps. All in one table, three seeds each.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import measuring
from benchmarks.drawing import distinct, random_walks, scaled, trainable
from benchmarks.judge import VARIANTS, load_source
from benchmarks.measuring import EPOCHS, LABELS, accuracies, at_epochs, table_lines
from model_src.cli import FlagParser, positive_int, run_script
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.files import InputError, save_text
from model_src.search.config import MutatorFiles, SearchConfig
from model_src.search.result import SearchResult
from model_src.search.session import search

FAMILIES = ("two_path", "hiaml")
KINDS = {"two-stage": "caution 0.5", "plain": "plain"}  # the variants of `judge.py`
PER_SEARCH, N_SEEDS = 3, 3
BUDGETS = (4, EPOCHS, 16)  # epochs
DRAWS, LONGEST = 12_000, 20
NEAREST = 5  # mutants, by FLOPs, of which one is drawn


def networks(family: str, reference: Path) -> tuple[dict[str, ComputeGraph], dict[str, dict[str, float]]]:
    """The networks of a family by name, and what the searches say of theirs."""
    source = load_source(f"published {family}", reference)
    found: dict[str, ComputeGraph] = {"input": _trainable(source)}
    claims: dict[str, dict[str, float]] = {}
    for kind, variant in KINDS.items():
        result = _searched(source, family, variant)
        claims["input"] = claims.get("input", {}) | {kind: result.source.score}
        costs = np.array([one.found.mflops for one in result.networks])
        for target in np.linspace(costs.max(), costs.min(), PER_SEARCH):
            one = result.networks[int(np.abs(costs - target).argmin())]
            name = f"{kind} {one.rank} of {len(result.networks)}"
            found[name], claims[name] = one.graph, {kind: one.found.score}
    rng, mutator = np.random.default_rng(0), MutatorFiles(SearchConfig(family))()
    mutants = [cg for _, cg in distinct(random_walks(source, mutator, LONGEST, rng), DRAWS)]
    for name, cg in [item for item in found.items() if item[0].startswith("two-stage")]:
        macs = graph_macs(cg)
        found[f"scaled as {name}"] = scaled(found["input"], macs)
        nearest = sorted(mutants, key=lambda one: abs(graph_macs(one) - macs))[:NEAREST]
        found[f"mutant as {name}"] = nearest[int(rng.integers(NEAREST))]
    return found, claims


def _searched(source: ComputeGraph, family: str, variant: str) -> SearchResult:
    how = VARIANTS[variant]
    config = SearchConfig(
        family,
        how.predictor_path,
        epoch=10,
        rescore_per_iter=how.rescore_per_iter,
        min_flops_decrease_percent=-10,
        max_flops_decrease_percent=100,
    )
    return search(source, config)


def _trainable(cg: ComputeGraph) -> ComputeGraph:
    graph = trainable(cg)
    assert graph is not None
    return graph


def files_of(family: str) -> tuple[Path, Path, Path]:
    """The table of a family's trainings, what the searches claim, and the folder of the graphs."""
    table = LABELS / f"found_{family}.csv"
    return table, table.with_suffix(".json"), table.with_suffix("")


def kept_networks(family: str, reference: Path) -> tuple[dict[str, ComputeGraph], dict[str, dict[str, float]]]:
    """The networks, which are searched and drawn the first time, and what the searches say of theirs."""
    _, known, folder = files_of(family)
    if not known.exists():
        found, claims = networks(family, reference)
        measuring.keep_graphs(found, folder)
        entries = [{"name": name, "claims": claims.get(name, {})} for name in found]
        save_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n", known)
    entries = json.loads(known.read_text(encoding="utf-8"))
    names = [entry["name"] for entry in entries]
    return measuring.kept_graphs(names, folder), {entry["name"]: entry["claims"] for entry in entries}


def report(family: str, reference: Path) -> Iterator[str]:
    """The table of a family."""
    graphs, claims = kept_networks(family, reference)
    start = graph_macs(graphs["input"])
    for epochs in BUDGETS:
        measured = accuracies(at_epochs(files_of(family)[0], epochs))
        yield f"\n**{family}, {epochs} epochs**\n"
        rows = [_row(name, graphs[name], start, measured, claims) for name in graphs if name in measured]
        yield from table_lines(
            ("network", "× FLOPs", "claimed gain", "accuracy, %", "against the input", "seeds"), rows
        )


def _row(
    name: str,
    graph: ComputeGraph,
    start: int,
    measured: dict[str, list[float]],
    claims: dict[str, dict[str, float]],
) -> tuple[str, ...]:
    values = measured[name]
    gains = [f"{score - claims['input'][kind]:+.2f}" for kind, score in claims[name].items()] if name != "input" else []
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    change = f"{mean(values) - mean(measured['input']):+.2f}" if "input" in measured else ""
    return (
        name,
        f"{graph_macs(graph) / start:.2f}",
        "".join(gains),
        f"{mean(values):.2f}{deviation}",
        change,
        str(len(values)),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    parser = FlagParser(__doc__)
    measuring.add_measuring_flags(parser.add_argument)
    parser.add_argument("-family", choices=FAMILIES, default="two_path", help="of the input")
    parser.add_argument("-epochs", type=positive_int, default=EPOCHS, help="of a training")
    parser.add_argument("-seeds", type=positive_int, default=N_SEEDS, help="trainings of each network")
    parser.add_argument("-only", nargs="+", help="networks to train, by their names; all if not given")
    args = parser.parse_args(argv)
    found, _ = kept_networks(args.family, args.reference)
    if unknown := set(args.only or ()) - found.keys():
        raise InputError(f"-only: unknown networks {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    if not args.report:
        chosen = {name: cg for name, cg in found.items() if args.only is None or name in args.only}
        table = at_epochs(files_of(args.family)[0], args.epochs)
        measuring.train(chosen, table, args.seeds, args.n_jobs, args.data_dir, args.epochs)
    sys.stdout.write("\n".join(report(args.family, args.reference)) + "\n")
    return 0


if __name__ == "__main__":
    run_script(main)
