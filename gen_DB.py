"""Build the segment database that a search takes its replacements from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import constants
from model_src.cli import FlagParser, run_script, shipped_path, thread_count
from model_src.encoder.paths import add_vocabulary_flags, vocabulary_name
from model_src.families import DEFAULT_FAMILIES, in_database_order, known_families, parse_families
from model_src.places import check_writable, tell_written
from model_src.processes import Backend, add_backend_flags, backend_of


@dataclass(frozen=True)
class Config:
    """What the user asked for; `vocabulary_command` makes the encoder and the model."""

    families: tuple[str, ...]
    encoder_path: Path
    tokenizer_path: Path
    vocabulary_command: str
    data_dir: Path
    output: Path
    n_jobs: int
    backend: Backend


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is unknown or has an unusable value.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-families", default=DEFAULT_FAMILIES, help=f"families to cut, joined with +: {known_families()}")
    add_vocabulary_flags(parser)
    add("-encoder_path", type=Path, help="an encoder instead of the one that the three flags above name")
    add("-tokenizer_path", type=Path, help="a SentencePiece model instead of the one that they name")
    add("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the families' caches")
    add("-output", type=Path, help="the file; beside the vocabulary's encoder if not given")
    add("-n_jobs", type=thread_count, default=1, help="processes that cut families in shards, a shard at a time")
    add_backend_flags(add)
    flags = parser.parse_args(argv)
    vocabulary = vocabulary_name(flags)
    files = vocabulary.files()
    return Config(
        in_database_order(parse_families(flags.families)),
        shipped_path(flags.encoder_path or files.encoder),
        shipped_path(flags.tokenizer_path or files.model),
        vocabulary.command,
        flags.data_dir,
        flags.output or files.database,
        flags.n_jobs,
        backend_of(flags),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from model_src.encoder.tokenizer import load_vocabulary
    from model_src.family_data import cache_files
    from model_src.family_data.cutting import database_of
    from model_src.kept import KeptJob
    from model_src.processes import TaskPool

    check_writable(config.output)
    vocabulary = load_vocabulary(config.encoder_path, config.tokenizer_path, config.vocabulary_command)
    files = {"encoder_path": config.encoder_path, "tokenizer_path": config.tokenizer_path}
    files |= cache_files(config.families, config.data_dir)
    job = KeptJob(config.output, {"families": "+".join(config.families)}, files)
    pool = TaskPool(partial(tuple, vocabulary), config.n_jobs, True, config.backend)
    with job, pool:
        database = database_of(config.families, config.data_dir, vocabulary, job, pool)
        database.save(config.output)
    logging.info("%s", database.statistics())
    tell_written(config.output)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
