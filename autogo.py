"""Search for networks that are more accurate and cheaper than a given one."""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import constants
from model_src.cli import FlagParser, fraction, non_negative_int, positive_int, run_script
from model_src.files import InputError, save_pickle

PREDICTOR_TYPES = ("PSC_predictor", "GNN")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        InputError: A flag is unknown, missing or out of range.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    group = parser.add_argument_group
    _ = group
    add("-model_path", required=True, help="input network: a computation graph (.pkl, .json) or a frozen .pb")
    add("-model_family", required=True, help=f"operations allowed: {', '.join(constants.FAMILY_OPS)}")
    add("-predictor_path", required=True, help="checkpoint of the predictor")
    add("-predictor_type", required=True, help=f"kind of the checkpoint: {' or '.join(PREDICTOR_TYPES)}")
    add("-graph_encoder_path", default=str(constants.DEFAULT_ENCODER), help="encoder: node label -> character")
    add("-tokenizer_path", default=str(constants.DEFAULT_TOKENIZER), help="SentencePiece model")
    add("-segment_database_path", default=str(constants.DEFAULT_DATABASE), help="segments to put in")
    add("-graph_encoder_family", default="combined", help="`combined`, or one family whose operations are allowed")
    add("-seed", type=non_negative_int, default=0, help="same seed, same result")
    add("-output_dir", default="outputs/", help="parent of the result folder")
    add("-logs_dir", default=None, help="parent of the folder for params.pkl; the output folder if not given")
    add("-input_h", type=positive_int, required=True, help="input height in pixels")
    add("-input_w", type=positive_int, required=True, help="input width in pixels")
    add("-input_c", type=positive_int, required=True, help="input channels")
    add("-top_k", type=positive_int, default=10, help="parents per iteration")
    add("-epoch", type=positive_int, default=5, help="iterations")
    add("-n_jobs", type=positive_int, default=1, help="worker processes; the result does not depend on it")
    add("-max_candidate_per_iter", type=positive_int, default=10, help="segments taken out per parent")
    add("-max_target_per_iter", type=positive_int, default=100, help="segments tried in the place of each")
    add("-propagation_type", choices=["milp"], default="milp", help="how resolutions are made to fit")
    add("-milp_solver", default=None, help="a solver that Pyomo knows; HiGHS in this process if not given")
    add("-mutation_unit", choices=["segment", "op"], default="segment", help="what is swapped")
    add("-max_visited_architecture", type=positive_int, default=None, help="stop after scoring so many networks")
    add("-iteration_min_percent", type=fraction, default=0.0, help="train only results of later iterations")
    add("-num_consecutive_segs", type=positive_int, default=3, help="most neighbouring segments taken out at once")
    add("-segment_sparsity", type=fraction, default=0.5, help="share of multi-node segments left out of a vocabulary")
    add("-min_flops_decrease_percent", type=float, default=0, help="results are cheaper by more than this; < 0: growth")
    add("-max_flops_decrease_percent", type=float, default=20, help="results are cheaper by less than this")
    add("-num_train_cgs", type=int, default=0, help="results to train on CIFAR-10 afterwards; -1: all")
    add("-num_runs_cg", type=positive_int, default=3, help="trainings of each")
    add("-train_input_cg", action="store_true", help="also train the input")
    add("-train_epochs", type=positive_int, default=200, help="epochs of a training")
    add("-train_batch_size", type=positive_int, default=256, help="images per step")
    add("-train_type", choices=["PyTorch"], default="PyTorch", help="framework of the training")
    add("-train_dataset", choices=["CIFAR10"], default="CIFAR10", help="data set of the training")
    add("-device_str", default=None, help="where predictor and training run, such as cpu or cuda:0; a GPU if there is one")
    add("-no_drawings", action="store_true", help="do not draw the networks")
    return parser.parse_args(argv)
