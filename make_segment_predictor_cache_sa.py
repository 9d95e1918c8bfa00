"""Select the splits of a family that the PSC predictor learns from: for every segment, some networks that have it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import constants
from model_src.cli import FlagParser, non_negative_int, run_script
from model_src.encoder.paths import VocabularyName, add_vocabulary_flags, vocabulary_name
from model_src.families import known_families, parse_family
from model_src.files import InputError
from model_src.places import check_writable, tell_written
from model_src.predictor.settings import sample_count


@dataclass(frozen=True)
class Config:
    """The flags; `cache` None means the file that `run_psc_segment.py` writes."""

    family: str
    vocabulary: VocabularyName
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
    add("-data_family", required=True, help=f"family to select from (nb101 is its 5k subset): {known_families()}")
    add_vocabulary_flags(parser)
    add("-num_samples", type=sample_count, default="all", help="networks per segment: `all`, a number, or a share < 1")
    add("-cache", type=Path, default=None, help="file to read; by default what run_psc_segment.py writes")
    add("-cache_dir", type=Path, default=constants.CACHE_DIR, help="folder of the files")
    add("-seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="seed of the draws")
    flags = parser.parse_args(argv)
    family = parse_family(flags.data_family, "-data_family")
    return Config(family, vocabulary_name(flags), flags.num_samples, flags.cache, flags.cache_dir, flags.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    import numpy as np

    from model_src.family_data.shards import shards_of
    from model_src.predictor.data.psc_cache import selections
    from model_src.predictor.data.psc_files import cache_path, is_in_parts, iter_splits, place_for_splits, save_splits

    path = config.cache or cache_path(config.cache_dir, config.family, config.vocabulary)
    in_parts = is_in_parts(path)
    file = cache_path(config.cache_dir, config.family, config.vocabulary, config.num_samples)
    output, last = place_for_splits(file, in_parts)
    if output.resolve() in (path.resolve(), shards_of(path).resolve()):
        raise InputError(f"-cache {path}: would be written over; move it, or name another -cache_dir")
    check_writable(last)
    parts = partial(iter_splits, path, config.family, config.vocabulary)
    selected = selections(parts(), config.num_samples, np.random.default_rng(config.seed))
    save_splits(output, in_parts, (replace(part, selected=own) for part, own in zip(parts(), selected, strict=True)))
    tell_written(output)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
