"""The published segment database: its rows, its two look-ups, and the same rows built anew."""

import ast
from dataclasses import replace

import pytest

from model_src.encoder.segment_db import SegmentDatabase
from model_src.encoder.segment_map import build_database
from tests.conformance.cases import FAMILIES, read_lines

N_ROWS = 3387


@pytest.fixture(scope="module")
def rows(reference):
    return list(read_lines(reference / "database" / "segments.jsonl.gz"))


@pytest.fixture(scope="module")
def database(reference):
    return SegmentDatabase.open(reference / "database" / "combined_segment_DB_res_ratio.pkl")


def node_content(resolution, strides, shape, metadata, *rest):
    tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in (metadata or {}).items()}
    return (*rest, tuple(resolution), strides and tuple(strides), shape and tuple(shape), sorted(tuples.items()))


def content(segment):
    """Nodes and edges, nodes in the segment's order."""
    nodes = [
        node_content(n.resolution, n.strides, getattr(n, "shape", None), n.metadata, n.op_name, n.label, n.op_type_idx)
        for n in segment.graph.nodes
    ]
    return nodes, set(segment.graph.edge_pairs)


def row_content(row, key):
    """The same of a published row, nodes sorted by `key`."""
    nodes = sorted(row["nodes"], key=key)
    place = {node["id"]: position for position, node in enumerate(nodes)}
    fields = ("resolution", "strides", "shape", "metadata", "op_name", "label", "op_type_idx")
    contents = [node_content(*(node[field] for field in fields)) for node in nodes]
    return contents, {(place[source], place[target]) for source, target in row["edges"]}


def test_every_row_is_read(database, rows, agreement):
    outcomes = {}
    for number, (segment, row) in enumerate(zip(database.segments, rows, strict=True)):
        outcomes[number] = (
            (segment.text, *content(segment)) == (row["seg_str"], *row_content(row, lambda node: not node["type_idx"]))
            and (len(segment.inputs), len(segment.outputs)) == (row["num_inputs"], row["num_outputs"])
            and sorted(map(list, segment.graph.input_shape)) == sorted(row["input_shape"])
        )
    agreement("database rows", outcomes)
    assert len(outcomes) == len(database) == N_ROWS
    statistics = database.statistics()
    assert (statistics.n_unique, statistics.n_rows, statistics.max_nodes) == (814, N_ROWS, 16)


def test_both_look_ups_find_the_same_rows_in_the_same_order(database, rows, agreement):
    parsed = [tuple(tuple(map(tuple, ast.literal_eval(row[key]))) for key in ("res_in", "res_out")) for row in rows]
    expected = {}
    for number in sorted(range(len(parsed)), key=parsed.__getitem__):
        into, out = parsed[number]
        shapes = tuple(sorted(r[0::2] for r in into)), tuple(sorted(r[1::2] for r in out))
        expected.setdefault(shapes, []).append(number)
        expected.setdefault((len(into), len(out)), []).append(number)
    place = {segment: number for number, segment in enumerate(database.segments)}
    outcomes = {}
    for key, numbers in expected.items():
        found = (database.by_arity if isinstance(key[0], int) else database.by_resolution)(*key)
        outcomes[key] = [place[segment] for segment in found] == numbers
    agreement("database look-ups", outcomes)


def test_building_it_anew_gives_the_same_rows(encoder, tokenizer, family, rows, agreement):
    graphs = [cg for name in FAMILIES for cg in family(name)[:40]]
    grown = replace(encoder, op2vocab=dict(encoder.op2vocab))  # as the published code does while it builds
    for cg in graphs:
        grown.learn(cg)
    segments = build_database(graphs, grown, tokenizer).segments
    outcomes = {}
    for number, (segment, row) in enumerate(zip(segments, rows, strict=True)):
        same_length = len(segment.text) == len(row["seg_str"])
        outcomes[number] = same_length and content(segment) == row_content(row, lambda node: node["id"])
    agreement("database rows, built anew", outcomes)
