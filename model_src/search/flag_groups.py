"""The flags of autogo.py in groups, with their types, defaults and help; imports nothing heavy."""

import argparse
from typing import Any

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
from model_src.predictor.settings import add_ignored_flags
from model_src.processes import add_backend_flags
from model_src.profiling.runtimes import RUNTIME_NAMES
from model_src.training.flags import RECIPE_NAMES

PREDICTOR_TYPES = ("PSC_predictor", "GNN")
EXPORT_FORMATS = ("onnx", "torch", "tf")
USAGE = """%(prog)s -model_path FILE -model_family NAME -predictor_path FILE [FILE ...] -predictor_type KIND
                 -input_h H -input_w W -input_c C [further flags]
       %(prog)s -resume FOLDER [further flags]
       %(prog)s -report FOLDER [FOLDER ...]"""
EXAMPLES = """examples:
  The best NAS-Bench-201 cell, at 0 to 20 % fewer FLOPs, scored by all shipped predictors:
    python autogo.py -model_path architectures/nb201_best.pkl -model_family nb201 \\
        -predictor_path saved_models/ensemble -predictor_type PSC_predictor -input_h 32 -input_w 32 -input_c 3 -n_jobs 2
  A search of your own network that was stopped, and trainings of its five best results:
    python autogo.py -resume outputs/FOLDER -num_train_cgs 5 -train_dataset folder:IMAGES
"""


class _OneOrSeveral(argparse.Action):
    """Keeps one value as it is, and several as a list."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, flag: object = None) -> None:
        setattr(namespace, self.dest, values if values[1:] else values[0])


def add_flags(parser: FlagParser) -> None:
    """Add all flags of autogo.py."""
    _add_input_flags(parser)
    _add_search_flags(parser)
    _add_objective_flags(parser)
    _add_device_flags(parser)
    _add_predictor_flags(parser)
    _add_measuring_flags(parser)
    _add_output_flags(parser)
    _add_training_flags(parser)
    _add_ignored_flags(parser)


def _shipped(text: str) -> str:
    """See `shipped_path`; flags are stored as text."""
    return str(shipped_path(text))


def _dataset(text: str) -> str:
    """Parse `CIFAR10` or `folder:PATH`, as argparse's `type`."""
    if text != "CIFAR10" and (not text.startswith("folder:") or text == "folder:"):
        raise argparse.ArgumentTypeError(f"must be CIFAR10 or folder:PATH, got {text}")
    return text


def _add_input_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("input", "the network to begin with").add_argument
    add("-model_path", type=_shipped, help="input network: .pkl, .json, .onnx, .keras, .h5, .pb or SavedModel")
    add("-model_family", help=f"operations allowed: {', '.join(all_names())}")
    add("-input_h", type=positive_int, help="input height in pixels")
    add("-input_w", type=positive_int, help="input width in pixels")
    add("-input_c", type=positive_int, help="input channels")
    add("-output_node", metavar="NAME", help="search only what leads to this tensor, operation or layer of -model_path")
    add("-no_check", action="store_true", help="do not compare what was read of a foreign file with it")
    add("-lenient_pb", action="store_true", help="read a .pb as published, which passes over what a graph cannot hold")
    add("-resume", metavar="FOLDER", help="go on with the search of this folder; or train or -export results")


def _add_search_flags(parser: FlagParser) -> None:
    add, shipped = parser.add_argument_group("search", "how to look for others").add_argument, vocabulary_files()
    add("-epoch", type=positive_int, default=5, help="iterations")
    add("-top_k", type=positive_int, default=10, help="parents per iteration")
    add("-max_candidate_per_iter", type=positive_int, default=10, help="segments taken out per parent")
    add("-max_target_per_iter", type=positive_int, default=100, help="segments tried in the place of each")
    add("-num_consecutive_segs", type=positive_int, default=3, help="most neighbouring segments taken out at once")
    add("-segment_sparsity", type=fraction, default=0.5, help="share of multi-node pieces left out when cutting")
    add("-mutation_unit", choices=["segment", "op"], default="segment", help="what is swapped")
    add("-max_swaps", type=positive_int, help="results are at most so many swaps from the input")
    add("-max_visited_architecture", type=positive_int, help="stop after scoring so many networks")
    add("-max_minutes", type=positive_float, help="stop after so long, earlier runs included")
    add("-seed", type=non_negative_int, default=0, help="same seed, same result")
    add("-n_jobs", type=thread_count, default=1, help="worker processes; the result does not depend on it")
    add_backend_flags(add)
    add("-device_str", help="cpu, cuda, cuda:1, ...; a GPU if there is one")
    add("-propagation_type", choices=["milp"], default="milp", help="how resolutions are made to fit")
    add("-milp_solver", help="a solver that Pyomo knows; HiGHS in this process if not given")
    add("-graph_encoder_path", type=_shipped, default=str(shipped.encoder), help="encoder: node label -> character")
    add("-tokenizer_path", type=_shipped, default=str(shipped.model), help="SentencePiece model")
    add("-segment_database_path", type=_shipped, default=str(shipped.database), help="segments to put in")
    add("-graph_encoder_family", default="combined", help="`combined`, or one family whose operations are allowed")


