"""Train and test a GNN predictor, which predicts a network's accuracy from its whole graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import constants
from model_src.cli import FlagParser, run_script
from model_src.families import abbreviation, parse_families
from model_src.places import check_writable
from model_src.predictor.settings import Experiment, add_ignored_flags, add_training_flags, experiment

PREDICTOR_TYPE = "GNN"


@dataclass(frozen=True)
class Config:
    """The flags."""

    experiment: Experiment
    families: tuple[str, ...]
    data_dir: Path

    def run_name(self, seed: int) -> str:
        """The name of the results of a seed, as the published code forms it."""
        return f"gpi_{self.experiment.model_name}_predictor_D-{abbreviation(self.families)}_seed{seed}"


def parse_args(argv: Sequence[str] | None) -> Config:
    """Read the flags.

    Raises:
        InputError: A flag is unknown or out of range.
    """
    parser = FlagParser(__doc__)
    add_training_flags(parser, "GNN_predictor", "hiaml+two_path+nb201c10+nb101_5k+inception")
    parser.add_argument("-data_dir", type=Path, default=constants.DATA_DIR, help="folder of the family caches")
    add_ignored_flags(parser.add_argument, "fine_tune_epochs")
    flags = parser.parse_args(argv)
    return Config(experiment(flags), parse_families(flags.data_families), flags.data_dir)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    config = parse_args(argv)
    from model_src.family_data import iter_measured, sharded
    from model_src.predictor.data.examples import network_examples
    from model_src.predictor.models import build_model
    from model_src.predictor.training.experiment import run_experiment

    run = config.experiment
    build_model(PREDICTOR_TYPE, run.model)  # refuses what it cannot build before the data is read
    check_writable(run.saved_models_dir / config.run_name(0), run.logs_dir / config.run_name(0))
    networks = {family: iter_measured(family, config.data_dir) for family in config.families}
    is_large = any(sharded(family, config.data_dir) for family in config.families)
    examples = network_examples(networks, run.model.map_size, is_large)
    names = examples.split_names(run.dev_ratio, run.test_ratio, run.split_seed)
    run_experiment(PREDICTOR_TYPE, examples, names, run, config.run_name)
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
