"""Train and test a PSC predictor, which predicts a network's accuracy from predecessor, segment and successor."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, positive_int, run_script
from model_src.encoder.paths import (
    DEFAULT_ENCODING,
    DEFAULT_VOCAB_SIZE,
)
from model_src.families import DEFAULT_FAMILIES, abbreviation, parse_families
from model_src.files import InputError
from model_src.predictor.settings import Experiment, add_training_flags, experiment, sample_count, split_count

PREDICTOR_TYPE = "PSC_predictor"


@dataclass(frozen=True)
class Config:
    """The flags; `num_samples` is by family, sorted."""

    experiment: Experiment
    num_samples: dict[str, str]
    encoder_families: tuple[str, ...]
    encoding: str
    vocab_size: int
    cache_dir: Path

    def run_name(self, seed: int) -> str:
        """The name of the results of a seed, as the published code forms it."""
        encoders, data = abbreviation(self.encoder_families), abbreviation(self.num_samples)
        samples = "+".join(self.num_samples.values())
        return (
            f"gpi_{self.experiment.model_name}_predictor_E-{encoders}_D-{data}_{self.encoding}_{self.vocab_size}"
            f"_s_ns-{samples}_rp-1_seed{seed}"
        )


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is unknown or out of range.
    """
    parser = FlagParser(__doc__)
    add_training_flags(parser, PREDICTOR_TYPE, DEFAULT_FAMILIES)
    add = parser.add_argument
    add("-num_samples", default="all", help="networks per segment as selected, one for all families or one for each")
    add("-epoch_samples", type=split_count, default=None, help="splits drawn of a network in an epoch, or `all`")
    add("-encoder_families", default=DEFAULT_FAMILIES, help="families that the vocabulary is made of")
    add("-encoding", default=DEFAULT_ENCODING, help="encoding of the nodes")
    add("-vocab_size", type=positive_int, default=DEFAULT_VOCAB_SIZE, help="size of the vocabulary")
    add("-test_folds", type=positive_int, default=10, help="folds of the test, each with one split of a network")
    add("-cache_dir", type=Path, default=constants.CACHE_DIR, help="folder of the selected splits")
    flags = parser.parse_args(argv)
    return Config(
        experiment(flags),
        samples_by_family(flags.data_families, flags.num_samples),
        parse_families(flags.encoder_families),
        flags.encoding,
        flags.vocab_size,
        flags.cache_dir,
    )


def samples_by_family(families: str, num_samples: str) -> dict[str, str]:
    """Family -> number of samples, sorted by family; the numbers are given in the order of the families as typed.

    Raises:
        InputError: Their numbers differ, or one cannot be read.
    """
    parse_families(families)
    names = [parse_families(name)[0] for name in families.split("+") if name.strip()]
    try:
        samples = [sample_count(entry.strip()) for entry in num_samples.split("+")]
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise InputError(f"-num_samples {num_samples}: {error}") from error
    if len(samples) == 1:
        samples *= len(names)
    if len(samples) != len(names):
        raise InputError(f"-num_samples {num_samples}: {len(samples)} numbers for {len(names)} families")
    return dict(sorted(zip(names, samples, strict=True)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)

    from model_src.family_data import split_names
    from model_src.predictor.data.examples import split_examples
    from model_src.predictor.data.psc_cache import cache_name, load_cache
    from model_src.predictor.models import build_model
    from model_src.predictor.training.experiment import run_experiment
    from model_src.runtime import made_by

    run = config.experiment
    build_model(PREDICTOR_TYPE, run.model)  # refuses what it cannot build before the data is read
    encoders, caches = abbreviation(config.encoder_families), []
    families = "+".join(config.encoder_families)
    for family, samples in config.num_samples.items():
        kind = encoders, abbreviation(family), config.encoding, config.vocab_size
        path = config.cache_dir / cache_name(*kind, samples)
        command = f"make_segment_predictor_cache_sa.py -data_family {family} -encoder_families {families}"
        options = f"-encoding {config.encoding} -vocab_size {config.vocab_size} -num_samples {samples}"
        with made_by(f"python {command} {options}", path):
            caches.append(load_cache(path))
    names = {
        cache.family: split_names(
            [network.name for network in cache.networks], run.dev_ratio, run.test_ratio, run.training.seed
        )
        for cache in caches
    }
    examples = split_examples(caches, run.model.num_layers, run.model.map_size)
    run_experiment(PREDICTOR_TYPE, examples, names, run, config.run_name)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
