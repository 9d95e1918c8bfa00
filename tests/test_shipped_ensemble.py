"""The predictors that the README's search uses."""

import json

import pytest

from constants import ROOT
from model_src.comp_graph.load import load_cg
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segmentation import segment_with_text
from model_src.encoder.tokenizer import Tokenizer
from model_src.predictor.checkpoint import load_checkpoint
from model_src.predictor.ensemble import load_ensemble

FOLDER = ROOT / "saved_models" / "ensemble"
FAMILIES = ("hiaml", "inception", "nb101", "nb201", "two_path")


@pytest.fixture(scope="module")
def ensemble():
    return load_ensemble(FOLDER, "cpu")


def test_members_are_of_different_seeds_and_both_kinds():
    found = [load_checkpoint(path) for path in sorted(FOLDER.glob("*.pt"))]
    seeds = [one.training["seed"] for one in found if one.predictor_type == "PSC_predictor"]
    assert len(set(seeds)) == len(seeds) >= 3
    assert any(one.predictor_type == "GNN" for one in found)
    assert any(one.config["gnn_type"] == "GraphConv" for one in found)  # the published architecture


def test_the_weights_are_small_to_fetch():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6


def test_every_family_has_a_scale_and_an_honest_deviation(ensemble):
    calibrated = json.loads((FOLDER / "ensemble.json").read_text())["deviation"]
    assert set(calibrated) == {"hiaml", "inception", "nb101_5k", "nb201", "two_path", "all"}
    for family in FAMILIES:
        mean, deviation = ensemble.accuracy_scale(family)
        assert 0.8 < mean < 0.96
        assert 0.001 < deviation < 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pieces_of_shipped_networks_are_known(ensemble, family):
    files = vocabulary_files()
    encoder, tokenizer = NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)
    assert ensemble.known_pieces.fits(encoder, tokenizer)
    graph = load_cg(ROOT / "architectures" / f"{family}_best.pkl")
    assert ensemble.known_pieces.share(graph, segment_with_text(graph, encoder, tokenizer)) > 0.9
