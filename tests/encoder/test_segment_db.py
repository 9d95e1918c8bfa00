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
    """Two relus side by side, given by (H, C) of their square maps."""
    nodes = [regular("a", "relu", 6, *first), regular("b", "relu", 6, *second)]
    outside = [regular("i", "input", 1, *first), regular("j", "input", 1, *second), regular("o", "output", 2, *first)]
    cg = ComputeGraph.from_nodes("g", (), nodes + outside, [(2, 0), (3, 1), (0, 4), (1, 4)])
    return cut_segment(cg, [0, 1], "ab")


def test_shapes_match_in_any_order():
    database = SegmentDatabase.from_segments([two_ports((8, 16), (16, 4))])
    shapes = [[16, 16, 4], [8, 8, 16]]
    assert len(database.by_resolution(shapes, shapes[::-1])) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_ports_in_any_order_are_found_under_one_key(turned):
    """Inputs and outputs whose nodes come larger map first, or smaller map first."""
    first, second = [(16, 4), (8, 16)][:: -1 if turned else 1]
    database = SegmentDatabase.from_segments([two_ports(first, second)])
    small, large = (8, 8, 16), (16, 16, 4)
    for inputs in ([small, large], [large, small]):
        for outputs in ([small, large], [large, small]):
            assert len(database.by_resolution(inputs, outputs)) == 1
    assert not database.by_resolution([small, small], [small, large])
    assert not database.by_resolution([small, large], [large, large])


def test_height_and_width_are_told_apart():
    cg = ComputeGraph.from_nodes(
        "wide", (1, 4, 8, 2), [regular("i", "input", 1, 4, 2, w=8), regular("r", "relu", 6, 4, 2, w=8)], [(0, 1)]
    )
    database = SegmentDatabase.from_segments([cut_segment(cg, [1], "r")])
    assert len(database.by_resolution([(4, 8, 2)], [])) == 1
    assert not database.by_resolution([(8, 4, 2)], [])


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
