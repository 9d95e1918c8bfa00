"""The flags of autogo.py, and those that a finished search has stored; imports nothing heavy."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

import constants
from model_src.cli import (
    FlagParser,
    fraction,
    non_negative_float,
    non_negative_int,
    percent,
    positive_float,
    positive_int,
    shipped_path,
    thread_count,
)
from model_src.encoder.paths import vocabulary_files
from model_src.families import all_names
from model_src.files import InputError, naming
from model_src.predictor.settings import add_ignored_flags
from model_src.search.resuming import resumed_flags, searches_on
from model_src.training.flags import RECIPE_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from model_src.comp_graph.tf_comp_graph import ComputeGraph, Shape
    from model_src.search.config import SearchConfig
    from model_src.training.frontier import FrontierConfig
    from model_src.training.image_data import ImageData, ImageSource
    from model_src.training.labels import Measurement
    from model_src.training.recipe import Execution

PREDICTOR_TYPES = ("PSC_predictor", "GNN")
EXPORT_FORMATS = ("onnx", "torch", "tf")
_REQUIRED = ("model_path", "model_family", "predictor_path", "predictor_type", "input_h", "input_w", "input_c")


def parse_flags(parser: FlagParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse autogo.py's command line; with `-resume`, the search's own flags come from its folder.

    Raises:
        InputError: A flag is unknown, missing or out of range, or flags contradict each other or a finished search.
    """
    _add_input_flags(parser)
    _add_search_flags(parser)
    _add_training_flags(parser)
    args = parser.parse_args(argv)
    if args.resume:
        args = resumed_flags(parser, args, sys.argv[1:] if argv is None else argv)
    _check(parser, args)
    return args


def _shipped(text: str) -> str:
    """See `shipped_path`; flags are stored as text."""
    return str(shipped_path(text))


def _dataset(text: str) -> str:
    """Parse `CIFAR10` or `folder:PATH`, as argparse's `type`."""
    if text != "CIFAR10" and (not text.startswith("folder:") or text == "folder:"):
        raise argparse.ArgumentTypeError(f"must be CIFAR10 or folder:PATH, got {text}")
    return text


def _add_input_flags(parser: FlagParser) -> None:
    """Add the flags that say where to begin, with which predictors and files, and where to write."""
    add, shipped = parser.add_argument, vocabulary_files()
    add("-model_path", type=_shipped, help="input network: .pkl, .json, .onnx, .keras, .h5, .pb or SavedModel")
    add("-no_check", action="store_true", help="do not compare what was read of a foreign file with it")
    add("-lenient_pb", action="store_true", help="read a .pb as published, which passes over what a graph cannot hold")
    add("-model_family", help=f"operations allowed: {', '.join(all_names())}")
    add("-predictor_path", nargs="+", type=_shipped, help="checkpoints, or folders of them; the first one screens")
    add("-predictor_type", help=f"kind of the one that screens: {' or '.join(PREDICTOR_TYPES)}")
    add("-rescore_per_iter", type=non_negative_int, default=200, help="networks scored as a whole; 0: as published")
    add(
        "-caution", type=non_negative_float, default=0.5, help="deviations of the predictors that are taken off a score"
    )
    add("-max_swaps", type=positive_int, default=None, help="results are at most so many swaps from the input")
    add("-max_score_drop", default="0", help="results may be so far below the input; `0.5pt`: points of accuracy")
    add("-graph_encoder_path", type=_shipped, default=str(shipped.encoder), help="encoder: node label -> character")
    add("-tokenizer_path", type=_shipped, default=str(shipped.model), help="SentencePiece model")
    add("-segment_database_path", type=_shipped, default=str(shipped.database), help="segments to put in")
    add("-graph_encoder_family", default="combined", help="`combined`, or one family whose operations are allowed")
    add("-resume", metavar="FOLDER", help="go on with the search of this folder; a finished one trains its results")
    add("-seed", type=non_negative_int, default=0, help="same seed, same result")
    add("-output_dir", default=str(constants.OUTPUTS_DIR), help="parent of the result folder")
    add("-logs_dir", default=str(constants.OUTPUTS_DIR), help="parent of a folder with a copy of the parameters")
    add("-input_h", type=positive_int, help="input height in pixels")
    add("-input_w", type=positive_int, help="input width in pixels")
    add("-input_c", type=positive_int, help="input channels")


