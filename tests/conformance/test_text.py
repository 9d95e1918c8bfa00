"""From graph to segments: node order, operation names, token labels, text, pieces, and pieces under a mask."""

import itertools
import json

import pytest

from model_src.comp_graph.nx_bridge import cg_to_nx
from model_src.encoder.network_encoder import UNKNOWN, generation_order
from model_src.encoder.segmentation import segment
from tests.conformance.masks import FIGURES, digest, masked_texts


@pytest.mark.parametrize("kind", ["graph", "networkx graph"])
def test_order_labels_text_and_pieces(cases, encoder, tokenizer, kind, agreement):
    same = {name: {} for name in ("order", "token labels", "text", "pieces")}
    for case in cases:
        graph, numbers = (case.graph if kind == "graph" else cg_to_nx([case.graph])[0]), case.numbers
        order = generation_order(graph)
        labels = encoder.token_labels(graph, order)
        text = encoder.encode_graph(graph)
        groups = segment(graph, encoder, tokenizer)
        unknown = {label for label in labels if label not in encoder.op2vocab}
        same["order"][case.name] = order == numbers["topological_order"] == list(itertools.chain.from_iterable(groups))
        same["token labels"][case.name] = labels == numbers["token_labels"]
        # Where nodes are new to the encoder, the published text depends on what the run met before.
        same["text"][case.name] = text == (numbers["string"] or text) and (UNKNOWN in text) == bool(unknown)
        same["pieces"][case.name] = [len(group) for group in groups] == numbers["pieces"]
        assert len(unknown) == numbers["new_tokens"]
    for subject, outcomes in same.items():
        agreement(f"{subject} of a {kind}", outcomes)


def test_operation_names(cases, agreement):
    outcomes = {case.name: [node.op_name for node in case.graph.nodes] == case.numbers["op_names"] for case in cases}
    agreement("operation names", outcomes)


def test_masked_pieces(cases, encoder, tokenizer, agreement):
    texts = [encoder.encode_graph(case.graph) for case in cases]
    recorded = json.loads(FIGURES.read_text(encoding="utf-8"))["pieces"]
    multi_pieces = tokenizer.segmenter.multi_pieces
    assert len(multi_pieces) == 816
    outcomes = {}
    for number, (text, masked) in enumerate(masked_texts(texts, multi_pieces, len(recorded))):
        pieces = tokenizer.segmenter.pieces(text, masked)
        assert "".join(pieces) == text
        outcomes[number] = [len(pieces), digest(pieces)] == recorded[number]
    agreement("pieces under a mask", outcomes)
    assert len(outcomes) == 500
