"""Predictions of the published checkpoints, on whole networks and on every split."""

import pytest
import torch

from model_src.encoder.network_encoder import UNKNOWN
from model_src.encoder.segmentation import segment_with_text
from model_src.predictor.checkpoint import load_checkpoint
from model_src.predictor.data.psc_cache import split_texts
from model_src.predictor.scoring import load_predictor
from tests.conformance.cases import Case
from tests.predictor.helpers import packed, parts_of


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors gain nothing from threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoints(reference):
    return reference / "published" / "saved_models"


@pytest.fixture(scope="module")
def splits(cases, encoder, tokenizer) -> dict[str, list[tuple[str, int, int]]]:
    """Name of a case -> text, start and stop of the segment of every split."""
    return {case.name: split_texts(segment_with_text(case.graph, encoder, tokenizer)) for case in cases}


def recorded(case: Case) -> list[dict]:
    """The published splits by position; those with an empty segment have no prediction and no meaning."""
    return sorted((line for line in case.numbers["psc"] if line["n_s"]), key=lambda line: line["n_p"])


def close(found: float, expected: float, tolerance: float = 1e-5) -> bool:
    return abs(found - expected) < tolerance


def test_gnn(cases, checkpoints, agreement):
    graphs = [case.graph for case in cases]
    together = load_predictor(checkpoints / "gnn_chkpt.pt", "GNN", "cpu").score_graphs(graphs)
    alone = load_predictor(checkpoints / "gnn_chkpt.pt", "GNN", "cpu")
    outcomes, same = {}, {}
    for case, score in zip(cases, together, strict=True):
        outcomes[case.name] = close(score, case.numbers["gnn_prediction"], 1e-6)
        same[case.name] = alone.score_graphs([case.graph]) == [score]
    agreement("GNN predictions", outcomes)
    agreement("GNN predictions, batch and one by one", same)


def test_split_boundaries_and_texts(cases, splits, agreement):
    sizes, texts = {}, {}
    for case in cases:
        parts = parts_of(case.graph, [(start, stop) for _, start, stop in splits[case.name]])
        expected = recorded(case)
        sizes[case.name] = [tuple(part.n_nodes for part in triple) for triple in parts] == [
            (line["n_p"], line["n_s"], line["n_c"]) for line in expected
        ]
        texts[case.name] = all(
            same_text(text, line["segment"]) for (text, _, _), line in zip(splits[case.name], expected, strict=True)
        )
    agreement("split boundaries", sizes)
    agreement("split texts", texts)


def same_text(ours: str, published: str) -> bool:
    """The published code gives unseen nodes characters that depend on the run; here they have one of their own."""
    pairs = list(zip(ours, published, strict=True))
    return all(mine in (theirs, UNKNOWN) for mine, theirs in pairs)


def test_psc_on_every_split(cases, splits, checkpoints, agreement):
    predictor = load_predictor(checkpoints / "psc_chkpt.pt", "PSC_predictor", "cpu")
    alone = load_predictor(checkpoints / "psc_chkpt.pt", "PSC_predictor", "cpu")
    outcomes, same = {}, {}
    for case in cases:
        triples = parts_of(case.graph, [(start, stop) for _, start, stop in splits[case.name]])
        scores = predictor.score_psc(triples)
        for number, (score, line) in enumerate(zip(scores, recorded(case), strict=True)):
            outcomes[case.name, number] = close(score, line["prediction"])
        for number in range(0, len(triples), 10):
            same[case.name, number] = alone.score_psc([triples[number]]) == [scores[number]]
    agreement("PSC predictions", outcomes)
    agreement("PSC predictions, batch and one by one", same)
    assert len(outcomes) == 3119


def test_psc_where_the_splits_of_a_network_share_its_nodes(cases, splits, checkpoints, agreement):
    """What trains and tests predictors: one disjoint graph for many splits, parts never cut out."""
    model = load_checkpoint(checkpoints / "psc_chkpt.pt", "PSC_predictor").build().double().eval()
    hops = len(model.encoder.gnn_layers)
    outcomes = {}
    for case in cases:
        pack = packed([case.graph], [[(start, stop) for _, start, stop in splits[case.name]]], hops)
        with torch.inference_mode():
            scores = model(pack.batch().to(torch.device("cpu"), torch.float64)).tolist()
        for number, (score, line) in enumerate(zip(scores, recorded(case), strict=True)):
            outcomes[case.name, number] = close(score, line["prediction"])
    agreement("PSC predictions, shared nodes", outcomes)
