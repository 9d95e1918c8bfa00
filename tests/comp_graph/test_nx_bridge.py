"""Computation graph <-> networkx."""

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.nx_bridge import cg_to_nx, in_shape, nx_to_cg, out_shape


def test_round_trip_keeps_the_graph_and_the_argument(tiny_graph):
    before = tiny_graph.state_dict()
    graph = cg_to_nx([tiny_graph])[0]
    assert list(graph.nodes) == [0, 1, 2, 3, 4]
    assert tuple(graph.edges) == tiny_graph.edge_pairs
    assert graph.nodes[3]["op_name"] == "add"
    assert graph.nodes[0]["str_id"] == "0"
    assert graph.nodes[0]["shape"] == (3, 8, 3, 3)
    assert in_shape(graph, 0) == (8, 8, 3)
    assert out_shape(graph, 0) == (8, 8, 8)
    back = nx_to_cg([graph])[0]
    assert canonical_hash(back) == canonical_hash(tiny_graph)
    assert (back.name, back.normalisers) == (tiny_graph.name, tiny_graph.normalisers)
    assert tiny_graph.state_dict() == before


def test_a_sub_graph_loses_merges_with_one_input(tiny_graph):
    part = cg_to_nx([tiny_graph])[0].subgraph([2, 3, 4]).copy()
    assert [node.label for node in nx_to_cg([part])[0].nodes] == ["relu", "output"]


def test_published_graphs_round_trip(reference):
    for path in sorted((reference / "published" / "architectures").glob("*.pkl")):
        graph = load_cg(path)
        assert canonical_hash(nx_to_cg(cg_to_nx([graph]))[0]) == canonical_hash(graph)
