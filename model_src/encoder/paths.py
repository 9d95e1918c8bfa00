"""Names of vocabularies and of the files that hold them."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from constants import SENTENCE_PIECE_DIR
from model_src.cli import FlagParser, positive_int
from model_src.families import DEFAULT_FAMILIES, abbreviation, parse_families

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


@dataclass(frozen=True)
class VocabularyName:
    """What a vocabulary was learnt from and how; files are named after it.

    Attributes:
        families: Names of the families, sorted.
        encoding: What a token says of its node, see `NetworkEncoder`.
        size: Number of pieces.
    """

    families: tuple[str, ...]
    encoding: str
    size: int

    @property
    def flags(self) -> str:
        """How scripts are told of it."""
        return f"-encoder_families {'+'.join(self.families)} -encoding {self.encoding} -vocab_size {self.size}"

    @property
    def command(self) -> str:
        """What makes it."""
        families = "+".join(self.families)
        return f"python gen_vocab.py -families {families} -encoding {self.encoding} -vocab_size {self.size}"

    def files(self, root: str | Path = SENTENCE_PIECE_DIR) -> VocabularyFiles:
        """The published names of its files.

        Raises:
            InputError: A name is not one of a family with networks.
        """
        short = abbreviation(self.families)
        folder = Path(root) / short
        model = folder / "models" / f"{short}_vsize{self.size}_bpe_{self.encoding}.model"
        return VocabularyFiles(
            text=folder / f"{short}_graph_tokens_{self.encoding}.txt",
            encoder=folder / f"{short}_encoder_{self.encoding}.pkl",
            model=model,
            vocab=model.with_suffix(".vocab"),
            database=folder / "combined_segment_DB_res_ratio.pkl",
        )


def vocabulary_files(
    families: str = DEFAULT_FAMILIES,
    encoding: str = DEFAULT_ENCODING,
    vocab_size: int = DEFAULT_VOCAB_SIZE,
    root: str | Path = SENTENCE_PIECE_DIR,
) -> VocabularyFiles:
    """The files of a vocabulary of families joined with `+`; the shipped one if nothing is given.

    Raises:
        InputError: A name is not one of a family with networks.
    """
    return VocabularyName(parse_families(families), encoding, vocab_size).files(root)


def add_vocabulary_flags(parser: FlagParser) -> None:
    """Add the flags that name a vocabulary."""
    add = parser.add_argument
    add("-encoder_families", default=DEFAULT_FAMILIES, help="families that the vocabulary was learnt from")
    add("-encoding", default=DEFAULT_ENCODING, help="encoding of the vocabulary")
    add("-vocab_size", type=positive_int, default=DEFAULT_VOCAB_SIZE, help="size of the vocabulary")


def vocabulary_name(args: Namespace) -> VocabularyName:
    """The vocabulary that the flags of `add_vocabulary_flags` name.

    Raises:
        InputError: A family is unknown.
    """
    return VocabularyName(parse_families(args.encoder_families), args.encoding, args.vocab_size)
