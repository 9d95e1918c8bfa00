"""Pick the NB-101 subset out of the full NB-101 cache: the published list of names, or without it a random sample."""

import heapq
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import constants
from model_src.cli import FlagParser, non_negative_int, positive_int, run_script
from model_src.files import InputError

if TYPE_CHECKING:
    from model_src.family_data import LabelledGraph


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


def sample(networks: Iterable["LabelledGraph"], num: int, seed: int) -> list["LabelledGraph"]:
    """Draw networks by a hash of their names, so that few are in memory at a time; they keep their order.

    Returns:
        `num` networks, or all if there are fewer.
    """

    def rank(item: tuple[int, "LabelledGraph"]) -> bytes:
        return blake2b(f"{seed}:{item[1].graph.name}".encode()).digest()

    chosen = heapq.nsmallest(num, enumerate(networks), key=rank)
    return [network for _, network in sorted(chosen, key=itemgetter(0))]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)

    from tqdm import tqdm

    from model_src.families import find
    from model_src.family_data import family_path, iter_list_cache, read_names, save_list_cache

    subset_of = find("nb101_5k").subset
    full, listed = config.data_dir / subset_of.cache, config.data_dir / subset_of.names
    networks = tqdm(iter_list_cache(full), unit="network")
    if listed.exists():
        names = read_names(listed)
        subset = [network for network in networks if network.graph.name in names]
        if not subset:
            raise InputError(f"{full}: has none of the {len(names)} networks of {listed.name}")
        logging.info("%d of the %d networks of %s were found", len(subset), len(names), listed)
    else:
        logging.info("%s: no such list, so %d networks are sampled with seed %d", listed, config.num, config.seed)
        subset = sample(networks, config.num, config.seed)
        if len(subset) < config.num:
            raise InputError(f"-num {config.num}: {full} has only {len(subset)} networks")
    save_list_cache(family_path("nb101_5k", config.data_dir), subset)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
