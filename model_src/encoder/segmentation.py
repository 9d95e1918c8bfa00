"""Byte-pair segmentation of a network's text, with pieces masked at will.

SentencePiece itself no longer offers a mask; the merges here are its merges.
"""

import heapq
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from model_src.encoder.network_encoder import NetworkEncoder, NodeId, generation_order

if TYPE_CHECKING:
    import numpy as np

    from model_src.encoder.network_encoder import Graph


class Segmenter:
    """Splits text into the pieces of a byte-pair vocabulary.

    Attributes:
        multi_pieces: All pieces longer than one character, special symbols included, in the vocabulary's order.
    """

    def __init__(self, scored_pieces: Iterable[tuple[str, float]]):
        self._ranks = {piece: -score for piece, score in scored_pieces}
        self.multi_pieces = tuple(piece for piece in self._ranks if len(piece) > 1)
        self._halves: dict[str, list[str]] = {}

    def pieces(self, text: str, masked: Collection[str] = frozenset()) -> list[str]:
        """Split text into pieces that join to it.

        The best-scored adjacent pair is merged first, of equal ones the leftmost, until no pair is a piece. A masked
        piece then falls apart into the two parts it was last merged from, these too if they are masked. Neighbouring
        unknown characters make one piece.

        Args:
            text: One character per node.
            masked: Pieces not to be used; single characters are never masked.
        """
        merged = self._merge(text)
        if masked:
            merged = [part for piece in merged for part in self._unmasked_parts(piece, masked)]
        if all(piece in self._ranks for piece in merged):
            return merged
        runs = [(known, list(run)) for known, run in groupby(merged, key=self._ranks.__contains__)]
        return [piece for known, run in runs for piece in (run if known else ["".join(run)])]

    def sample_mask(self, keep_fraction: float, rng: "np.random.Generator") -> frozenset[str]:
        """Draw a mask that keeps a random sample of ⌊keep_fraction · number⌋ multi-character pieces."""
        order = rng.permutation(len(self.multi_pieces))
        return frozenset(self.multi_pieces[index] for index in order[int(keep_fraction * len(order)) :])

    def _merge(self, text: str, without: str = "") -> list[str]:
        """Merge greedily; `without` is a piece that is not to be made."""
        ranks, end = self._ranks, len(text)
        symbols = list(text)  # a merged piece stands at its first place, the others are empty
        before, after = list(range(-1, end - 1)), list(range(1, end + 1))
        pairs = [(ranks[pair], left, pair) for left in range(end - 1) if (pair := text[left : left + 2]) in ranks]
        heapq.heapify(pairs)
        while pairs:
            _, left, pair = heapq.heappop(pairs)
            right = after[left]
            if pair == without or not symbols[left] or right == end or symbols[left] + symbols[right] != pair:
                continue  # one of the two has been merged with another meanwhile
            symbols[left], symbols[right] = pair, ""
            after[left] = following = after[right]
            if following < end:
                before[following] = left
                wider = pair + symbols[following]
                if wider in ranks:
                    heapq.heappush(pairs, (ranks[wider], left, wider))
            previous = before[left]
            if previous >= 0:
                wider = symbols[previous] + pair
                if wider in ranks:
                    heapq.heappush(pairs, (ranks[wider], previous, wider))
        return [symbol for symbol in symbols if symbol]

    def _unmasked_parts(self, piece: str, masked: Collection[str]) -> list[str]:
        if piece not in masked or len(piece) == 1:
            return [piece]
        if piece not in self._halves:
            # Merges inside a piece do not depend on what surrounds it, so they can be repeated without the last one.
            self._halves[piece] = self._merge(piece, without=piece)
        return [part for half in self._halves[piece] for part in self._unmasked_parts(half, masked)]


class HasSegmenter(Protocol):
    """Whatever brings a segmenter along, such as a loaded tokenizer."""

    @property
    def segmenter(self) -> Segmenter:
        """Splits text into pieces of its vocabulary."""


def segment(
    graph: "Graph", encoder: NetworkEncoder, tokenizer: HasSegmenter, masked: Collection[str] = frozenset()
) -> list[list[NodeId]]:
    """Cut a network into segments.

    Args:
        graph: A computation graph (its nodes go by index), or a networkx graph as `cg_to_nx` makes it.
        encoder: Gives every node its character.
        tokenizer: Gives the vocabulary.
        masked: Pieces not to be used, for example from `Segmenter.sample_mask`.

    Returns:
        The nodes of each segment; all nodes in topological order, cut into consecutive groups.
    """
    return [nodes for _, nodes in segment_with_text(graph, encoder, tokenizer, masked)]


def segment_with_text(
    graph: "Graph", encoder: NetworkEncoder, tokenizer: HasSegmenter, masked: Collection[str] = frozenset()
) -> list[tuple[str, list[NodeId]]]:
    """Cut a network into segments as `segment` does; each is its text and its nodes."""
    order = generation_order(graph)
    result, start = [], 0
    for piece in tokenizer.segmenter.pieces(encoder.encode_graph(graph, order), masked):
        result.append((piece, order[start : start + len(piece)]))
        start += len(piece)
    return result
