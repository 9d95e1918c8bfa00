"""Train and test a PSC predictor, which predicts a network's accuracy from predecessor, segment and successor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, positive_int, run_script
from model_src.encoder.paths import VocabularyName, add_vocabulary_flags, vocabulary_name
from model_src.families import DEFAULT_FAMILIES, abbreviation
from model_src.places import check_writable
from model_src.predictor.settings import Experiment, add_training_flags, experiment, samples_by_family, split_count

PREDICTOR_TYPE = "PSC_predictor"


@dataclass(frozen=True)
class Config:
    """The flags; `num_samples` is by family, sorted."""

    experiment: Experiment
    num_samples: dict[str, str]
    vocabulary: VocabularyName
    cache_dir: Path

    def run_name(self, seed: int) -> str:
        """The name of the results of a seed, as the published code forms it."""
        encoders, data = abbreviation(self.vocabulary.families), abbreviation(self.num_samples)
        kind, samples = f"{self.vocabulary.encoding}_{self.vocabulary.size}", "+".join(self.num_samples.values())
        name = f"gpi_{self.experiment.model_name}_predictor_E-{encoders}_D-{data}_{kind}"
        return f"{name}_s_ns-{samples}_rp-1_seed{seed}"


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
    add_vocabulary_flags(parser)
    add("-test_folds", type=positive_int, default=10, help="folds of the test, each with one split of a network")
    add("-cache_dir", type=Path, default=constants.CACHE_DIR, help="folder of the selected splits")
    flags = parser.parse_args(argv)
    samples = samples_by_family(flags.data_families, flags.num_samples)
    return Config(experiment(flags), samples, vocabulary_name(flags), flags.cache_dir)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from model_src.predictor.data.examples import split_examples
    from model_src.predictor.data.psc_files import is_in_parts, iter_selected, selected_paths
    from model_src.predictor.models import build_model
    from model_src.predictor.training.experiment import run_experiment

    run = config.experiment
    build_model(PREDICTOR_TYPE, run.model)  # refuses what it cannot build before the data is read
    check_writable(run.saved_models_dir / config.run_name(0), run.logs_dir / config.run_name(0))
    selected = config.cache_dir, config.num_samples, config.vocabulary
    is_large = any(map(is_in_parts, selected_paths(*selected).values()))
    examples = split_examples(iter_selected(*selected), run.model.num_layers, run.model.map_size, is_large)
    names = examples.split_names(run.dev_ratio, run.test_ratio, run.split_seed)
    run_experiment(PREDICTOR_TYPE, examples, names, run, config.run_name)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
