"""The flags that say how networks are measured by training them; imports nothing heavy."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_src.cli import FlagParser, positive_int

if TYPE_CHECKING:
    from model_src.training.labels import Measurement

MEASUREMENT_FLAGS = ("epochs", "train_images", "batch_size", "runs", "n_jobs", "device_str", "train_data_dir")


def add_measurement_flags(parser: FlagParser) -> None:
    """Add the flags that say how networks are measured; they are None where they are not given."""
    add = parser.add_argument
    add("-epochs", type=positive_int, help="of a training; 200 if not given")
    add("-train_images", type=positive_int, help="train on the first so many images; all if not given")
    add("-batch_size", type=positive_int, help="images per step; 256 if not given")
    add("-runs", type=positive_int, help="trainings of each network, with different seeds; 1 if not given")
    add("-n_jobs", type=positive_int, help="trainings at a time, on one device; 1 if not given")
    add("-device_str", help="cpu, cuda, cuda:1, ...; a GPU if there is one")
    add("-train_data_dir", type=Path, help="CIFAR-10; data/cifar-10-batches-py if not given, downloaded if absent")


def measurement(args: argparse.Namespace) -> "Measurement":
    """How the flags of `add_measurement_flags` want networks to be measured."""
    from model_src.training.cifar10_data import CIFAR10_DIR
    from model_src.training.labels import Measurement
    from model_src.training.recipe import Execution, TrainConfig

    epochs = args.epochs or 200
    return Measurement(
        TrainConfig(epochs, args.batch_size or 256, args.train_images, epochs_per_test=epochs),
        args.runs or 1,
        args.n_jobs or 1,
        args.train_data_dir or CIFAR10_DIR,
        Execution(args.device_str),
    )
