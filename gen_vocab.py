"""Learn a segment vocabulary: the encoder of a set of families and a SentencePiece model of their networks' texts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, positive_int, run_script
from model_src.encoder.paths import DEFAULT_ENCODING, DEFAULT_VOCAB_SIZE, VocabularyName
from model_src.families import DEFAULT_FAMILIES, known_families, parse_families
from model_src.places import check_writable, tell_written

ENCODINGS = ("op", "res", "res_ratio", "shp", "chn", "op_nio", "shp_nio", "chn_nio")


@dataclass(frozen=True)
class Config:
    """What the user asked for."""

    vocabulary: VocabularyName
    data_dir: Path
    output_dir: Path
    overwrite: bool


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is unknown or has an unusable value.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-families", default=DEFAULT_FAMILIES, help=f"families to learn from, joined with +: {known_families()}")
    add("-encoding", choices=ENCODINGS, default=DEFAULT_ENCODING, help="what a token says of its node")
    add("-vocab_size", type=positive_int, default=DEFAULT_VOCAB_SIZE, help="number of pieces")
    add("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the families' caches")
    add("-output_dir", type=Path, default=constants.SENTENCE_PIECE_DIR, help="parent of the vocabulary's folder")
    add("-overwrite", action="store_true", help="replace an encoder and a model, both together")
    flags = parser.parse_args(argv)
    vocabulary = VocabularyName(parse_families(flags.families), flags.encoding, flags.vocab_size)
    return Config(vocabulary, flags.data_dir, flags.output_dir, flags.overwrite)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from model_src.encoder.tokenizer import check_replacement, learn_vocabulary
    from model_src.family_data import iter_ranked

    name = config.vocabulary
    files = name.files(config.output_dir)
    check_replacement(files, config.overwrite)
    check_writable(files.encoder)
    families = {family: iter_ranked(family, config.data_dir) for family in name.families}
    vocabulary = learn_vocabulary(families, name.encoding, name.size)
    vocabulary.save(files, config.overwrite)
    logging.info("%d networks, %d node labels", len(vocabulary.lines), len(vocabulary.encoder.op2vocab))
    tell_written(files.encoder, files.text, files.model, files.vocab)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
