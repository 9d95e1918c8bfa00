"""Graphs, checkpoints and small data sets for the tests of the predictors."""

import gzip
import json
from dataclasses import asdict

import numpy as np
import torch

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import part_of, topological_order
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.predictor.checkpoint import Checkpoint
from model_src.predictor.data.batching import Pack
from model_src.predictor.data.blocks import Network, pack_splits
from model_src.predictor.data.packing import checked_features, edge_array, stack_features
from model_src.predictor.data.splits import split_bounds
from model_src.predictor.models import build_model
from model_src.predictor.settings import ModelConfig
from model_src.runtime import torch_seed
from tests.conftest import conv, regular

REGULAR_OPS = (("relu", 6), ("add", 9), ("concat", 11), ("mul", 10), ("fusedbatchnormv3", 5))


def random_graph(rng: np.random.Generator, n_nodes: int, name: str = "random") -> ComputeGraph:
    """A graph whose node indices have nothing to do with its topological order; sources lie at most 8 nodes back."""
    nodes, edges = [], []
    for position in range(n_nodes):
        if rng.random() < 0.25:
            nodes.append(conv(str(position), 8, 16, 16 * int(rng.integers(1, 4)), kernel=int(rng.integers(1, 6))))
        else:
            label, op = REGULAR_OPS[rng.integers(len(REGULAR_OPS))]
            nodes.append(regular(str(position), label, op, 2 ** int(rng.integers(6)), 16))
        if position:
            chosen = rng.integers(max(0, position - 8), position, size=rng.integers(1, 4))
            edges += [(int(source), position) for source in set(chosen.tolist())]
    order = rng.permutation(n_nodes)
    place = np.argsort(order)
    shuffled = [nodes[index] for index in order]
    moved = [(int(place[source]), int(place[target])) for source, target in edges]
    return ComputeGraph.from_nodes(name, (1, 8, 8, 16), shuffled, moved, DOMAIN_NORMALISERS)


def bounds_of(lengths: list[int]) -> list[tuple[int, int]]:
    """The splits that are not empty."""
    return [(start, stop) for start, stop in split_bounds(lengths) if start < stop]


def segments_of(cg: ComputeGraph, lengths: list[int]) -> list[list[int]]:
    """Segments of the given lengths."""
    order, ends = topological_order(cg), np.cumsum(lengths).tolist()
    return [order[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def parts_of(cg: ComputeGraph, bounds: list[tuple[int, int]]) -> list[tuple[ComputeGraph, ...]]:
    """P, S and C of every split as graphs of their own."""
    order = topological_order(cg)
    return [
        tuple(part_of(cg, nodes) for nodes in (order[:start], order[start:stop], order[stop:]))
        for start, stop in bounds
    ]


def packed(graphs: list[ComputeGraph], bounds: list[list[tuple[int, int]]], hops: int) -> Pack:
    """The splits of graphs as one pack."""
    features, rows = stack_features([checked_features(graph) for graph in graphs])
    merges = np.zeros(len(features.op), dtype=bool)
    networks = []
    for graph, own_rows, own_bounds in zip(graphs, rows, bounds, strict=True):
        merges[own_rows] = [node.operation.is_merge for node in graph.nodes]
        order = np.array(topological_order(graph))
        networks.append(Network(own_rows, edge_array(graph), order, np.array(own_bounds).reshape(-1, 2)))
    return pack_splits(features, merges, networks, hops)


def make_checkpoint(predictor_type: str, config: ModelConfig | None = None, seed: int = 0, **fields) -> Checkpoint:
    """An untrained predictor."""
    config = config or ModelConfig()
    with torch_seed(seed):
        model = build_model(predictor_type, config)
    defaults = {
        "iteration": 1,
        "model": model.state_dict(),
        "optimizer": torch.optim.Adam(model.parameters()).state_dict(),
        "best_eval_result": 0.5,
        "best_eval_iteration": 1,
        "predictor_type": predictor_type,
        "config": asdict(config),
        "target_normalisers": {},
        "selection": "srcc",
        "training": {},
    }
    return Checkpoint(**{**defaults, **fields})


def read_lines(path):
    """The JSON objects of a `.jsonl` or `.jsonl.gz` file."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def reference_networks(reference, family: str):
    """Graph and published numbers of the reference networks of a family."""
    states = [line["graph"] for line in read_lines(reference / "families" / f"{family}.jsonl.gz")]
    numbers = read_lines(reference / "numbers" / f"{family}.jsonl")
    return [(ComputeGraph.from_state_dict(states[entry["index"]]), entry) for entry in numbers]


def reference_bounds(entry: dict) -> list[tuple[int, int]]:
    """The splits that the published tokenizer makes of a reference network."""
    lengths = entry["pieces"]
    extra = sum(lengths) - entry["n_nodes"]  # models trained with a dummy prefix have a first piece too many
    return bounds_of(lengths[1:] if extra else lengths)
