"""The hash of a network with a replaced segment, told without building it, is that of the built one."""

import numpy as np
import pytest

from constants import ROOT
from model_src.comp_graph.graph_ops import canonical_hash, topological_order
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.replaced import ReplacementHashes
from model_src.comp_graph.segment import Segment, cut, replace_segment, segment_from_subgraph
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from tests.conftest import conv, regular


def replacements(cg, rng, count):
    """Places that follow each other in topological order, segments of as many ports from elsewhere, and maps."""
    order = topological_order(cg)
    cuts = []
    for _ in range(count):
        start = rng.integers(1, cg.n_nodes - 8)
        cuts.append(cut(cg, order[start : start + rng.integers(1, 8)]))
    for place in cuts:
        old = place.segment
        for other in cuts:
            new = other.segment
            if (len(new.inputs), len(new.outputs)) == (len(old.inputs), len(old.outputs)):
                yield place, new, rng.permutation(len(old.inputs)).tolist(), rng.permutation(len(old.outputs)).tolist()


@pytest.mark.parametrize("name", ["hiaml", "inception", "nb101", "nb201", "two_path"])
def test_it_is_the_hash_of_the_built_network(name):
    cg = load_cg(ROOT / "architectures" / f"{name}_best.pkl")
    hashes, told = ReplacementHashes(cg), set()
    for place, new, *maps in replacements(cg, np.random.default_rng(0), 25):
        child = replace_segment(cg, place, new, *maps, "n")
        found = hashes.of(place, new, *maps)
        told.add(found)
        if child.n_nodes == cg.n_nodes - len(place.indices) + new.graph.n_nodes:
            assert found == canonical_hash(child)
        else:
            assert found is None
    assert len(told) > 20


def test_only_the_built_network_tells_where_a_merge_gets_idle(tiny_graph):
    """Both inputs of the sum are taken out, and one node comes instead: the sum has nothing to add."""
    one = Segment(ComputeGraph.from_nodes("one", [], [conv("x", 8, 3, 8)], []), ((0,),), ((8, 8, 3),), (0,))
    place = cut(tiny_graph, [0, 2])
    assert replace_segment(tiny_graph, place, one, [0], [0], "n").n_nodes == 3
    assert ReplacementHashes(tiny_graph).of(place, one, [0], [0]) is None


def test_only_the_built_network_tells_where_nodes_between_stay(tiny_graph):
    place = cut(tiny_graph, [0, 3])
    maps = [range(len(ports)) for ports in (place.sources, place.readers)]
    child = replace_segment(tiny_graph, place, place.segment, *maps, "n")
    assert canonical_hash(child) == canonical_hash(tiny_graph)
    assert ReplacementHashes(tiny_graph).of(place, place.segment, *maps) is None


def test_only_the_built_network_tells_where_merges_were_idle_before():
    nodes = [conv("c", 8, 4, 4), regular("i", "input", 1, 8, 4), regular("a", "add", 9, 8, 4)]
    nodes += [regular("o", "output", 2, 8, 4)]
    cg = ComputeGraph.from_nodes("idle", (1, 8, 8, 4), nodes, [(1, 0), (0, 2), (2, 3)])
    relu = segment_from_subgraph(ComputeGraph.from_nodes("r", [], [regular("r", "relu", 6, 8, 4)], []))
    place = cut(cg, [0])
    assert replace_segment(cg, place, relu, [0], [0], "n").n_nodes == 3
    assert ReplacementHashes(cg).of(place, relu, [0], [0]) is None
