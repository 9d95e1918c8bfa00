"""Pick the NB-101 subset out of the full NB-101 cache: the published list of names, or without it a random sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, non_negative_int, positive_int, run_script
from model_src.places import check_writable, tell_written

FAMILY = "nb101_5k"


@dataclass(frozen=True)
class Config:
    """The flags."""

    seed: int
    num: int
    data_dir: Path


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is unknown or out of range.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-seed", type=non_negative_int, default=constants.DEFAULT_SEED, help="seed of the sample")
    add("-num", type=positive_int, default=5000, help="networks to sample where there is no list of names")
    add("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the caches and of the list")
    return Config(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from model_src.family_data import family_path, pick_subset, save_family

    path = family_path(FAMILY, config.data_dir)
    check_writable(path)
    save_family(path, pick_subset(FAMILY, config.data_dir, config.num, config.seed))
    tell_written(path)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
