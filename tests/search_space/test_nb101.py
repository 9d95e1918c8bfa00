import gzip
import json

import numpy as np
import pytest

from model_src.comp_graph.tf_comp_graph_utils import parameter_count
from model_src.search_space import nb101
from tests.search_space.rebuild import content, figures, ops, reference_networks

LETTERS = dict(zip("ABP", nb101.OPS, strict=True))


def cell(interior, edges):
    """`A P`, `01 12` -> [ops, matrix]."""
    names = [nb101.INPUT, *(LETTERS[letter] for letter in interior), nb101.OUTPUT]
    matrix = [[0] * len(names) for _ in names]
    for source, target in edges.split():
        matrix[int(source)][int(target)] = 1
    return [names, matrix]


N5 = cell("PAPBA", "01 12 23 34 46 16 26 36 06")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (cell("", "01"), (36, 35, 876_928, 137_761_792)),
        (cell("APB", "01 12 23 14 24 34"), (108, 125, 1_451_797, 217_838_272)),
        (cell("AAP", "01 12 23 14 24 34"), (108, 125, 2_372_635, 352_910_464)),
        (cell("APBP", "01 02 13 23 15 25 34 45"), (153, 179, 1_741_589, 262_681_280)),
        (N5, (153, 188, 1_739_136, 265_688_064)),
        (cell("APBAP", "01 13 23 36 06 14 45"), (126, 134, 12_067_200, 1_781_928_960)),
        (cell("ABPA", "01 02 03 04 05 14 24 34 45"), (252, 287, 23_961_984, 3_543_536_640)),
    ],
)
def test_figures_of_known_configurations(config, expected):
    assert figures(nb101.build(config, "net")) == expected


def test_operations_of_a_network():
    counts = ops(nb101.build(N5, "net"))
    assert (counts["conv2d"], counts["add"] + counts["addn"], counts["concat"], counts["maxpool"]) == (37, 9, 9, 20)
    assert counts["identity"] == 0


def test_every_reference_network_is_rebuilt(reference):
    for config, expected in reference_networks(reference, "nb101"):
        assert content(nb101.build(config, "net")) == content(expected), config


def test_channels_of_the_vertices():
    _, matrix = cell("APB", "01 12 23 14 24 34")
    assert nb101.vertex_channels(matrix, 128) == [0, 43, 43, 42, 0]


def test_a_narrower_vertex_reads_the_first_channels():
    cg = nb101.build(cell("APB", "01 12 23 14 24 34"), "net")
    truncated = [
        (source, target)
        for source, target in cg.edge_pairs
        if cg.nodes[source].out_shape[2] > cg.nodes[target].in_shape[2] and cg.nodes[target].label == "conv2d"
    ]
    assert truncated
    assert all(cg.nodes[target].shape[0] == cg.nodes[target].in_shape[2] for _, target in truncated)


def test_pruning():
    names, matrix = cell("APB", "01 14 02 34")
    assert nb101.prune(names, matrix) == (["input", LETTERS["A"], "output"], [[0, 1, 0], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (cell("A", "01"), "no path leads"),
        ([["input", "conv3x3", "output"], [[0] * 3] * 3], "a NAS-Bench-101 cell is"),
        ([["input", "output"], [[0, 1], [1, 0]]], "strictly upper triangular"),
        ([["input", "output"], [[0, 1]]], "2x2"),
    ],
)
def test_other_configs_are_refused(config, reason):
    with pytest.raises(ValueError, match=reason):
        nb101.build(config, "net")


def test_isomorphic_cells_have_one_hash():
    first, second = cell("AB", "01 02 13 23"), cell("BA", "01 02 13 23")
    assert nb101.cell_hash(*first) == nb101.cell_hash(*second)
    assert nb101.cell_hash(*first) != nb101.cell_hash(*cell("AA", "01 02 13 23"))
    assert nb101.cell_hash(*cell("ABP", "01 02 14 24 03")) == nb101.cell_hash(*first)


def test_hashes_and_parameters_of_the_benchmark(reference):
    with gzip.open(reference / "labels" / "nb101_1000_cells.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) > 800
    assert all(nb101.cell_hash(row["ops"], row["adjacency"]) == row["key"] for row in rows)
    for row in rows[::20]:
        assert parameter_count(nb101.build([row["ops"], row["adjacency"]], "net")) == row["parameters"]


def test_samples_are_valid_cells():
    draws = [nb101.sample(np.random.default_rng(seed)) for seed in range(100)]
    assert draws == [nb101.sample(np.random.default_rng(seed)) for seed in range(100)]
    for names, matrix in draws:
        assert nb101.prune(names, matrix) == (names, matrix)
        assert sum(map(sum, matrix)) <= nb101.MAX_EDGES
    assert sum(len(names) == 7 for names, _ in draws) > 60
