"""Build the segment database that a search takes its replacements from."""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import constants
from model_src.cli import FlagParser, positive_int, run_script, shipped_path
from model_src.encoder import paths
from model_src.families import DEFAULT_FAMILIES, in_database_order, parse_families

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import ComputeGraph
    from model_src.encoder.segment_db import DatabaseStatistics


@dataclass(frozen=True)
class Config:
    """What the user asked for."""

    families: tuple[str, ...]
    encoder_path: Path
    tokenizer_path: Path
    data_dir: Path
    output: Path
    vocabulary_command: str


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is unknown or has an unusable value.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-families", default=DEFAULT_FAMILIES, help="families whose networks are cut, joined with +")
    add("-encoder_families", default=DEFAULT_FAMILIES, help="families that the vocabulary was learnt from")
    add("-encoding", default=paths.DEFAULT_ENCODING, help="encoding of the vocabulary")
    add("-vocab_size", type=positive_int, default=paths.DEFAULT_VOCAB_SIZE, help="size of the vocabulary")
    add("-encoder_path", type=Path, help="an encoder instead of the one that the three flags above name")
    add("-tokenizer_path", type=Path, help="a SentencePiece model instead of the one that they name")
    add("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the families' caches")
    add("-output", type=Path, help="the file; beside the vocabulary's encoder if not given")
    flags = parser.parse_args(argv)
    vocabulary = parse_families(flags.encoder_families), flags.encoding, flags.vocab_size
    files = paths.vocabulary_files(*vocabulary)
    return Config(
        in_database_order(parse_families(flags.families)),
        shipped_path(flags.encoder_path or files.encoder),
        shipped_path(flags.tokenizer_path or files.model),
        flags.data_dir,
        flags.output or files.database,
        paths.vocabulary_command(*vocabulary),
    )


def read_graphs(families: Sequence[str], data_dir: Path) -> Iterator["ComputeGraph"]:
    """Networks family by family, in file order."""
    from tqdm import tqdm

    from model_src.family_data import iter_family

    for family in families:
        yield from tqdm((network.graph for network in iter_family(family, data_dir)), family, unit="network")


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Leave out Python's search for cyclic garbage inside the block: graphs hold no cycles, and it costs a quarter."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def report(statistics: "DatabaseStatistics") -> str:
    """The database's size beside the paper's."""
    return (
        f"{statistics.n_unique} unique segments (paper: 428), "
        f"nodes per unique segment: mean {statistics.mean_nodes:.1f} (5), max {statistics.max_nodes} (16); "
        f"{statistics.n_rows} variants"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script."""
    config = parse_args(argv)
    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segment_map import build_database
    from model_src.encoder.tokenizer import Tokenizer
    from model_src.runtime import made_by

    with made_by(config.vocabulary_command, config.encoder_path, config.tokenizer_path):
        encoder, tokenizer = NetworkEncoder.load(config.encoder_path), Tokenizer.load(config.tokenizer_path)
    with no_garbage_collection():
        database = build_database(read_graphs(config.families, config.data_dir), encoder, tokenizer)
    database.save(config.output)
    logging.info("%s\n%s", config.output, report(database.statistics()))
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
