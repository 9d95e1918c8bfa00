"""Frozen TensorFlow graphs and what the published importer made of them."""

import gzip
import json

import pytest

pytest.importorskip("tensorflow")

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.graph_ops import same_topology
from model_src.comp_graph.importers.tensorflow.frozen import load_pb
from model_src.comp_graph.tf_comp_graph import ComputeGraph

FILES = {
    "two_path_2": DOMAIN_NORMALISERS,
    "hiaml_1": DOMAIN_NORMALISERS,
    "inception_4": DOMAIN_NORMALISERS,
    "resnet50_1": None,
}


def test_frozen_graphs(reference, tmp_path, agreement):
    outcomes = {}
    for name, normalisers in FILES.items():
        path = tmp_path / f"{name}.pb"
        path.write_bytes(gzip.decompress((reference / "pb" / f"{name}.pb.gz").read_bytes()))
        state = json.loads(gzip.decompress((reference / "pb" / f"{name}.json.gz").read_bytes()))
        expected = ComputeGraph.from_state_dict(state)
        cg = load_pb(path, *expected.input_shape[1:], normalisers=normalisers)
        outcomes[name] = (
            same_topology(cg, expected)
            and (cg.nodes, cg.edge_pairs) == (expected.nodes, expected.edge_pairs)
            and (cg.name, cg.input_shape, cg.normalisers) == (name, expected.input_shape, expected.normalisers)
        )
    agreement("frozen graphs, to the last field", outcomes)
    assert len(outcomes) == len(list((reference / "pb").glob("*.pb.gz")))
