"""Make a table of layers with their times for `-latency_table`, and say how well it estimates whole networks.

    python benchmarks/make_latency_table.py latency.csv -model_path architectures/nb201_best.pkl -search outputs/FOLDER

Timed are the layers of the inputs and of the segments in the database (`-most` of these, drawn at random), each alone
as the runtime runs it. With `-search` the table is held against 50 networks that the search scored as a whole, of 0.7
to 1.1 times the FLOPs of its input, measured in turn with that: rank correlation and error of the sum of layers, and of
FLOPs.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy.stats import spearmanr

from constants import CACHE_DIR
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segment_db import SegmentDatabase
from model_src.profiling.estimate import Estimate, learn, time_layers
from model_src.profiling.layers import different_layers
from model_src.profiling.meter import Meter, latency_meter
from model_src.profiling.remembered import Remembered
from model_src.profiling.runtimes import RUNTIME_NAMES, Runtime, usual_runtime
from model_src.profiling.stopwatch import Stopwatch
from model_src.profiling.table import write_table
from model_src.profiling.timing import SHORT
from model_src.search.objectives import FLOPS
from model_src.search.result_folder import ResultFolder
from model_src.search.stored import read_search

N_NETWORKS, SHARES = 50, (0.7, 1.1)


def layers_to_time(graphs: list[ComputeGraph], runtime: Runtime, most: int) -> list:
    """Nodes of all layers of the inputs, and of some of the database."""
    own = different_layers((node for cg in graphs for node in cg.nodes), runtime.fused)
    database = SegmentDatabase.open(vocabulary_files().database)
    nodes = (node for segment in database.segments for node in segment.graph.nodes)
    others = {layer: node for layer, node in different_layers(nodes, runtime.fused).items() if layer not in own}
    print(f"{len(own)} layers of the inputs, {len(others)} others of the database")
    rest = list(others.values())
    drawn = np.random.default_rng(0).permutation(len(rest))[:most]
    return [*own.values(), *(rest[at] for at in drawn)]


def networks_of(folder: ResultFolder) -> tuple[ComputeGraph, list[ComputeGraph]]:
    """The input of a search, and networks near it in FLOPs that it scored as a whole."""
    search = read_search(folder)
    found = [one for turn in search.turns for one in turn.rescored]
    source = FLOPS.measure(search.source)
    near = [one for one in found if SHARES[0] <= one.mflops / source <= SHARES[1]]
    drawn = np.random.default_rng(0).permutation(len(near))[:N_NETWORKS]
    return search.source, [near[at].graph for at in drawn]


def report(name: str, estimates: np.ndarray, measured: np.ndarray) -> None:
    """Print rank correlation and error; estimates are scaled so that the first one, the input's, is right."""
    scaled = estimates * measured[0] / estimates[0]
    error = np.abs(scaled[1:] / measured[1:] - 1)
    correlation = spearmanr(scaled[1:], measured[1:]).statistic
    print(f"{name:>28}: Spearman {correlation:.3f}, error {100 * np.median(error):.1f} % (median), "
          f"{100 * error.max():.1f} % (largest)")  # fmt: skip


def judge(folder: ResultFolder, meter: Meter, tables: dict[str, Estimate]) -> None:
    """Hold estimates against networks of a search."""
    source, graphs = networks_of(folder)
    usual = meter({"input": source})["input"]
    found = meter.beside(source, usual)({str(at): cg for at, cg in enumerate(graphs)})
    pairs = [(source, usual), *((cg, found[str(at)]) for at, cg in enumerate(graphs))]
    pairs = [(cg, ms) for cg, ms in pairs if not np.isnan(ms)]
    measured = np.array([ms for _, ms in pairs])
    spread = 100 * (measured.max() / measured.min() - 1)
    print(f"{len(pairs) - 1} networks, from the fastest to the slowest {spread:.0f} %")
    for name, estimate in tables.items():
        report(name, np.array([estimate.of_graph(cg) for cg, _ in pairs]), measured)
    report("FLOPs", np.array([FLOPS.measure(cg) for cg, _ in pairs]), measured)


def main() -> None:
    """Time layers, write the table, and judge it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("-model_path", nargs="+", default=())
    parser.add_argument("-most", type=int, default=2000, help="layers of the database")
    parser.add_argument("-search", help="folder of a search to judge the table by")
    parser.add_argument("-runtime", choices=RUNTIME_NAMES, default=usual_runtime())
    parser.add_argument("-device", default="cpu")
    parser.add_argument("-threads", type=int, default=1)
    parser.add_argument("-batch", type=int, default=1)
    args = parser.parse_args()
    runtime = Runtime(args.runtime, args.device, args.threads, args.batch)
    meter = latency_meter(runtime, None, CACHE_DIR / "costs")
    graphs = [load_cg(path) for path in args.model_path]
    watch = Meter(Stopwatch(runtime, SHORT), Remembered(f"{runtime.setting}, single layers", None, CACHE_DIR / "costs"))
    times = time_layers(layers_to_time(graphs, runtime, args.most), runtime.fused, watch)
    write_table(args.table, times, runtime.setting)
    print(f"{runtime.setting}: {len(times)} layers in {args.table}")
    if args.search:
        folder = ResultFolder(args.search)
        source = load_cg(folder.input_path)
        own = meter.estimate(source, meter({"input": source})["input"])
        judge(folder, meter, {"table": learn(times, runtime.fused), "layers of the input": own})


if __name__ == "__main__":
    main()
