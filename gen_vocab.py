"""Learn a segment vocabulary: the encoder of a set of families and a SentencePiece model of their networks' texts."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import constants
from model_src.cli import FlagParser, positive_int, run_script
from model_src.encoder import paths
from model_src.families import DEFAULT_FAMILIES, parse_families

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import ComputeGraph

ENCODINGS = ("op", "res", "res_ratio", "shp", "chn", "op_nio", "shp_nio", "chn_nio")


@dataclass(frozen=True)
class Config:
    """What the user asked for."""

    families: tuple[str, ...]
    encoding: str
    vocab_size: int
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
    add("-families", default=DEFAULT_FAMILIES, help="families to learn from, joined with +")
    add("-encoding", choices=ENCODINGS, default=paths.DEFAULT_ENCODING, help="what a token says of its node")
    add("-vocab_size", type=positive_int, default=paths.DEFAULT_VOCAB_SIZE, help="number of pieces")
    add("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the families' caches")
    add("-output_dir", type=Path, default=constants.SENTENCE_PIECE_DIR, help="parent of the vocabulary's folder")
    add("-overwrite", action="store_true", help="replace an encoder and a model, both together")
    flags = vars(parser.parse_args(argv))
    return Config(parse_families(flags.pop("families")), **flags)


def read_graphs(families: Sequence[str], data_dir: Path) -> Iterator["ComputeGraph"]:
    """Networks family by family, the most accurate first; networks without a measured accuracy come last."""
    from tqdm import tqdm

    from model_src.family_data import load_family

    for family in families:
        networks = load_family(family, data_dir)
        networks.sort(key=lambda network: -math.inf if network.accuracy is None else network.accuracy, reverse=True)
        yield from tqdm((network.graph for network in networks), family, len(networks))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script."""
    config = parse_args(argv)
    from model_src.encoder.tokenizer import check_replacement, learn_vocabulary

    files = paths.vocabulary_files(config.families, config.encoding, config.vocab_size, config.output_dir)
    check_replacement(files, config.overwrite)
    graphs = read_graphs(config.families, config.data_dir)
    vocabulary = learn_vocabulary(graphs, config.families, config.encoding, config.vocab_size)
    vocabulary.save(files, config.overwrite)
    logging.info("%d networks, %d node labels", len(vocabulary.lines), len(vocabulary.encoder.op2vocab))
    logging.info("encoder: %s\nmodel: %s", files.encoder, files.model)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
