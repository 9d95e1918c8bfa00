"""Going on with a search: its stored flags, and what may differ from them."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from model_src.cli import FlagParser, flag_words
from model_src.files import InputError
from model_src.search.result_folder import ResultFolder

# What may differ at any time: how to train, how to compute, how long, where files are and which are written.
_FREE = (
    "train_",
    "from_scratch",
    "num_train_cgs",
    "num_runs_cg",
    "iteration_min_percent",
    "n_jobs",
    "parallel_backend",
    "ray_address",
    "device_str",
    "costs_dir",
    "command_",
    "max_minutes",
    "max_visited_architecture",
    "export",
    "no_drawings",
    "quiet",
    "verbose",
    "calibration_data",
    "model_path",
    "no_check",
    "lenient_pb",
    "output_dir",
    "logs_dir",
    "resume",
)
_WITHOUT_EFFECT = "predictor_"  # flags that are accepted as published


def resumed_flags(parser: FlagParser, args: argparse.Namespace, argv: Sequence[str]) -> argparse.Namespace:
    """The flags of the search in the folder `-resume`, with those that are given now.

    Raises:
        InputError: The folder holds no search, or flags differ that may not.
    """
    params = _stored_params(args)
    if foreign := [name for name in params if name not in vars(args) and not name.startswith(_WITHOUT_EFFECT)]:
        raise InputError(f"{_params_path(args)}: -{foreign[0]:.30} is no flag of a search")
    line = list(flag_words(params))
    try:
        stored = vars(parser.parse_args(line))
    except InputError as error:
        raise InputError(f"{_params_path(args)}: {error}") from error
    resumed = parser.parse_args([*line, *argv])
    for name, value in vars(resumed).items():
        if value != stored[name] and not _may_become(name, stored, resumed):
            raise InputError(f"-resume {args.resume}: its search had -{name} {stored[name]}, not {value}")
    if not searches_on(resumed):
        resumed.export = args.export  # those that the search was asked for are there
    if not _has_images(resumed.train_data_dir):  # a file does not say where they are downloaded to
        resumed.train_data_dir = args.train_data_dir
    return resumed


def _has_images(folder: str) -> bool:
    from model_src.training.cifar10_data import is_complete

    return is_complete(folder)


def _may_become(name: str, stored: Mapping[str, Any], resumed: argparse.Namespace) -> bool:
    """Whether a flag may have another value now than when the search began."""
    if name == _longer(resumed):
        return bool(getattr(resumed, name) > stored[name])
    return name.startswith(_FREE) and not (name == "train_dataset" and resumed.measure)


def _longer(args: argparse.Namespace) -> str:
    """The flag that makes a search longer: where rounds end with measuring, their number."""
    return "rounds" if args.measure or args.rounds > 1 else "epoch"


def searches_on(args: argparse.Namespace) -> bool:
    """Whether the search of the folder `-resume` is not at its end, or has a new one."""
    folder, name = ResultFolder(args.resume), _longer(args)
    return folder.is_unfinished or getattr(args, name) > _stored_params(args).get(name, 1)


def _params_path(args: argparse.Namespace) -> Any:
    return ResultFolder(args.resume).params_path(args.logs_dir)


def _stored_params(args: argparse.Namespace) -> dict[str, Any]:
    return ResultFolder.load_params(_params_path(args))
