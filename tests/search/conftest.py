"""A mutator on the shipped vocabulary and database with a predictor that needs no training."""

from dataclasses import dataclass

import numpy as np
import pytest

import constants
from model_src.comp_graph.load import load_cg
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segment_db import SegmentDatabase
from model_src.encoder.tokenizer import Tokenizer
from model_src.search.mutator import MutationConfig, Mutator
from model_src.search.run import with_run_normalisers


class CountingPredictor:
    """Scores a graph by its share of convolutions: easy to improve, and different for most graphs."""

    def score_graphs(self, graphs):
        return [sum(node.op_name == "conv2d" for node in graph.nodes) / graph.n_nodes for graph in graphs]

    def score_psc(self, triples):
        whole = [self.score_graphs(triple) for triple in triples]
        return [round(p + 10 * s + c, 9) for p, s, c in whole]


class TinyEnsemble:
    """Two opinions on whole networks: the share of convolutions, and of nodes that are no identity."""

    member_names = ("convs", "work")
    known_pieces = None

    def accuracy_scale(self, family):
        return (0.9, 0.1) if family == "nb201" else None

    def score_members(self, networks, family):
        shares = [
            [sum(test(node.op_name) for node in cg.nodes) / cg.n_nodes for test in self._tests] for cg, _ in networks
        ]
        return np.array(shares)

    def embed_networks(self, networks):
        return np.array([[cg.n_nodes, *self.score_members([(cg, None)], None)[0]] for cg, _ in networks])

    _tests = (lambda name: name == "conv2d", lambda name: name != "identity")

    def summary(self, scores, family):
        return list(zip(scores.mean(axis=1).tolist(), scores.std(axis=1).tolist(), strict=True))


@dataclass(frozen=True)
class TinyFactory:
    """Makes a mutator in any process."""

    unit: str = "segment"
    uses_parts: bool = True
    family: str = "nb201"

    def __call__(self) -> Mutator:
        files = vocabulary_files()
        config = MutationConfig(self.family, mutation_unit=self.unit, max_candidate_per_iter=4, max_target_per_iter=12)
        return Mutator(
            config,
            NetworkEncoder.load(files.encoder),
            Tokenizer.load(files.model),
            SegmentDatabase.open(files.database),
            CountingPredictor(),
            self.uses_parts,
            ensemble=TinyEnsemble(),
        )


@pytest.fixture(scope="session")
def source():
    return with_run_normalisers(load_cg(constants.ROOT / "architectures" / "nb201_best.pkl"))
