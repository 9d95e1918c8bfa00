"""The published vocabulary and the reference graphs."""

import gzip
import json
from functools import cache

import pytest

from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.tokenizer import Tokenizer

SETS = ("published", "hiaml", "inception", "nb101", "nb201", "two_path")


@pytest.fixture(scope="session")
def published(reference):
    return reference / "published" / "cache_sentence_piece" / "h+i+n15+n2+t"


@pytest.fixture(scope="session")
def encoder(published):
    return NetworkEncoder.load(published / "h+i+n15+n2+t_encoder_shp.pkl")


@pytest.fixture(scope="session")
def model_path(published):
    return published / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.model"


@pytest.fixture(scope="session")
def tokenizer(model_path):
    return Tokenizer.load(model_path)


@pytest.fixture(scope="session")
def family(reference):
    """Family name -> its reference graphs."""

    @cache
    def read(name):
        with gzip.open(reference / "families" / f"{name}.jsonl.gz", "rt") as lines:
            return [ComputeGraph.from_state_dict(json.loads(line)["graph"]) for line in lines]

    return read


@pytest.fixture(scope="session")
def numbered(reference, family):
    """All (graph, recorded numbers) pairs."""
    pairs = []
    for name in SETS:
        for line in (reference / "numbers" / f"{name}.jsonl").read_text().splitlines():
            record = json.loads(line)
            is_file = name == "published"
            graph = load_cg(reference / "published" / record["file"]) if is_file else family(name)[record["index"]]
            pairs.append((graph, record))
    return pairs
