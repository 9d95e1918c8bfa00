"""Names of the files that hold a vocabulary."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from constants import SENTENCE_PIECE_DIR
from model_src.families import DEFAULT_FAMILIES, abbreviation

DEFAULT_ENCODING = "shp"
DEFAULT_VOCAB_SIZE = 2000


@dataclass(frozen=True)
class VocabularyFiles:
    """Where one vocabulary and the segment database made with it are stored.

    Attributes:
        text: The training text, one network a line.
        encoder: The network encoder.
        model: The SentencePiece model.
        vocab: Its pieces and scores as text.
        database: The segment database.
    """

    text: Path
    encoder: Path
    model: Path
    vocab: Path
    database: Path


def vocabulary_files(
    families: str | Iterable[str] = DEFAULT_FAMILIES,
    encoding: str = DEFAULT_ENCODING,
    vocab_size: int = DEFAULT_VOCAB_SIZE,
    root: Path = SENTENCE_PIECE_DIR,
) -> VocabularyFiles:
    """Name the files of a vocabulary as the published code does.

    Raises:
        InputError: A name is not one of a family with networks.
    """
    short = abbreviation(families)
    folder = Path(root) / short
    model = folder / "models" / f"{short}_vsize{vocab_size}_bpe_{encoding}.model"
    return VocabularyFiles(
        text=folder / f"{short}_graph_tokens_{encoding}.txt",
        encoder=folder / f"{short}_encoder_{encoding}.pkl",
        model=model,
        vocab=model.with_suffix(".vocab"),
        database=folder / "combined_segment_DB_res_ratio.pkl",
    )


def vocabulary_command(families: Iterable[str], encoding: str, vocab_size: int) -> str:
    """The command that makes a vocabulary."""
    return f"python gen_vocab.py -families {'+'.join(families)} -encoding {encoding} -vocab_size {vocab_size}"
