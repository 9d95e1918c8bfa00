import gzip
import json
import pickle

import pytest

from model_src.comp_graph.segment import cut_segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.segment_db import SegmentDatabase
from model_src.files import InputError
from tests.conftest import conv, regular


def content(segment):
    nodes = [{**node.state_dict(), "str_id": ""} for node in segment.graph.nodes]
    ports = segment.inputs, segment.input_shapes, segment.outputs
    return segment.text, nodes, segment.graph.edge_pairs, segment.graph.input_shape, ports


@pytest.fixture
def segments(tiny_graph):
    return [
        cut_segment(tiny_graph, [0, 2, 3], "def"),  # conv, relu, add: one in, one out
        cut_segment(tiny_graph, [2, 3], "ef"),  # relu and add read the same tensor: one in, one out
        cut_segment(tiny_graph, [0, 2], "de"),  # conv and relu both feed the add: one in, two out
        cut_segment(tiny_graph, [2], "e"),
    ]


def test_lookup_by_shapes_and_by_number_of_ports(segments):
    database = SegmentDatabase.from_segments(segments)
    wide, thin = (8, 8, 8), (8, 8, 3)
    assert [segment.text for segment in database.by_resolution([thin], [wide])] == ["def"]
    assert [segment.text for segment in database.by_resolution([thin], [wide, wide])] == ["de"]
    assert [segment.text for segment in database.by_resolution([wide], [wide])] == ["ef", "e"]
    assert [segment.text for segment in database.by_arity(1, 1)] == ["def", "ef", "e"]
    assert database.by_arity(2, 1) == ()
    assert database.by_resolution([(1, 2, 3)], []) == ()
    assert [content(segment) for segment in database.segments] == [content(segment) for segment in segments]


def test_answers_are_kept(segments):
    database = SegmentDatabase.from_segments(segments)
    answer = database.by_arity(1, 1)
    assert database.by_arity(1, 1) is answer
    assert database.by_resolution([(8, 8, 8)], [(8, 8, 8)])[0] is answer[1] is database.segments[1]


def two_ports(first, second):
    """Two relus side by side."""
    nodes = [regular("a", "relu", 6, *first), regular("b", "relu", 6, *second)]
    outside = [regular("i", "input", 1, *first), regular("j", "input", 1, *second), regular("o", "output", 2, *first)]
    cg = ComputeGraph.from_nodes("g", (), nodes + outside, [(2, 0), (3, 1), (0, 4), (1, 4)])
    return cut_segment(cg, [0, 1], "ab")


def test_shapes_match_in_any_order():
    database = SegmentDatabase.from_segments([two_ports((8, 16), (16, 4))])
    shapes = [[16, 16, 4], [8, 8, 16]]
    assert len(database.by_resolution(shapes, shapes[::-1])) == 1


def test_groups_come_by_full_resolution_and_rows_in_table_order():
    def one(label, h, c_out):
        cg = ComputeGraph.from_nodes("g", (), [conv(label, h, 4, c_out), regular("i", "input", 1, h, 4)], [(1, 0)])
        return cut_segment(cg, [0], label)

    rows = [one("b", 16, 8), one("c", 8, 8), one("a", 8, 4), one("d", 8, 4)]
    assert [segment.text for segment in SegmentDatabase.from_segments(rows).by_arity(1, 0)] == ["a", "d", "c", "b"]


def test_equal_nodes_are_shared_between_segments_but_not_within_one():
    database = SegmentDatabase.from_segments([two_ports((8, 16), (8, 16)), two_ports((8, 16), (4, 16))])
    first, second = (segment.graph.nodes for segment in database.segments)
    assert first[0] is second[0]
    assert first[0].digest == first[1].digest
    assert len({node.str_id for node in first}) == 2


def test_saved_form_is_plain_and_comes_back(tmp_path, segments):
    path = tmp_path / "database.pkl"
    database = SegmentDatabase.from_segments(segments)
    database.save(path)
    again = SegmentDatabase.open(path)
    assert [content(segment) for segment in again.segments] == [content(segment) for segment in segments]
    assert again.segments[0].graph.normalisers == database.segments[0].graph.normalisers
    assert again.statistics() == database.statistics()
    assert set(pickle.loads(path.read_bytes())) == {"format", "normalisers", "nodes", "rows"}


