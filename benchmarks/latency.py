"""How long the input and the results of a search take, measured in turn: what disturbs the machine disturbs all alike.

    python benchmarks/latency.py outputs/FOLDER

It runs them where the search did (or by the flags), so many rounds, every round in the other order.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_src.comp_graph.load import load_cg
from model_src.profiling.runtimes import RUNTIME_NAMES, Runtime, usual_runtime
from model_src.profiling.timing import Timing, alternating
from model_src.search.result_folder import ResultFolder
from model_src.search.stored import stored_networks


def runtime_of(folder: ResultFolder, args: argparse.Namespace) -> Runtime:
    """Where the search of a folder measured, unless flags say otherwise."""
    stored = folder.load_details()["flags"]

    def chosen(name, usual):
        given = getattr(args, name)
        return stored.get(f"latency_{name}", usual) if given is None else given

    name = args.runtime or stored.get("latency_runtime") or usual_runtime()
    return Runtime(name, chosen("device", "cpu"), chosen("threads", 1), chosen("batch", 1))


def measured(folder: ResultFolder, runtime: Runtime, rounds: int) -> list[tuple[dict[str, str], Timing]]:
    """The rows of the input and of the results, each with its time."""
    source, found = stored_networks(folder)
    graphs = [load_cg(folder.input_path), *(one.graph() for one in found)]
    with ExitStack() as stack:
        runs = [stack.enter_context(runtime.prepared(cg)) for cg in graphs]
        return list(zip([source, *(one.row for one in found)], alternating(runs, rounds), strict=True))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("-rounds", type=int, default=200)
    parser.add_argument("-runtime", choices=RUNTIME_NAMES)
    parser.add_argument("-device")
    parser.add_argument("-threads", type=int)
    parser.add_argument("-batch", type=int)
    args = parser.parse_args()
    folder = ResultFolder(args.folder)
    runtime = runtime_of(folder, args)
    runtime.check()
    rows = measured(folder, runtime, args.rounds)
    print(f"{runtime.setting}; {args.rounds} rounds in turn")
    titles = ("rank", 5), ("MFLOPs", 9), ("change", 9), ("ms", 9), ("change", 9), ("±", 7), ("in the search", 14)
    print(" ".join(f"{title:>{width}}" for title, width in (*titles, ("accuracy", 9))))
    (source, first), *_ = rows
    for row, timing in rows:
        flops = 100 * (float(row["mflops"]) / float(source["mflops"]) - 1)
        told = row.get("latency_ms")
        print(
            f"{row['rank']:>5} {float(row['mflops']):9.1f} {flops:+8.1f}% {timing.ms:9.3f} "
            f"{100 * (timing.ms / first.ms - 1):+8.1f}% {100 * timing.spread:6.2f}% "
            f"{float(told) if told else float('nan'):14.3f} {row.get('accuracy') or '-':>9.5}"
        )


if __name__ == "__main__":
    main()
