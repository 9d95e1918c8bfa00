"""Segments with ports, and putting one in the place of another."""

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.segment import Segment, cut, replace_segment, segment_from_subgraph
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from tests.conftest import conv, regular


def test_ports_count_tensors(tiny_graph):
    place = cut(tiny_graph, [2, 3])  # relu and add: one outside tensor feeds both
    assert place.sources == (0,)
    assert place.readers == ((4,),)
    assert place.segment.inputs == ((0, 1),)
    assert place.segment.input_shapes == ((8, 8, 8),)
    assert place.segment.outputs == (1,)
    assert place.segment.output_shapes == ((8, 8, 8),)


def test_an_output_with_several_readers_is_one_port(tiny_graph):
    place = cut(tiny_graph, [0])
    assert place.segment.outputs == (0,)
    assert place.readers == ((2, 3),)


def test_a_segment_replaced_by_itself_gives_the_network(tiny_graph):
    for indices in ([2], [0], [2, 3], [0, 2], [0, 2, 3]):
        place = cut(tiny_graph, indices)
        same = [range(len(ports)) for ports in (place.segment.inputs, place.segment.outputs)]
        child = replace_segment(tiny_graph, place, place.segment, *same, "n")
        assert canonical_hash(child) == canonical_hash(tiny_graph)
        assert child.normalisers == tiny_graph.normalisers
        assert child.input_shape == tiny_graph.input_shape
        assert len({node.str_id for node in child.nodes}) == child.n_nodes


def test_another_segment_is_connected_at_its_ports(tiny_graph):
    nodes = [conv("c", 8, 8, 8), regular("r", "tanh", 15, 8, 8)]
    graph = ComputeGraph.from_nodes("new", [(1, 8, 8, 8)], nodes, [(0, 1)])
    child = replace_segment(tiny_graph, cut(tiny_graph, [2]), segment_from_subgraph(graph), [0], [0], "n")
    assert [node.label for node in child.nodes] == ["conv2d", "conv2d", "input", "add", "output", "tanh"]
    assert (child.name, child.input_shape, child.normalisers) == ("tiny", (1, 8, 8, 3), tiny_graph.normalisers)
    assert child.edge_pairs == ((0, 1), (0, 3), (1, 5), (2, 0), (3, 4), (5, 3))


def test_ports_are_connected_as_the_maps_say():
    """Two branches, relu and tanh, in whose place identity and sigmoid come crosswise or straight."""
    labels = {"relu": 6, "tanh": 15}
    nodes = [regular("i", "input", 1, 8, 4), conv("c", 8, 4, 4), conv("d", 8, 4, 4, kernel=1)]
    nodes += [*(regular(name, name, index, 8, 4) for name, index in labels.items()), regular("m", "mul", 10, 8, 4)]
    nodes += [regular("k", "concat", 11, 8, 4, c_out=8)]
    edges = [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (0, 5), (5, 6), (4, 6)]
    cg = ComputeGraph.from_nodes("two", (1, 8, 8, 4), nodes, edges)
    names = [node.str_id for node in cg.nodes]
    place = cut(cg, [names.index("relu"), names.index("tanh")])
    pair = ComputeGraph.from_nodes(
        "new", [], [regular("x", "identity", 25, 8, 4), regular("y", "sigmoid", 14, 8, 4)], []
    )
    shape = (8, 8, 4)
    new = Segment(pair, ((0,), (1,)), (shape, shape), (0, 1))
    assert [names[source] for source in place.sources] == ["c", "d"]
    for inputs in ((0, 1), (1, 0)):
        for outputs in ((0, 1), (1, 0)):
            child = replace_segment(cg, place, new, inputs, outputs, "n")
            ids = [node.str_id for node in child.nodes]
            edges = {(ids[source], ids[target]) for source, target in child.edge_pairs}
            assert {source for source, target in edges if target == "n0"} == {"cd"[inputs[0]]}
            assert {source for source, target in edges if target == "n1"} == {"cd"[inputs[1]]}
            assert {target for source, target in edges if source == "n0"} == {"mk"[outputs[0]]}
            assert {target for source, target in edges if source == "n1"} == {"mk"[outputs[1]]}


def test_sources_are_in_the_order_of_the_nodes_whoever_reads_them():
    nodes = [regular("i", "input", 1, 8, 4), conv("c", 8, 4, 4), conv("d", 8, 4, 8)]
    nodes += [regular("r", "relu", 6, 8, 8), regular("t", "tanh", 15, 8, 4), regular("k", "concat", 11, 8, 4, c_out=12)]
    cg = ComputeGraph.from_nodes("two", (1, 8, 8, 4), nodes, [(0, 1), (0, 2), (2, 3), (1, 4), (3, 5), (4, 5)])
    position = {node.str_id: index for index, node in enumerate(cg.nodes)}
    assert position["r"] < position["t"]
    assert position["c"] < position["d"]
    place = cut(cg, [position["r"], position["t"]])
    assert place.sources == (position["c"], position["d"])
    assert place.segment.inputs == ((1,), (0,))
    assert place.segment.input_shapes == ((8, 8, 4), (8, 8, 8))


def test_a_merge_left_with_one_input_disappears(tiny_graph):
    add = ComputeGraph.from_nodes("add", [(1, 8, 8, 8)], [regular("x", "add", 9, 8, 8)], [])
    child = replace_segment(tiny_graph, cut(tiny_graph, [2]), Segment(add, ((0,),), ((8, 8, 8),), (0,)), [0], [0], "n")
    assert [node.label for node in child.nodes] == ["conv2d", "input", "output"]


def test_a_concat_that_lost_an_input_is_not_complete():
    nodes = [conv("c", 8, 8, 8), regular("k", "concat", 11, 8, 8, c_out=16)]
    graph = ComputeGraph.from_nodes("k", [(1, 8, 8, 8)], nodes, [(0, 1)])
    both = Segment(graph, ((0,), (1,)), ((8, 8, 8), (8, 8, 8)), (1,))
    assert both.is_complete
    assert not segment_from_subgraph(graph).is_complete
    assert segment_from_subgraph(ComputeGraph.from_nodes("c", [(1, 8, 8, 8)], nodes[:1], [])).is_complete
