"""The segment vocabulary: a SentencePiece byte-pair model, read and trained."""

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.paths import VocabularyFiles
from model_src.encoder.segmentation import Segmenter
from model_src.files import InputError, atomic_write, naming, read_bytes, save_text
from model_src.runtime import made_by

if TYPE_CHECKING:
    import numpy as np

N_SPECIAL = 3  # <unk>, <s> and </s> come first
# SentencePiece skips longer lines, silently when it is told to be quiet.
MAX_LINE_BYTES = 4192
MOST_LINES = 50_000  # that a model is trained on; SentencePiece takes some 12 kB of memory for each


@dataclass(frozen=True)
class Tokenizer:
    """The pieces of a byte-pair vocabulary.

    Attributes:
        pieces: (piece, score) in the order of their ids: special symbols, merges from best to worst, characters.
    """

    pieces: tuple[tuple[str, float], ...]

    @cached_property
    def segmenter(self) -> Segmenter:
        """What splits text into these pieces."""
        return Segmenter(self.pieces)

    def sample_mask(self, keep_fraction: float, rng: "np.random.Generator") -> frozenset[str]:
        """Draw a mask that keeps a random share of the multi-character pieces; see `Segmenter.sample_mask`."""
        return self.segmenter.sample_mask(keep_fraction, rng)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a SentencePiece `.model` file.

        Raises:
            InputError: The file is missing, is not a SentencePiece model or is not a byte-pair one.
        """
        with naming(path):
            return cls.from_bytes(read_bytes(path))

    @classmethod
    def from_bytes(cls, content: bytes) -> "Tokenizer":
        """Read the content of a SentencePiece `.model` file.

        Raises:
            ValueError: It is not a SentencePiece model or is not a byte-pair one.
        """
        import sentencepiece

        if not content:  # which SentencePiece would take for a model without pieces
            raise ValueError("not a SentencePiece model (empty)")
        try:
            model = sentencepiece.SentencePieceProcessor(model_proto=content)
            pieces = tuple((model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size()))
        except RuntimeError as error:
            raise ValueError(f"not a SentencePiece model ({error})") from error
        if any(score != -rank for rank, (_, score) in enumerate(pieces[N_SPECIAL:])):
            raise ValueError("not a byte-pair (bpe) model: its scores are not the order of the merges")
        return cls(pieces)


@dataclass(frozen=True)
class Vocabulary:
    """An encoder and the byte-pair model that was trained on its texts.

    Attributes:
        encoder: Gives every node its character.
        lines: The training text, one network a line.
        model: Content of the SentencePiece `.model` file.
    """

    encoder: NetworkEncoder
    lines: tuple[str, ...]
    model: bytes

    def save(self, files: VocabularyFiles, overwrite: bool = False) -> None:
        """Write encoder, training text, model and its pieces as text.

        Raises:
            InputError: An encoder or model would be replaced without `overwrite`, or models of another vocabulary
                size would lose their encoder.
        """
        check_replacement(files, overwrite)
        if files.encoder.exists() and NetworkEncoder.load(files.encoder) != self.encoder:
            if not overwrite:
                raise InputError(f"{files.encoder}: exists and differs; -overwrite replaces encoder and model together")
            for model in files.model.parent.glob(f"*_{self.encoder.encoding}.model"):
                if model != files.model:
                    raise InputError(f"{model}: belongs to the encoder that would be replaced; move it away first")
        files.model.unlink(missing_ok=True)  # an interruption leaves no model rather than one of another encoder
        self.encoder.save(files.encoder)
        save_text("".join(f"{line}\n" for line in self.lines), files.text)
        pieces = Tokenizer.from_bytes(self.model).pieces
        save_text("".join(f"{piece}\t{score:g}\n" for piece, score in pieces), files.vocab)
        with atomic_write(files.model) as file:
            file.write(self.model)


def load_vocabulary(encoder_path: Path, tokenizer_path: Path, command: str) -> tuple[NetworkEncoder, Tokenizer]:
    """Read an encoder and a SentencePiece model.

    Raises:
        InputError: A file is missing (the text names `command`, which makes it), damaged or of another kind.
    """
    with made_by(command, encoder_path, tokenizer_path):
        return NetworkEncoder.load(encoder_path), Tokenizer.load(tokenizer_path)


def check_replacement(files: VocabularyFiles, overwrite: bool) -> None:
    """Refuse to replace a model unasked.

    Raises:
        InputError: There is a model and `overwrite` is false.
    """
    if files.model.exists() and not overwrite:
        raise InputError(f"{files.model}: exists; -overwrite replaces encoder and model together")


def learn_vocabulary(
    families: Mapping[str, Iterable[tuple[ComputeGraph, float]]], encoding: str, vocab_size: int
) -> Vocabulary:
    """Give every node label of the networks a character and train a model on their texts, the best of a family first.

    Of more than MOST_LINES networks, the model is trained on every second, third, ... one.

    Args:
        families: Name -> networks in any order, which are read once, with their ranks: higher ones are better. The
            encoder notes the names.
        encoding: What labels say of a node, see `NetworkEncoder`.
        vocab_size: Number of pieces, special symbols and single characters included.

    Raises:
        InputError: There are more labels than characters, or the texts do not allow this vocabulary size.
    """
    met, texts = NetworkEncoder(tuple(families), encoding), list[str]()
    for networks in families.values():
        ranked = [(rank, met.learn(graph)) for graph, rank in networks]
        texts += [text for _, text in sorted(ranked, key=itemgetter(0), reverse=True)]
    if not texts:
        raise InputError(f"no network of {', '.join(families)} to learn a vocabulary from")
    encoder, texts = met.in_order_of(texts)
    lines = tuple(f"<s>{text}</s>" for text in texts)
    step = math.ceil(len(lines) / MOST_LINES)
    characters = "".join(encoder.op2vocab.values())
    model = train(lines[::step], vocab_size, characters if step > 1 else characters[0])
    return Vocabulary(encoder, lines, model)


def train(lines: Sequence[str], vocab_size: int, required_chars: str) -> bytes:
    """Train a byte-pair model on one line per network and return the content of a `.model` file.

    Raises:
        InputError: A line is longer than SentencePiece takes, or the lines do not allow this vocabulary size.
    """
    import sentencepiece

    longest = max(len(line.encode()) for line in lines)
    if longest > MAX_LINE_BYTES:
        raise InputError(f"a network's text has {longest} bytes; SentencePiece leaves out lines above {MAX_LINE_BYTES}")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="bpe",
            character_coverage=1.0,
            split_by_unicode_script=True,
            split_by_number=False,
            split_by_whitespace=False,
            add_dummy_prefix=False,
            required_chars=required_chars,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(f"-vocab_size {vocab_size}: {_size_hint(str(error))}") from error
    return model.getvalue()


def _size_hint(message: str) -> str:
    if match := re.search(r"too high.*<= (\d+)", message):
        return f"too large, these networks allow at most {match[1]}"
    if match := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return f"too small, special symbols and single characters alone take {match[1]}"
    return message