def _add_search_flags(parser: FlagParser) -> None:
    """Add the flags that say how to search, and for what."""
    add = parser.add_argument
    add("-top_k", type=positive_int, default=10, help="parents per iteration")
    add("-epoch", type=positive_int, default=5, help="iterations")
    add("-n_jobs", type=thread_count, default=1, help="worker processes; the result does not depend on it")
    add("-max_candidate_per_iter", type=positive_int, default=10, help="segments taken out per parent")
    add("-max_target_per_iter", type=positive_int, default=100, help="segments tried in the place of each")
    add("-propagation_type", choices=["milp"], default="milp", help="how resolutions are made to fit")
    add("-milp_solver", default=None, help="a solver that Pyomo knows; HiGHS in this process if not given")
    add("-mutation_unit", choices=["segment", "op"], default="segment", help="what is swapped")
    add("-max_visited_architecture", type=positive_int, default=None, help="stop after scoring so many networks")
    add("-max_minutes", type=positive_float, default=None, help="stop after so long, earlier runs included")
    add("-rounds", type=positive_int, default=1, help="times that so many iterations are done")
    add("-measure", type=non_negative_int, default=0, help="results trained and learnt from after each round")
    add("-measure_epochs", type=positive_int, default=8, help="epochs of these trainings, by the fast recipe")
    add("-measured_table", type=_shipped, help="CSV file of accuracies that you measured: columns hash and measured")
    add("-num_consecutive_segs", type=positive_int, default=3, help="most neighbouring segments taken out at once")
    add("-segment_sparsity", type=fraction, default=0.5, help="share of multi-node pieces left out when cutting")
    add("-objective", default="flops", help="what results have less of: flops, params, peak_memory, ...")
    add("-min_decrease_percent", type=percent, help="in the objective, results are below the input by more; 0")
    add("-max_decrease_percent", type=percent, help="in the objective, results are below the input by less; 20")
    add("-min_flops_decrease_percent", type=percent, help="the same for FLOPs, whatever the objective is; < 0: growth")
    add("-max_flops_decrease_percent", type=percent, help="likewise")
    add("-device_str", default=None, help="cpu, cuda, cuda:1, ...; a GPU if there is one")
    add("-export", nargs="+", choices=EXPORT_FORMATS, default=(), help="also write results in these formats")
    add("-calibration_data", metavar="FOLDER", help="images that results take statistics of batch normalisations from")
    add("-no_drawings", action="store_true", help="do not draw the networks")
    # Published flags whose values are read from the checkpoint.
    sizes = ("out_embed_size", "shape_embed_size", "kernel_embed_size", "n_unique_kernels", "n_shape_vals")
    others = ("hidden_size", "out_channels", "gnn_activ", "n_gnn_layers", "aggr_method", "dropout_prob")
    add_ignored_flags(parser, *(f"predictor_{name}" for name in sizes + others))


def _add_training_flags(parser: FlagParser) -> None:
    """Add the flags that say what of the results to train, and how."""
    add = parser.add_argument
    add("-iteration_min_percent", type=fraction, default=0.0, help="train only results of later iterations")
    add("-num_train_cgs", type=int, default=0, help="results to train afterwards; -1: all")
    add("-num_runs_cg", type=positive_int, default=3, help="trainings of each")
    add("-train_input_cg", action="store_true", help="also train the input")
    add("-from_scratch", action="store_true", help="train with fresh weights, also where the input came with weights")
    add("-train_recipe", choices=RECIPE_NAMES, default="published", help="fast: a few epochs, in bfloat16")
    add("-train_epochs", type=positive_int, default=None, help="epochs of a training; 200, or 8 by the fast recipe")
    add("-train_batch_size", type=positive_int, default=256, help="images per step")
    add("-train_images", type=positive_int, default=None, help="train on the first so many images only")
    add("-train_type", choices=["PyTorch", "TensorFlow"], default="PyTorch", help="framework of the training")
    add("-train_dataset", type=_dataset, default="CIFAR10", help="CIFAR10, or folder:PATH with train/ and val/")
    images = constants.DATA_DIR / "cifar-10-batches-py"
    add("-train_data_dir", default=str(images), help="folder of CIFAR-10; downloaded if absent")
    add("-train_compile", action="store_true", help="PyTorch: compile networks, for long trainings on a GPU")


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
    if not (trains(args) or searches(args)):
        raise InputError(
            "-resume: the search is finished; train results by -num_train_cgs or -train_input_cg, or search on by a"
            " higher -epoch"
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
    return Measurement(recipe, 1, args.n_jobs, image_source(args, cg), execution(args))


def execution(args: argparse.Namespace) -> "Execution":
    """Where and how to compute."""
    from model_src.training.recipe import Execution

    return Execution(args.device_str, compile=args.train_compile)