def test_statistics(segments):
    statistics = SegmentDatabase.from_segments([*segments, segments[0]]).statistics()
    assert (statistics.n_unique, statistics.n_rows) == (4, 5)
    assert (statistics.mean_nodes, statistics.max_nodes) == (2.0, 3)
    assert SegmentDatabase.from_segments([]).statistics().n_rows == 0


@pytest.mark.parametrize(
    "wrong", [{"format": "x"}, {"rows": []}, [1], {"format": "autogo segment database 1", "nodes": [], "rows": [1]}]
)
def test_other_files_are_refused(tmp_path, wrong):
    path = tmp_path / "database.pkl"
    path.write_bytes(pickle.dumps(wrong))
    with pytest.raises(InputError, match=f"{path}: not a segment database"):
        SegmentDatabase.open(path)


# ---- the published form ----


@pytest.fixture(scope="module")
def reference_rows(reference):
    with gzip.open(reference / "database" / "segments.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def published_database(reference):
    return SegmentDatabase.open(reference / "database" / "combined_segment_DB_res_ratio.pkl")


def node_content(resolution, strides, shape, metadata, *rest):
    tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in (metadata or {}).items()}
    return (*rest, tuple(resolution), strides and tuple(strides), shape and tuple(shape), sorted(tuples.items()))


def plain(segment):
    """Nodes and edges, nodes in the segment's order."""
    nodes = [
        node_content(n.resolution, n.strides, getattr(n, "shape", None), n.metadata, n.op_name, n.label, n.op_type_idx)
        for n in segment.graph.nodes
    ]
    return segment.text, nodes, set(segment.graph.edge_pairs)


def plain_row(row, key):
    nodes = sorted(row["nodes"], key=key)
    place = {node["id"]: position for position, node in enumerate(nodes)}
    fields = ("resolution", "strides", "shape", "metadata", "op_name", "label", "op_type_idx")
    contents = [node_content(*(node[field] for field in fields)) for node in nodes]
    return row["seg_str"], contents, {(place[source], place[target]) for source, target in row["edges"]}


def test_published_rows_come_back(published_database, reference_rows):
    segments = published_database.segments
    assert len(segments) == len(published_database) == 3387
    for segment, row in zip(segments, reference_rows, strict=True):
        assert plain(segment) == plain_row(row, lambda node: not node["type_idx"])
        assert (len(segment.inputs), len(segment.outputs)) == (row["num_inputs"], row["num_outputs"])
        assert sorted(map(list, segment.graph.input_shape)) == sorted(row["input_shape"])
    statistics = published_database.statistics()
    assert (statistics.n_unique, statistics.n_rows, statistics.max_nodes) == (814, 3387, 16)


def resolutions(text):
    return tuple(map(tuple, json.loads(text.replace("(", "[").replace(")", "]"))))


def test_published_index_is_the_specified_one(published_database, reference_rows):
    parsed = [(resolutions(row["res_in"]), resolutions(row["res_out"])) for row in reference_rows]
    expected = {}
    for number in sorted(range(len(parsed)), key=parsed.__getitem__):
        into, out = parsed[number]
        shapes = tuple(sorted(r[0::2] for r in into)), tuple(sorted(r[1::2] for r in out))
        expected.setdefault(shapes, []).append(number)
        expected.setdefault((len(into), len(out)), []).append(number)
    segments = published_database.segments
    for key, numbers in expected.items():
        look_up = published_database.by_arity if isinstance(key[0], int) else published_database.by_resolution
        found = look_up(*key)
        assert len(found) == len(numbers)
        assert all(segment is segments[number] for segment, number in zip(found, numbers, strict=True))


def test_rebuilding_gives_the_published_rows(encoder, tokenizer, family, reference_rows):
    from dataclasses import replace

    from model_src.encoder.segment_map import build_database

    graphs = [cg for name in ("hiaml", "inception", "nb101", "nb201", "two_path") for cg in family(name)[:40]]
    grown = replace(encoder, op2vocab=dict(encoder.op2vocab))  # as the published code does while it builds
    for cg in graphs:
        grown.learn(cg)
    segments = build_database(graphs, grown, tokenizer).segments
    assert len(segments) == len(reference_rows)
    for segment, row in zip(segments, reference_rows, strict=True):
        assert plain(segment)[1:] == plain_row(row, lambda node: node["id"])[1:]
        assert len(segment.text) == len(row["seg_str"])
