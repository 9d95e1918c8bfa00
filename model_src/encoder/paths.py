"""Names of families and of the files that hold a vocabulary."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from constants import FAMILY_ABBREVIATIONS, SENTENCE_PIECE_DIR
from model_src.files import InputError

DEFAULT_FAMILIES = "hiaml+two_path+nb201+nb101_5k+inception"
DEFAULT_ENCODING = "shp"
DEFAULT_VOCAB_SIZE = 2000

# NB-101 stands for its published subset everywhere here; the CIFAR-10 NB-201 networks are the NB-201 networks.
_ALIASES = {"nb101": "nb101_5k", "nb201c10": "nb201"}


def parse_families(text: str) -> tuple[str, ...]:
    """Read family names joined with `+`, as flags give them: no repeats, sorted, aliases resolved.

    Raises:
        InputError: A name is not one of the five families.
    """
    names = [name.strip() for name in text.split("+") if name.strip()]
    unknown = [name for name in names if name not in FAMILY_ABBREVIATIONS]
    if unknown or not names:
        known = ", ".join(FAMILY_ABBREVIATIONS)
        raise InputError(f"unknown family {unknown[0] if unknown else text!r}; expected some of {known} joined with +")
    return tuple(sorted({_ALIASES.get(name, name) for name in names}))


def family_abbreviation(families: str | Iterable[str]) -> str:
    """Abbreviate a set of families as file names do: `hiaml+two_path` -> `h+t`.

    Raises:
        InputError: A name is not one of the five families.
    """
    names = parse_families(families if isinstance(families, str) else "+".join(families))
    return "+".join(FAMILY_ABBREVIATIONS[name] for name in names)


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
        InputError: A name is not one of the five families.
    """
    short = family_abbreviation(families)
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
