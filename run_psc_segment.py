"""Cut the networks of a family into predecessor, segment and successor at every segment of a vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import constants
from model_src.cli import FlagParser, run_script, shipped_path
from model_src.encoder.paths import VocabularyName, add_vocabulary_flags, vocabulary_name
from model_src.families import known_families, parse_family
from model_src.places import check_writable, tell_written
from model_src.predictor.settings import add_ignored_flags


@dataclass(frozen=True)
class Config:
    """The flags."""

    family: str
    vocabulary: VocabularyName
    data_dir: Path
    cache_dir: Path
    vocabulary_dir: Path


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is missing, unknown or out of range.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-data_family", required=True, help=f"family to cut (nb101 is its 5k subset): {known_families()}")
    add_vocabulary_flags(parser)
    add("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the family caches")
    add("-cache_dir", type=Path, default=constants.CACHE_DIR, help="folder of the result")
    add("-vocabulary_dir", type=Path, default=constants.SENTENCE_PIECE_DIR, help="folder of the vocabularies")
    ignored = "seed device_str max_gradient_norm logs_dir saved_models_dir saved_model_file word_delim run_test_only"
    add_ignored_flags(add, *ignored.split(), "allow_parallel", "num_workers", "disable_checkpoint")
    flags = parser.parse_args(argv)
    family = parse_family(flags.data_family, "-data_family")
    return Config(family, vocabulary_name(flags), flags.data_dir, flags.cache_dir, flags.vocabulary_dir)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from tqdm import tqdm

    from model_src.encoder.segmentation import segment_with_text
    from model_src.encoder.tokenizer import load_vocabulary
    from model_src.family_data import cache_files, iter_measured, load_measured, sharded
    from model_src.kept import KeptJob
    from model_src.predictor.data.psc_cache import build_cache
    from model_src.predictor.data.psc_files import cache_path

    path = cache_path(config.cache_dir, config.family, config.vocabulary)
    check_writable(path)
    files = config.vocabulary.files(config.vocabulary_dir)
    paths = shipped_path(files.encoder), shipped_path(files.model)
    vocabulary = load_vocabulary(*paths, config.vocabulary.command)
    read = dict(zip(("vocabulary_dir encoder", "vocabulary_dir model"), paths, strict=True))
    read |= cache_files([config.family], config.data_dir)
    measured = iter_measured if sharded(config.family, config.data_dir) else load_measured
    networks = tqdm(measured(config.family, config.data_dir), unit="network", disable=None)
    with KeptJob(path, {"data_family": config.family}, read) as job:
        cuts = job.of("cuts")
        cut = ((graph, acc, cuts.get(partial(segment_with_text, graph, *vocabulary))) for graph, acc in networks)
        build_cache(config.family, cut).save(path)
    tell_written(path)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
