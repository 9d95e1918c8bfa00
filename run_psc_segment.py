"""Cut the networks of a family into predecessor, segment and successor at every segment of a vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import constants
from model_src.cli import FlagParser, run_script, shipped_path, thread_count
from model_src.encoder.paths import VocabularyName, add_vocabulary_flags, vocabulary_name
from model_src.families import known_families, parse_family
from model_src.places import check_writable, tell_written
from model_src.predictor.settings import add_ignored_flags
from model_src.processes import Backend, add_backend_flags, backend_of


@dataclass(frozen=True)
class Config:
    """The flags."""

    family: str
    vocabulary: VocabularyName
    data_dir: Path
    cache_dir: Path
    vocabulary_dir: Path
    n_jobs: int
    backend: Backend


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
    add("-n_jobs", type=thread_count, default=1, help="processes that cut families in shards, a shard at a time")
    add_backend_flags(add)
    flags = parser.parse_args(argv)
    family = parse_family(flags.data_family, "-data_family")
    folders = flags.data_dir, flags.cache_dir, flags.vocabulary_dir
    return Config(family, vocabulary_name(flags), *folders, flags.n_jobs, backend_of(flags))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from model_src.encoder.tokenizer import load_vocabulary
    from model_src.family_data import cache_files, sharded
    from model_src.kept import KeptJob
    from model_src.predictor.data.psc_files import cache_path, place_for_splits, save_splits
    from model_src.predictor.data.psc_parts import cut_family
    from model_src.processes import TaskPool

    in_parts = sharded(config.family, config.data_dir) is not None
    path, last = place_for_splits(cache_path(config.cache_dir, config.family, config.vocabulary), in_parts)
    check_writable(last)
    files = config.vocabulary.files(config.vocabulary_dir)
    paths = shipped_path(files.encoder), shipped_path(files.model)
    vocabulary = load_vocabulary(*paths, config.vocabulary.command)
    read = dict(zip(("vocabulary_dir encoder", "vocabulary_dir model"), paths, strict=True))
    read |= cache_files([config.family], config.data_dir)
    job = KeptJob(path, {"data_family": config.family}, read)
    pool = TaskPool(partial(tuple, vocabulary), config.n_jobs, True, config.backend)
    with job, pool:
        save_splits(path, in_parts, cut_family(config.family, config.data_dir, vocabulary, job, pool))
    tell_written(path)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
