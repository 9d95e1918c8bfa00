"""The pieces that networks with a known accuracy consist of: how much of a network have predictors seen before."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, TypeAlias

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.tokenizer import Tokenizer
from model_src.files import InputError, read_text, save_text

_HEADER = "vocabulary"

Pieces: TypeAlias = Sequence[tuple[str, Sequence[int]]]  # as `segmentation.segment_with_text` gives them
Context: TypeAlias = tuple[str, str, str]  # operation before, text of the piece, operation after; empty at the ends


def contexts(graph: ComputeGraph, pieces: Pieces) -> Iterator[Context]:
    """Every piece of a network with the operations just before and after it in topological order."""
    names = [graph.nodes[index].op_name for _, nodes in pieces for index in nodes]
    start = 0
    for text, nodes in pieces:
        stop = start + len(nodes)
        yield "".join(names[start - 1 : start]), text, "".join(names[stop : stop + 1])
        start = stop


def vocabulary_digest(encoder: NetworkEncoder, tokenizer: Tokenizer) -> str:
    """SHA-256 of what texts and pieces depend on."""
    labels = sorted(encoder.op2vocab.items())
    return sha256(repr((encoder.encoding, labels, tokenizer.pieces)).encode()).hexdigest()


@dataclass(frozen=True)
class KnownPieces:
    """The pieces of training networks.

    Attributes:
        vocabulary: See `vocabulary_digest`; with another vocabulary the texts mean something else.
        contexts: Each piece with what is before and after it.
    """

    FILE_NAME: ClassVar = "known_pieces.txt"

    vocabulary: str
    contexts: frozenset[Context]

    def fits(self, encoder: NetworkEncoder, tokenizer: Tokenizer) -> bool:
        """Whether texts of this encoder and pieces of this tokenizer can be looked up."""
        return self.vocabulary == vocabulary_digest(encoder, tokenizer)

    def share(self, graph: ComputeGraph, pieces: Pieces) -> float:
        """The share (0 to 1) of a network's pieces that occur between the same operations in a training network."""
        known = [context in self.contexts for context in contexts(graph, pieces)]
        return sum(known) / len(known)

    def save(self, path: Path) -> None:
        """Write a line with the vocabulary, then one for each piece, sorted."""
        rows = [(_HEADER, self.vocabulary), *sorted(self.contexts)]
        save_text("".join("\t".join(row) + "\n" for row in rows), path)

    @classmethod
    def collect(cls, vocabulary: str, networks: Iterable[tuple[ComputeGraph, Pieces]]) -> "KnownPieces":
        """The pieces of networks."""
        return cls(vocabulary, frozenset(context for graph, pieces in networks for context in contexts(graph, pieces)))

    @classmethod
    def load(cls, path: Path) -> "KnownPieces":
        """Read a file.

        Raises:
            InputError: It is missing or holds something else.
        """
        try:
            lines = read_text(path).removesuffix("\n").split("\n")
            (word, vocabulary), *rows = [line.split("\t") for line in lines]
            found = frozenset((before, text, after) for before, text, after in rows)
        except InputError:
            raise
        except ValueError as error:  # too few or too many columns, no text
            raise InputError(f"{path}: not the known pieces of predictors ({error})") from error
        if word != _HEADER:
            raise InputError(f"{path}: not the known pieces of predictors (begins with {word!r:.20})")
        return cls(vocabulary, found)
