"""Cut the networks of a family into predecessor, segment and successor at every segment of a vocabulary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, positive_int, run_script, shipped_path
from model_src.encoder.paths import (
    DEFAULT_ENCODING,
    DEFAULT_VOCAB_SIZE,
    vocabulary_command,
    vocabulary_files,
)
from model_src.families import DEFAULT_FAMILIES, abbreviation, parse_families, parse_family
from model_src.files import InputError
from model_src.predictor.settings import add_ignored_flags


@dataclass(frozen=True)
class Config:
    """The flags."""

    family: str
    encoder_families: tuple[str, ...]
    encoding: str
    vocab_size: int
    data_dir: Path
    cache_dir: Path
    vocabulary_dir: Path


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is missing, unknown or out of range.
    """
    parser = FlagParser(__doc__)
    parser.add_argument("-data_family", required=True, help="family to cut; nb101 is its 5k subset")
    parser.add_argument("-encoder_families", default=DEFAULT_FAMILIES, help="families that the vocabulary is made of")
    parser.add_argument("-encoding", default=DEFAULT_ENCODING, help="encoding of the nodes")
    parser.add_argument("-vocab_size", type=positive_int, default=DEFAULT_VOCAB_SIZE, help="size of the vocabulary")
    parser.add_argument("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the family caches")
    parser.add_argument("-cache_dir", type=Path, default=constants.CACHE_DIR, help="folder of the result")
    parser.add_argument(
        "-vocabulary_dir", type=Path, default=constants.SENTENCE_PIECE_DIR, help="folder of the vocabularies"
    )
    add_ignored_flags(parser, "seed", "device_str", "max_gradient_norm", "logs_dir", "saved_models_dir")
    add_ignored_flags(parser, "saved_model_file", "word_delim", "run_test_only", "allow_parallel", "num_workers")
    add_ignored_flags(parser, "disable_checkpoint")
    flags = parser.parse_args(argv)
    return Config(
        parse_family(flags.data_family, "-data_family"),
        parse_families(flags.encoder_families),
        flags.encoding,
        flags.vocab_size,
        flags.data_dir,
        flags.cache_dir,
        flags.vocabulary_dir,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)

    from tqdm import tqdm

    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segmentation import segment_with_text
    from model_src.encoder.tokenizer import Tokenizer
    from model_src.family_data import load_family
    from model_src.predictor.data.psc_cache import build_cache, cache_name
    from model_src.runtime import made_by

    files = vocabulary_files(config.encoder_families, config.encoding, config.vocab_size, config.vocabulary_dir)
    encoder_path, model_path = shipped_path(files.encoder), shipped_path(files.model)
    vocabulary = config.encoder_families, config.encoding, config.vocab_size
    with made_by(vocabulary_command(*vocabulary), encoder_path, model_path):
        encoder, tokenizer = NetworkEncoder.load(encoder_path), Tokenizer.load(model_path)
    networks = [network for network in load_family(config.family, config.data_dir) if network.accuracy is not None]
    if not networks:
        raise InputError(f"-data_family {config.family}: none of its networks has an accuracy")

    def segmented() -> Iterator[tuple]:
        for network in tqdm(networks, unit="network", disable=None):
            yield network.graph, network.accuracy, segment_with_text(network.graph, encoder, tokenizer)

    name = cache_name(
        abbreviation(config.encoder_families),
        abbreviation(config.family),
        config.encoding,
        config.vocab_size,
    )
    build_cache(config.family, segmented()).save(config.cache_dir / name)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
