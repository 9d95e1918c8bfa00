"""The flags of autogo.py, and those that a finished search has stored; imports nothing heavy."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from model_src.cli import FlagParser
from model_src.files import InputError, naming
from model_src.processes import backend_of
from model_src.search.flag_groups import PREDICTOR_TYPES, add_flags
from model_src.search.resuming import resumed_flags, searches_on

if TYPE_CHECKING:
    from torch import Tensor

    from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape
    from model_src.search.config import SearchConfig
    from model_src.training.frontier import FrontierConfig
    from model_src.training.image_data import ImageData, ImageSource
    from model_src.training.labels import Measurement
    from model_src.training.recipe import Execution

_REQUIRED = ("model_path", "model_family", "predictor_path", "predictor_type", "input_h", "input_w", "input_c")


def parse_flags(parser: FlagParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse autogo.py's command line; with `-resume`, the search's own flags come from its folder.

    Raises:
        InputError: A flag is unknown, missing or out of range, or flags contradict each other or a finished search.
    """
    add_flags(parser)
    words = parser.with_config(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(words)
    if args.report:
        return args
    if args.resume:
        args = resumed_flags(parser, args, words)
    _check(parser, args)
    return args


def defaults() -> dict[str, Any]:
    """Every flag's default."""
    parser = FlagParser("")
    add_flags(parser)
    return vars(parser.parse_args([]))


def _check(parser: FlagParser, args: argparse.Namespace) -> None:
    """Refuse what is missing or contradicts itself."""
    missing = [f"-{name}" for name in _REQUIRED if getattr(args, name) is None]
    if missing:
        parser.error(f"these flags are required: {', '.join(missing)}")
    if args.predictor_type not in PREDICTOR_TYPES:
        raise InputError(f"-predictor_type: unknown {args.predictor_type!r}; choose {' or '.join(PREDICTOR_TYPES)}")
    if args.num_train_cgs < -1:
        raise InputError(f"-num_train_cgs must be at least -1, got {args.num_train_cgs}")
    if args.measure and args.measured_table:
        raise InputError("-measure and -measured_table exclude each other: their accuracies differ in level")
    if not (trains(args) or args.export or searches(args)):
        raise InputError(
            "-resume: the search is finished; train results by -num_train_cgs or -train_input_cg, write them by"
            " -export, or search on by a higher -epoch"
        )


def input_size(args: argparse.Namespace) -> "Shape":
    """(H, W, C) that the input is to have.

    Raises:
        InputError: It is to be trained on CIFAR-10, whose images are of another size.
    """
    size = (args.input_h, args.input_w, args.input_c)
    if (trains(args) or args.measure) and images_folder(args) is None and size != (32, 32, 3):
        raise InputError(
            "-num_train_cgs, -measure: CIFAR-10 images are 32x32x3, -input_h, -input_w, -input_c are "
            + "x".join(map(str, size))
        )
    return size


def trains(args: argparse.Namespace) -> bool:
    """Whether the flags ask for training."""
    return bool(args.num_train_cgs or args.train_input_cg)


def searches(args: argparse.Namespace) -> bool:
    """Whether there is something to search, and not only results to train."""
    return not args.resume or searches_on(args)


def images_folder(args: argparse.Namespace) -> str | None:
    """The folder of images to train on; None for CIFAR-10."""
    return args.train_dataset.partition(":")[2] or None


def search_config(args: argparse.Namespace) -> "SearchConfig":
    """What to search, and with what.

    Raises:
        InputError: The objective is unknown, or a window is empty or given twice.
    """
    from model_src.search.config import SearchConfig

    flags = {entry.name: getattr(args, entry.name) for entry in fields(SearchConfig)}
    return SearchConfig(**{**flags, "predictor_path": tuple(args.predictor_path)})


def frontier_config(args: argparse.Namespace) -> "FrontierConfig":
    """What to train and by which recipe."""
    from model_src.training.frontier import FrontierConfig
    from model_src.training.recipe import RECIPES

    recipe = RECIPES[args.train_recipe](
        batch_size=args.train_batch_size, train_images=args.train_images, framework=args.train_type
    )
    return FrontierConfig(
        replace(recipe, epochs=args.train_epochs or recipe.epochs),
        None if args.num_train_cgs == -1 else args.num_train_cgs,
        args.num_runs_cg,
        args.train_input_cg,
        math.ceil(
            round(args.rounds * args.epoch * args.iteration_min_percent, 9)
        ),  # 100 * 0.07 is a little more than 7
        backend_of(args),
        args.n_jobs,
    )


def image_source(args: argparse.Namespace, cg: "ComputeGraph") -> "ImageSource":
    """What reads the images to train on, for a search from this network."""
    if folder := images_folder(args):
        from model_src.training.image_folder import images_for

        return partial(images_for, cg, folder)
    from model_src.training.cifar10_download import fetch_cifar10

    return partial(fetch_cifar10, args.train_data_dir)


def calibration_images(args: argparse.Namespace) -> "Tensor | None":
    """The images (n, C, H, W) that results take their statistics from: every channel has mean 0 and deviation 1.

    Raises:
        InputError: They cannot be read.
    """
    if args.calibration_data is None:
        return None
    import torch

    from model_src.training.image_folder import load_images

    with naming("-calibration_data"):
        images = torch.from_numpy(load_images(args.calibration_data, args.input_h, args.input_w, args.input_c)).float()
    deviation, mean = torch.std_mean(images, (0, 2, 3), keepdim=True)
    return (images - mean) / deviation.clamp_min(1e-3)


def training_data(args: argparse.Namespace, cg: "ComputeGraph") -> "ImageData":
    """The images that results are trained on, for a search from this network.

    Raises:
        InputError: They are not there and cannot be downloaded, are damaged or do not fit the network, or framework or
            device are not there.
    """
    from model_src.training.loop import check_execution

    check_execution(frontier_config(args).recipe, execution(args))
    return image_source(args, cg)()


def measurement(args: argparse.Namespace, cg: "ComputeGraph", data: "ImageData") -> "Measurement":
    """How results of a search are measured between rounds: a tenth of the training images is held out to choose by.

    Args:
        args: The flags.
        cg: The network that the search starts from.
        data: The images.
    """
    from model_src.training.labels import Measurement
    from model_src.training.recipe import FastConfig

    n_images = min(len(data.train_images), args.train_images or len(data.train_images))
    recipe = FastConfig(
        epochs=args.measure_epochs,
        batch_size=args.train_batch_size,
        train_images=args.train_images,
        epochs_per_test=args.measure_epochs,
        held_out=max(1, n_images // 10),
    )
    return Measurement(recipe, 1, args.n_jobs, image_source(args, cg), execution(args), backend_of(args))


def execution(args: argparse.Namespace) -> "Execution":
    """Where and how to compute."""
    from model_src.training.recipe import Execution

    return Execution(args.device_str, compile=args.train_compile)
