"""Select the splits of a family that the PSC predictor learns from: for every segment, some networks that have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, non_negative_int, positive_int, run_script
from model_src.encoder.paths import (
    DEFAULT_ENCODING,
    DEFAULT_VOCAB_SIZE,
)
from model_src.families import DEFAULT_FAMILIES, abbreviation, parse_families, parse_family
from model_src.predictor.settings import sample_count


@dataclass(frozen=True)
class Config:
    """The flags; `cache` None means the file that `run_psc_segment.py` writes."""

    family: str
    encoder_families: tuple[str, ...]
    encoding: str
    vocab_size: int
    num_samples: str
    cache: Path | None
    cache_dir: Path
    seed: int


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is missing, unknown or out of range.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-data_family", required=True, help="family to select from; nb101 is its 5k subset")
    add("-encoder_families", default=DEFAULT_FAMILIES, help="families that the vocabulary is made of")
    add("-encoding", default=DEFAULT_ENCODING, help="encoding of the nodes")
    add("-vocab_size", type=positive_int, default=DEFAULT_VOCAB_SIZE, help="size of the vocabulary")
    add("-num_samples", type=sample_count, default="all", help="networks per segment: `all`, a number, or a share < 1")
    add("-cache", type=Path, default=None, help="file to read; by default what run_psc_segment.py writes")
    add("-cache_dir", type=Path, default=constants.CACHE_DIR, help="folder of the files")
    add("-seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="seed of the draws")
    flags = parser.parse_args(argv)
    return Config(
        parse_family(flags.data_family, "-data_family"),
        parse_families(flags.encoder_families),
        flags.encoding,
        flags.vocab_size,
        flags.num_samples,
        flags.cache,
        flags.cache_dir,
        flags.seed,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)

    import numpy as np

    from model_src.predictor.data.psc_cache import cache_name, load_cache, sample_splits
    from model_src.runtime import made_by

    encoders, family = abbreviation(config.encoder_families), abbreviation(config.family)
    kind = encoders, family, config.encoding, config.vocab_size
    path = config.cache or config.cache_dir / cache_name(*kind)
    families = "+".join(config.encoder_families)
    command = f"run_psc_segment.py -data_family {config.family} -encoder_families {families}"
    with made_by(f"python {command} -encoding {config.encoding} -vocab_size {config.vocab_size}", path):
        cache = load_cache(path)
    selected = sample_splits(cache, config.num_samples, np.random.default_rng(config.seed))
    selected.save(config.cache_dir / cache_name(*kind, config.num_samples))
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
