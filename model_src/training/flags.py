"""The training flags of autogo.py, and the flags that a finished search has stored; imports nothing heavy."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from constants import DATA_DIR
from model_src.cli import FlagParser, fraction, positive_int
from model_src.files import InputError, load_pickle

if TYPE_CHECKING:
    from model_src.training.frontier import FrontierConfig
    from model_src.training.recipe import Execution

PARAMS_NAME = "params.pkl"
# What may differ when the training of a finished search goes on: how to train, and where files are.
_MAY_CHANGE = (
    "train_",
    "num_train_cgs",
    "num_runs_cg",
    "iteration_min_percent",
    "device_str",
    "model_path",
    "logs_dir",
)


def add_training_flags(parser: FlagParser) -> None:
    """Add the flags that say what of the results to train, and how."""
    add = parser.add_argument
    add("-resume", metavar="FOLDER", help="no search: train what is left to train of the results in this folder")
    add("-iteration_min_percent", type=fraction, default=0.0, help="train only results of later iterations")
    add("-num_train_cgs", type=int, default=0, help="results to train on CIFAR-10 afterwards; -1: all")
    add("-num_runs_cg", type=positive_int, default=3, help="trainings of each")
    add("-train_input_cg", action="store_true", help="also train the input")
    add("-train_epochs", type=positive_int, default=200, help="epochs of a training")
    add("-train_batch_size", type=positive_int, default=256, help="images per step")
    add("-train_images", type=positive_int, default=None, help="train on the first so many images only")
    add("-train_type", choices=["PyTorch", "TensorFlow"], default="PyTorch", help="framework of the training")
    add("-train_dataset", choices=["CIFAR10"], default="CIFAR10", help="data set of the training")
    add("-train_data_dir", default=str(DATA_DIR / "cifar-10-batches-py"), help="its folder; downloaded if absent")
    add("-train_compile", action="store_true", help="PyTorch: compile networks, for long trainings on a GPU")


def trains(args: argparse.Namespace) -> bool:
    """Whether the flags ask for training.

    Raises:
        InputError: A flag is out of range, or `-resume` has nothing to train.
    """
    if args.num_train_cgs < -1:
        raise InputError(f"-num_train_cgs must be at least -1, got {args.num_train_cgs}")
    wanted = args.num_train_cgs != 0 or args.train_input_cg
    if args.resume and not wanted:
        raise InputError("-resume: nothing is to be trained; give -num_train_cgs or -train_input_cg")
    return wanted


def frontier_config(args: argparse.Namespace) -> "FrontierConfig":
    """What to train and by which recipe."""
    from model_src.training.frontier import FrontierConfig
    from model_src.training.recipe import TrainConfig

    return FrontierConfig(
        TrainConfig(args.train_epochs, args.train_batch_size, args.train_images, args.train_type),
        None if args.num_train_cgs == -1 else args.num_train_cgs,
        args.num_runs_cg,
        args.train_input_cg,
        math.ceil(round(args.epoch * args.iteration_min_percent, 9)),  # 100 * 0.07 is a little more than 7
    )


def execution(args: argparse.Namespace) -> "Execution":
    """Where and how to compute."""
    from model_src.training.recipe import Execution

    return Execution(args.device_str, compile=args.train_compile)


def resumed_flags(parser: FlagParser, args: argparse.Namespace, argv: Sequence[str]) -> argparse.Namespace:
    """The flags of a finished search, with those for its training as given now.

    Args:
        parser: Of the script.
        args: The flags as given now; `resume` is the folder of the search.
        argv: The same, as words.

    Raises:
        InputError: The folder has no usable `params.pkl`, or a flag that the search is made of is given another value.
    """
    path, line = _stored_line(Path(args.resume), args.logs_dir)
    try:
        stored = vars(parser.parse_args(line))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    resumed = parser.parse_args([*line, *argv])
    for name, value in vars(resumed).items():
        if value != stored[name] and name != "resume" and not name.startswith(_MAY_CHANGE):
            raise InputError(f"-resume {args.resume}: its search had -{name} {stored[name]}, not {value}")
    return resumed


def _stored_line(folder: Path, logs_dir: str) -> tuple[Path, list[str]]:
    """The file with the flags of a search, and these as words of a command line."""
    paths = [folder / PARAMS_NAME, Path(logs_dir) / folder.name / PARAMS_NAME]
    path = next((path for path in paths if path.exists()), paths[0])
    kind = type("Stored", (argparse.Namespace,), {})  # a class of its own, for a pickle may change its class
    params = load_pickle(path, {("argparse", "Namespace"): kind})
    if not isinstance(params, kind):
        raise InputError(f"{path}: holds a {type(params).__name__}, not the flags of a search")
    line = []
    for name, value in vars(params).items():
        if isinstance(value, list | tuple):
            line += [f"-{name}", *map(str, value)] if value else []
        elif value is True:
            line.append(f"-{name}")
        elif value is not None and value is not False:
            line.append(f"-{name}={value}")
    return path, line
