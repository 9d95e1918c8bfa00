import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest

from model_src.comp_graph.nx_bridge import cg_to_nx
from model_src.encoder.network_encoder import UNKNOWN, NetworkEncoder
from model_src.encoder.segmentation import Segmenter, segment, segment_with_text

SPECIAL = [("<unk>", 0), ("<s>", 0), ("</s>", 0)]


def scored(pieces):
    return [*SPECIAL, *((piece, -rank) for rank, piece in enumerate(pieces))]


def test_best_pair_first_then_leftmost():
    segmenter = Segmenter(scored(["bc", "ab", "abc", "aa", "a", "b", "c"]))
    assert segmenter.pieces("abc") == ["abc"]
    assert segmenter.pieces("abab") == ["ab", "ab"]
    assert segmenter.pieces("aaa") == ["aa", "a"]
    assert segmenter.pieces("aabc") == ["a", "abc"]
    assert segmenter.pieces("") == []


def test_a_masked_piece_falls_apart_as_it_was_merged():
    segmenter = Segmenter(scored(["bc", "ab", "abc", "a", "b", "c"]))
    # A smaller vocabulary would give ab + c; the mask undoes the last merge, of a and bc.
    assert segmenter.pieces("abc", {"abc"}) == ["a", "bc"]
    assert segmenter.pieces("abc", {"abc", "bc"}) == ["a", "b", "c"]
    assert segmenter.pieces("abc", {"bc"}) == ["abc"]
    assert segmenter.pieces("abc", {"a", "b", "c"}) == ["abc"]


def test_neighbouring_unknown_characters_are_one_piece():
    segmenter = Segmenter(scored(["ab", "a", "b"]))
    assert segmenter.pieces("xyabxbyyy") == ["xy", "ab", "x", "b", "yyy"]
    assert segmenter.pieces("xyabxbyyy", {"ab"}) == ["xy", "a", "b", "x", "b", "yyy"]


def test_a_sampled_mask_keeps_the_fraction():
    segmenter = Segmenter(scored(["ab", "bc", "cd", "abc", "a"]))
    assert len(segmenter.multi_pieces) == 7
    draw = [segmenter.sample_mask(0.5, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)]
    assert [len(mask) for mask in draw] == [4, 4, 4, 4]
    assert draw[0] == draw[1]
    assert len(set(draw)) > 1
    assert segmenter.sample_mask(0, np.random.default_rng(0)) == frozenset(segmenter.multi_pieces)
    assert segmenter.sample_mask(1, np.random.default_rng(0)) == frozenset()


def slow_pieces(ranks, text, masked):
    """The rule, word by word: each symbol is its text and the two symbols it was last merged from."""
    symbols = [(character, None) for character in text]
    while True:
        pairs = [
            (ranks[left[0] + right[0]], place)
            for place, (left, right) in enumerate(itertools.pairwise(symbols))
            if left[0] + right[0] in ranks
        ]
        if not pairs:
            break
        place = min(pairs)[1]
        left, right = symbols[place : place + 2]
        symbols[place : place + 2] = [(left[0] + right[0], (left, right))]

    def parts(symbol):
        name, halves = symbol
        return [name] if name not in masked or halves is None else parts(halves[0]) + parts(halves[1])

    result, was_unknown = [], False
    for name in (part for symbol in symbols for part in parts(symbol)):
        unknown = name not in ranks
        if unknown and was_unknown:
            result[-1] += name
        else:
            result.append(name)
        was_unknown = unknown
    return result


@pytest.mark.parametrize("seed", range(60))
def test_masked_segmentation_follows_the_rule(seed):
    rng = random.Random(seed)
    pieces = list("abcde")
    for _ in range(rng.randint(1, 25)):  # as training does: a new piece joins two older ones
        pieces.append(rng.choice(pieces) + rng.choice(pieces))
    merges = list(dict.fromkeys(piece for piece in pieces if len(piece) > 1))
    vocabulary = scored([*merges, *"abcde"])
    ranks = {piece: -score for piece, score in vocabulary}
    segmenter = Segmenter(vocabulary)
    for _ in range(30):
        text = "".join(rng.choices([*pieces, "x", "y"], k=rng.randint(0, 15)))
        masked = set(rng.sample(merges, rng.randint(0, len(merges)))) | set("ab")
        assert segmenter.pieces(text, masked) == slow_pieces(ranks, text, masked)


def test_groups_are_consecutive_nodes_in_topological_order(tiny_graph):
    encoder = NetworkEncoder()
    text = encoder.learn(tiny_graph)
    tokenizer = SimpleNamespace(segmenter=Segmenter(scored([text[1:3], text[:3], *text])))
    for graph in (tiny_graph, cg_to_nx([tiny_graph])[0]):
        assert segment(graph, encoder, tokenizer) == [[1, 0, 2], [3], [4]]
        assert segment(graph, encoder, tokenizer, {text[:3]}) == [[1], [0, 2], [3], [4]]
    assert segment_with_text(tiny_graph, encoder, tokenizer)[0] == (text[:3], [1, 0, 2])


def test_published_vocabulary_has_816_pieces_to_mask(tokenizer):
    segmenter = tokenizer.segmenter
    assert len(segmenter.multi_pieces) == 816
    assert len(segmenter.sample_mask(0.5, np.random.default_rng(0))) == 408


def test_unmasked_pieces_are_those_of_sentencepiece(encoder, tokenizer, model_path):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(model_path))
    rng = random.Random(0)
    characters, merges = list(encoder.op2vocab.values()), tokenizer.segmenter.multi_pieces[3:]
    for number in range(1500):
        few = characters[:12] if number % 2 else characters
        choices = rng.choice([[*few, UNKNOWN], [*merges, *few, *UNKNOWN * 50]])
        text = "".join(rng.choices(choices, k=rng.randint(1, 50)))
        assert tokenizer.segmenter.pieces(text) == model.encode(text, out_type=str)


def test_masked_pieces_on_the_published_vocabulary(encoder, tokenizer):
    ranks = {piece: -score for piece, score in tokenizer.pieces}
    rng = random.Random(1)
    choices = [*tokenizer.segmenter.multi_pieces[3:], *list(encoder.op2vocab.values())[:100], *UNKNOWN * 50]
    for seed in range(60):
        masked = tokenizer.sample_mask(rng.random(), np.random.default_rng(seed))
        text = "".join(rng.choices(choices, k=12))
        assert tokenizer.segmenter.pieces(text, masked) == slow_pieces(ranks, text, masked)
