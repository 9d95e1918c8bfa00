"""Tables of accuracies and folders of searches: well-formed files as data, their loaders, what must hold."""

from argparse import Namespace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.segment import cut_segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import graph_macs
from model_src.propagation.milp import Statistics
from model_src.search.children import Rating, Swap
from model_src.search.journal import Brought, Journal, Turn
from model_src.search.pareto import Individual, Origin
from model_src.search.result_folder import ResultFolder
from model_src.search.run import with_run_normalisers
from tests.fuzz.judge import judge
from tests.fuzz.small import small
from tests.fuzz.target import Target, as_gzip, as_pickle, as_table, filled

SIZES = ("h_in", "w_in", "c_in", "h_out", "w_out", "c_out", "k_h", "k_w", "s_h", "s_w", "groups")


def labels_trees() -> list[Any]:
    from model_src.labels.table import MEASURED_COLUMNS

    row = ["a1", "b1", "0.9", "train", "5", "0", "0.3", "100", "32", "1.5", "cpu", "", "published", "0.8"]
    return [[["config_hash", "acc"], ["a", "91.5"], ["b", "90"]], [list(MEASURED_COLUMNS), row]]


def load_labels(path: Path) -> Any:
    from model_src.labels.table import read_label_table

    return read_label_table(path)


def judge_labels(found: dict[str, float]) -> None:
    assert all(0 <= value <= 1 for value in found.values())


def measured_trees() -> list[Any]:
    return [[["hash", "measured", "swaps"], ["a", "91.5", "2"], ["b", "", "0"]]]


def load_measured(path: Path) -> Any:
    from model_src.search.measuring import read_measured

    return {one.identity: one.accuracy for one in read_measured(path)}


def costs_trees() -> list[Any]:
    return [[["hash", "input", "cost", "spread", "runs", "setting"], ["a", "8x8x3", "1.5", "0.01", "8", "here"]]]


def load_costs(path: Path) -> Any:
    from model_src.profiling.remembered import Remembered

    return Remembered("here", path).get("a,8x8x3")


def judge_cost(found: float | None) -> None:
    assert found is None or np.isnan(found) or 0 <= found < np.inf


def layers_trees() -> list[Any]:
    conv = ["conv", "8", "8", "3", "8", "8", "4", "3", "3", "1", "1", "1", "0.25"]
    return [[["operation", *SIZES, "ms"], conv, ["add", *"8848840011", "1", "0.01"]]]


def load_layers(path: Path) -> Any:
    from model_src.profiling.estimate import learn
    from model_src.profiling.table import read_table

    return learn(read_table(path), frozenset()).of_graph(small())


def load_flags(path: Path) -> Any:
    return ResultFolder.load_params(path)


def as_flags(tree: Any) -> bytes:
    return as_pickle(filled(Namespace, tree))


def flags_trees() -> list[Any]:
    return [{"epoch": 3, "model_path": "a.pkl", "export": ["onnx"], "seed": 0, "device_str": None, "no_drawings": True}]


def load_front(path: Path) -> Any:
    from model_src.search.stored import stored_networks

    return stored_networks(ResultFolder(path.parent))


def front_trees() -> list[Any]:
    return [
        [
            ["rank", "iteration", "hash", "score", "mflops", "file"],
            ["input", "0", "ab", "0.5", "10", ""],
            ["0", "2", "cd", "0.6", "8", "rank_0.pkl"],
        ]
    ]


@cache
def input_network() -> Individual:
    """The input of the search whose iteration is read."""
    source = with_run_normalisers(small())
    return Individual(
        lambda: source, canonical_hash(source), 0.5, 0.5, (graph_macs(source) / 1e6,), graph_macs(source) / 1e6, 0, 0.5
    )


def iteration_trees() -> list[Any]:
    """An iteration that brought a network with another activation."""
    source, other = input_network(), small(activation="relu6")
    (index,) = (index for index, node in enumerate(other.nodes) if node.operation.name == "relu6")
    swap = Swap((index,), cut_segment(other, [index], "\u4e00"), (0,), (0,))
    origin = Origin(source, swap, "a")
    identity = canonical_hash(swap.apply(source.graph, "a"))
    rating = Rating(0.7, 0.1, (0.6, 0.8), 0.5, np.ones(3, np.float32))
    child = Individual(small, identity, 0.7, 0.65, source.costs, source.mflops, 1, 0.6, origin, rating)
    with TemporaryDirectory() as folder:
        kept = ResultFolder(folder)
        Journal(kept).append(Turn(1, [Brought(3, 1, Statistics(), [(0.7, 0.1)], [child])], [child], 1.5, 0.5))
        return [content for _, content in kept.iterations()]


def load_iteration(path: Path) -> Any:
    with TemporaryDirectory() as folder:
        kept = ResultFolder(folder)
        kept.save_iteration(1, {})
        (place,) = Path(folder).rglob("*.json.gz")
        place.write_bytes(path.read_bytes())
        (turn,) = Journal(kept).turns(input_network())
    children = (*turn.rescored, *(child for brought in turn.mutations for child in brought.children))
    return [child.graph for child in children]  # which are made when they are asked for


def judge_graphs(graphs: list[ComputeGraph]) -> None:
    for graph in graphs[:3]:
        judge(graph)


def targets() -> dict[str, Target]:
    return {
        "labels": Target(".csv", labels_trees, as_table, load_labels, judge_labels, share=2),
        "measured": Target(".csv", measured_trees, as_table, load_measured, judge_labels, share=2),
        "costs": Target(".csv", costs_trees, as_table, load_costs, judge_cost),
        "latency_table": Target(".csv", layers_trees, as_table, load_layers, judge_cost),
        "flags": Target(".pkl", flags_trees, as_flags, load_flags, share=2),
        "front": Target("pareto.csv", front_trees, as_table, load_front, share=2),
        "iteration": Target(".json.gz", iteration_trees, as_gzip, load_iteration, judge_graphs),
    }