def _add_objective_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("objective", "what results may cost, and how accurate they must be").add_argument
    several: Any = {"nargs": "+", "action": _OneOrSeveral}
    text = "what results have less of, one or several: flops, params, peak_memory, latency, command:'...'"
    add("-objective", **several, metavar="NAME", default="flops", help=text)
    percents = {**several, "type": percent, "metavar": "PERCENT"}
    add("-min_decrease_percent", **percents, help="results are below the input by more, in all of them or in each; 0")
    add("-max_decrease_percent", **percents, help="results are below the input by less, in all of them or in each; 20")
    add("-min_flops_decrease_percent", type=percent, help="the same for FLOPs, whatever the objective is; < 0: growth")
    add("-max_flops_decrease_percent", type=percent, help="likewise")
    add("-max_score_drop", default="0", help="results may be so far below the input; `0.5pt`: points of accuracy")


def _add_device_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("device", "where costs are measured").add_argument
    add("-latency_runtime", choices=RUNTIME_NAMES, help="what runs networks; onnxruntime if it is installed, or torch")
    add("-latency_device", default="cpu", help="cpu, cuda, cuda:1, ...")
    add("-latency_threads", type=thread_count, default=1, help="threads that a network may use on a CPU")
    add("-latency_batch", type=positive_int, default=1, help="images at a time")
    add("-latency_table", type=_shipped, help="table of layers that screens; without one the input's layers are timed")
    add("-objective_unit", default="units", help="unit of what the program of -objective command:'PROGRAM {onnx}' says")
    add("-command_timeout", type=positive_float, default=600.0, help="seconds that it may take")
    add("-command_attempts", type=positive_int, default=2, help="times that it is tried for a network")
    add("-command_jobs", type=thread_count, default=1, help="networks that it is asked for at a time")
    add("-costs_dir", default=str(constants.CACHE_DIR / "costs"), help="what was measured, for later searches")


def _add_predictor_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("predictor", "what judges networks").add_argument
    add("-predictor_path", nargs="+", type=_shipped, help="checkpoints, or folders of them; the first one screens")
    add("-predictor_type", help=f"kind of the one that screens: {' or '.join(PREDICTOR_TYPES)}")
    add("-rescore_per_iter", type=non_negative_int, default=200, help="networks scored as a whole; 0: as published")
    text = "deviations of the predictors that are taken off a score"
    add("-caution", type=non_negative_float, default=0.5, help=text)


def _add_measuring_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("measuring", "accuracies that a search learns from").add_argument
    add("-measure", type=non_negative_int, default=0, help="results trained and learnt from after each round")
    add("-rounds", type=positive_int, default=1, help="times that so many iterations are done")
    add("-measure_epochs", type=positive_int, default=8, help="epochs of these trainings, by the fast recipe")
    add("-measured_table", type=_shipped, help="CSV file of accuracies that you measured: columns hash and measured")


def _add_output_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("-output_dir", default=str(constants.OUTPUTS_DIR), help="parent of the result folder")
    add("-logs_dir", default=str(constants.OUTPUTS_DIR), help="parent of a folder with a copy of the parameters")
    add("-export", nargs="+", choices=EXPORT_FORMATS, default=(), help="also write results in these formats")
    add("-calibration_data", metavar="FOLDER", help="images that results take statistics of batch normalisations from")
    add("-report", nargs="+", metavar="FOLDER", help="only draw these searches anew, and compare several on one page")
    add("-no_drawings", action="store_true", help="do not draw the networks")
    add("-quiet", action="store_true", help="show results and warnings only")
    add("-verbose", action="store_true", help="show what the log has, too")


def _add_training_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("training", "of results, after the search").add_argument
    add("-num_train_cgs", type=int, default=0, help="results to train afterwards; -1: all")
    add("-num_runs_cg", type=positive_int, default=3, help="trainings of each")
    add("-train_input_cg", action="store_true", help="also train the input")
    add("-iteration_min_percent", type=fraction, default=0.0, help="train only results of later iterations")
    add("-from_scratch", action="store_true", help="train with fresh weights, also where the input came with weights")
    add("-train_recipe", choices=RECIPE_NAMES, default="published", help="fast: a few epochs, in bfloat16")
    add("-train_epochs", type=positive_int, help="epochs of a training; 200, or 8 by the fast recipe")
    add("-train_batch_size", type=positive_int, default=256, help="images per step")
    add("-train_images", type=positive_int, help="train on the first so many images only")
    add("-train_dataset", type=_dataset, default="CIFAR10", help="CIFAR10, or folder:PATH with train/ and val/")
    images = constants.DATA_DIR / "cifar-10-batches-py"
    add("-train_data_dir", default=str(images), help="folder of CIFAR-10; downloaded if absent")
    add("-train_type", choices=["PyTorch", "TensorFlow"], default="PyTorch", help="framework of the training")
    add("-train_compile", action="store_true", help="PyTorch: compile networks, for long trainings on a GPU")


def _add_ignored_flags(parser: FlagParser) -> None:
    """Published flags whose values are read from the checkpoint."""
    sizes = ("out_embed_size", "shape_embed_size", "kernel_embed_size", "n_unique_kernels", "n_shape_vals")
    others = ("hidden_size", "out_channels", "gnn_activ", "n_gnn_layers", "aggr_method", "dropout_prob")
    group = parser.add_argument_group("published flags without effect")
    add_ignored_flags(group.add_argument, *(f"predictor_{name}" for name in sizes + others))
