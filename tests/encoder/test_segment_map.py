import gc
import random
from types import SimpleNamespace

import networkx as nx
import pytest

from model_src.comp_graph.nx_bridge import cg_to_nx
from model_src.comp_graph.segment import cut_segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segment_map import SegmentMap, build_database
from model_src.encoder.segmentation import Segmenter, segment_with_text
from model_src.files import InputError
from tests.conftest import conv, regular


def shuffled(cg, seed):
    """The same network with its nodes numbered otherwise (weighted nodes stay in front)."""
    order = list(range(cg.n_nodes))
    random.Random(seed).shuffle(order)
    place = {index: new for new, index in enumerate(order)}
    edges = [(place[source], place[target]) for source, target in cg.edge_pairs]
    return ComputeGraph.from_nodes("other", cg.input_shape, [cg.nodes[i] for i in order], edges, cg.normalisers)


def fork(h=8, swapped=False, strides=1):
    """Two branches (a 3x3 and a 1x1 convolution) that meet in an add."""
    branches = [conv("a", h, 8, 8, kernel=3, stride=strides), conv("b", h, 8, 8, kernel=1, stride=strides)]
    nodes = [*(branches[::-1] if swapped else branches), regular("add", "add", 9, h, 8)]
    return ComputeGraph.from_nodes("fork", (1, h, h, 8), nodes, [(0, 2), (1, 2)])


def test_one_segment_of_each_kind_is_kept():
    segments = SegmentMap()
    assert segments.add(fork(), [0, 1, 2], "xyz")
    assert not segments.add(fork(), [0, 1, 2], "xyz")
    assert not segments.add(fork(), [1, 0, 2], "xyz")  # isomorphic, other order
    assert not segments.add(fork(swapped=True), [0, 1, 2], "xyz")
    assert segments.add(fork(), [0, 1, 2], "yxz")  # the same under another text
    assert segments.add(fork(h=16), [0, 1, 2], "xyz")  # another resolution
    assert segments.add(fork(), [0, 1], "xy")
    database = segments.database()
    assert [segment.text for segment in database.segments] == ["xyz", "xyz", "yxz", "xy"]
    assert [segment.graph.nodes[0].resolution[0] for segment in database.segments] == [8, 16, 8, 8]


@pytest.mark.parametrize("axis", range(6))
def test_every_size_counts(axis):
    """H, W and channels, of what a node reads and of what it gives."""
    segments, sizes = SegmentMap(), [8, 8, 6, 6, 4, 4]
    for size in (sizes[axis], 2 * sizes[axis]):
        sizes[axis] = size
        node = RegularNode("r", "relu", 6, tuple(sizes))
        assert segments.add(ComputeGraph.from_nodes("g", (), [node], []), [0], "r")


def test_what_is_wired_otherwise_is_another_segment():
    """Two chains each, of the same pairs of neighbours: relu, tanh, sigmoid and gelu, tanh, swish, or crosswise."""
    labels = {"relu": 6, "tanh": 15, "sigmoid": 14, "gelu": 17, "swish": 16}
    names = ["relu", "tanh", "sigmoid", "gelu", "tanh", "swish"]
    nodes = [regular(str(place), name, labels[name], 8, 8) for place, name in enumerate(names)]
    segments = SegmentMap()
    for ends in ((2, 5), (5, 2)):
        edges = [(0, 1), (1, ends[0]), (3, 4), (4, ends[1])]
        assert segments.add(ComputeGraph.from_nodes("g", (), nodes, edges), range(6), "text")


def test_edge_directions_count():
    nodes = [regular(name, "relu", 6, 8, 8) for name in "abc"]
    out = ComputeGraph.from_nodes("g", (), nodes, [(0, 1), (0, 2)])
    into = ComputeGraph.from_nodes("g", (), nodes, [(0, 2), (1, 2)])
    segments = SegmentMap()
    assert segments.add(out, [0, 1, 2], "rrr")
    assert segments.add(into, [0, 1, 2], "rrr")


def test_networks_are_cut_and_renumbered_copies_add_nothing(tiny_graph):
    encoder = NetworkEncoder()
    text = encoder.learn(tiny_graph)
    pieces = [("<unk>", 0), (text[1:3], 0), *((character, -1 - rank) for rank, character in enumerate(text))]
    tokenizer = SimpleNamespace(segmenter=Segmenter(pieces))
    once = build_database([tiny_graph], encoder, tokenizer)
    thrice = build_database([tiny_graph, shuffled(tiny_graph, 0), shuffled(tiny_graph, 1)], encoder, tokenizer)
    assert [segment.text for segment in once.segments] == [text[0], text[1:3], text[3], text[4]]
    assert [s.identity for s in thrice.segments] == [s.identity for s in once.segments]
    assert once.segments[1].inputs == ((0,),)
    assert once.segments[1].outputs == (0, 1)


@pytest.mark.parametrize("name", ["nb101", "two_path"])
def test_the_rule_tested_with_networkx(encoder, tokenizer, family, name):
    graphs = family(name)[:12]

    def same(first, second):
        return first["op_name"] == second["op_name"] and first["resolution"] == second["resolution"]

    expected = {}
    for cg in graphs:
        whole = cg_to_nx([cg])[0]
        for text, nodes in segment_with_text(cg, encoder, tokenizer):
            part = whole.subgraph(nodes)
            kept = expected.setdefault(text, [])
            if not any(nx.is_isomorphic(part, other, node_match=same) for other in kept):
                kept.append(part)
    found = {}
    for segment in build_database(graphs, encoder, tokenizer).segments:
        found.setdefault(segment.text, []).append([node.resolution for node in segment.graph.nodes])
    assert found == {
        text: [[part.nodes[node]["resolution"] for node in sorted(part.nodes)] for part in parts]
        for text, parts in expected.items()
    }


def test_every_segment_is_found_by_its_own_ports(tiny_graph):
    """Also those with a merge that reads one tensor from inside and one from outside."""
    for indices in ([2, 3], [3, 4], [0, 2, 3], [0, 2], [2]):
        segments = SegmentMap()
        segments.add(tiny_graph, indices, "text")
        own, database = cut_segment(tiny_graph, indices), segments.database()
        for found in (
            database.by_arity(len(own.inputs), len(own.outputs)),
            database.by_resolution(own.input_shapes, own.output_shapes),
        ):
            assert [segment.identity for segment in found] == [own.identity]
            assert (found[0].inputs, found[0].outputs) == (own.inputs, own.outputs)


def test_garbage_is_collected_again_after_an_error():
    def damaged():
        assert not gc.isenabled()
        raise InputError("a damaged cache")
        yield

    with pytest.raises(InputError, match="a damaged cache"):
        build_database(damaged(), NetworkEncoder(), SimpleNamespace())
    assert gc.isenabled()
