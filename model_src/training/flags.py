"""The flags that say where accuracies of networks come from; imports nothing heavy."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_src.cli import FlagParser, positive_int, shipped_path, thread_count
from model_src.encoder.paths import vocabulary_files
from model_src.families import label_keys, label_packages
from model_src.labels.table import TEACHER, TRAIN
from model_src.processes import LOCAL, add_backend_flags, backend_of

if TYPE_CHECKING:
    from model_src.training.sources import LabelSource

RECIPE_NAMES = ("published", "fast")  # of `recipe.RECIPES`, which is not light
_MEASUREMENT_FLAGS = (
    *("recipe", "epochs", "train_images", "batch_size"),
    *("runs", "n_jobs", "device_str", "train_data_dir"),
)


def add_label_flags(parser: FlagParser) -> None:
    """Add the flags that say who knows accuracies of networks."""
    add, files = parser.add_argument, vocabulary_files()
    add("-label_table", type=shipped_path, help=f"CSV file of accuracies by {label_keys()}, or hash")
    add("-label", choices=(*label_packages(), TEACHER, TRAIN), help="a PyPI package, estimates, or training")
    add("-teacher_path", type=shipped_path, help="checkpoint of the PSC predictor that estimates accuracies")
    add("-encoder_path", type=shipped_path, default=str(files.encoder), help="the teacher's encoder")
    add("-tokenizer_path", type=shipped_path, default=str(files.model), help="the teacher's SentencePiece model")


def add_measurement_flags(parser: FlagParser) -> None:
    """Add the flags that say how networks are measured; they are None where they are not given."""
    add = parser.add_argument
    add("-recipe", choices=RECIPE_NAMES, help="of a training; published if not given")
    add("-epochs", type=positive_int, help="of a training; 200 if not given, or 8 by the fast recipe")
    add("-train_images", type=positive_int, help="train on the first so many images; all if not given")
    add("-batch_size", type=positive_int, help="images per step; 256 if not given")
    add("-runs", type=positive_int, help="trainings of each network, with different seeds; 1 if not given")
    add("-n_jobs", type=thread_count, help="trainings at a time, a thread each; 1 if not given")
    add_backend_flags(add)
    add("-device_str", help="cpu, cuda, cuda:1, ...; a GPU if there is one")
    add("-train_data_dir", type=Path, help="CIFAR-10; data/cifar-10-batches-py if not given, downloaded if absent")


def check_label_flags(parser: FlagParser, args: argparse.Namespace) -> None:
    """Refuse flags of both kinds, and `-save_labels` and `-save_best`, where they contradict each other.

    Raises:
        InputError: They do.
    """
    for wrong, message in _contradictions(args):
        if wrong:
            parser.error(message)


def _contradictions(args: argparse.Namespace) -> Iterator[tuple[object, str]]:
    taught, measured = args.label == TEACHER, args.label == TRAIN
    yield args.label and args.label_table, "-label and -label_table exclude each other"
    yield taught != bool(args.teacher_path), "-label teacher and -teacher_path need each other"
    yield args.save_labels and not (taught or measured), "-save_labels is for -label teacher and -label train"
    for flag in _MEASUREMENT_FLAGS:
        yield getattr(args, flag) and not measured, f"-{flag} is for -label train"
    yield args.parallel_backend != LOCAL.name and not measured, "-parallel_backend is for -label train"
    yield args.save_best and not (args.label or args.label_table), "-save_best needs -label or -label_table"
    yield args.save_best and args.save_best.suffix != ".pkl", f"-save_best {args.save_best}: must be a .pkl file"


def label_source(args: argparse.Namespace) -> "LabelSource":
    """Where the flags want accuracies to come from."""
    from model_src.training.cifar10_data import CIFAR10_DIR
    from model_src.training.cifar10_download import fetch_cifar10
    from model_src.training.labels import Measurement
    from model_src.training.recipe import RECIPES, Execution, TrainConfig
    from model_src.training.sources import LabelSource

    recipe = RECIPES[args.recipe or TrainConfig.name](batch_size=args.batch_size or 256, train_images=args.train_images)
    epochs = args.epochs or recipe.epochs
    measurement = Measurement(
        replace(recipe, epochs=epochs, epochs_per_test=epochs),
        args.runs or 1,
        args.n_jobs or 1,
        partial(fetch_cifar10, args.train_data_dir or CIFAR10_DIR),
        Execution(args.device_str),
        backend_of(args),
    )
    teacher = args.teacher_path, args.encoder_path, args.tokenizer_path
    return LabelSource(args.label_table, args.label, teacher, measurement, args.save_labels)
