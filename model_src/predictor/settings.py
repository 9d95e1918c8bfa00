"""Sizes of the predictors and settings of their training; needs no PyTorch, so that scripts answer at once."""

import argparse
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import constants
from model_src.cli import (
    FlagParser,
    fraction,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    thread_count,
)
from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode
from model_src.families import known_families, parse_families
from model_src.files import InputError

logger = logging.getLogger(__name__)

N_LABELS = 32  # the operation vocabulary
N_KERNEL_SIZES = 8  # 0 to 7 pixels
CIFAR_MAP_SIZE = 32

# Predictor type -> number of graphs that make one input: a whole network, or predecessor, segment and successor.
PREDICTOR_PARTS = {"GNN": 1, "PSC_predictor": 3}
SELECTION_METRICS = ("srcc", "tau", "mae", "mape")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a predictor; the defaults are the published ones.

    Attributes:
        in_channels: Size of a node's embedding.
        hidden_size: Size between two graph layers.
        out_channels: Size of a node's encoding, hence of a graph's embedding.
        num_layers: Graph layers.
        dropout_prob: Dropout after the last graph layer.
        gnn_type: Class of the graph layers.
        gnn_activ: Activation after every graph layer.
        reg_activ: Activation before the regressor, none by default.
        map_size: Normaliser of the map sizes in pixels; None takes each graph's own.
        output_mean: Added to the regressor's output times `output_deviation`.
        output_deviation: See `output_mean`.
    """

    in_channels: int = 32
    hidden_size: int = 32
    out_channels: int = 32
    num_layers: int = 6
    dropout_prob: float = 0.0
    gnn_type: str = "GraphConv"
    gnn_activ: str = "tanh"
    reg_activ: str | None = None
    map_size: int | None = None
    output_mean: float = 0.0
    output_deviation: float = 1.0


@dataclass(frozen=True)
class TrainingConfig:
    """How a predictor is trained; the defaults are the published ones, except for `select`.

    Attributes:
        epochs: Passes over the training networks.
        batch_size: Networks per step.
        epoch_samples: Splits drawn of each network in an epoch; None takes all.
        initial_lr: Learning rate of Adam.
        lr_schedule: `constant`, or `cosine` down to 0 at the end.
        max_gradient_norm: The gradient is scaled down to this norm.
        linear_from: Errors above this, in deviations of the family, count linearly, so that a few bad networks do not
            outweigh all others; 0 squares all.
        rank_weight: Weight of the loss for pairs of networks in the wrong order, beside the squared error.
        ema_decay: Decay per step of the moving average of the weights, which is the result; 0 takes the last weights.
        select: Dev metric by which the best epoch is chosen.
        seed: Seed of the weights and of the order of the networks.
    """

    epochs: int = 40
    batch_size: int = 32
    epoch_samples: int | None = None
    initial_lr: float = 1e-4
    lr_schedule: str = "constant"
    max_gradient_norm: float = 5.0
    linear_from: float = 0.0
    rank_weight: float = 0.0
    ema_decay: float = 0.0
    select: str = "srcc"
    seed: int = constants.DEFAULT_SEED


@dataclass(frozen=True)
class Experiment:
    """What the two training scripts have in common.

    Attributes:
        model: Architecture.
        training: How to train.
        model_name: First part of the names of all results.
        dev_ratio: Share of the networks that the best epoch is chosen on.
        test_ratio: Share of the networks that the result is tested on.
        split_seed: Seed of the division into these shares.
        num_seeds: Number of trainings.
        resume: Go on from the latest checkpoint.
        run_test_only: Test the best checkpoint of an earlier training.
        device: Where to compute, or None.
        num_workers: Threads of PyTorch, or None.
        logs_dir: Folder of the logs.
        saved_models_dir: Folder of checkpoints and reports.
        test_folds: Folds of the test.
    """

    model: ModelConfig
    training: TrainingConfig
    model_name: str
    dev_ratio: float
    test_ratio: float
    split_seed: int
    num_seeds: int
    resume: bool
    run_test_only: bool
    device: str | None
    num_workers: int | None
    logs_dir: Path
    saved_models_dir: Path
    test_folds: int = 1


def with_map_size(graph: ComputeGraph, map_size: int | None) -> ComputeGraph:
    """The graph under another normaliser of its map sizes; unchanged for None."""
    if map_size is None:
        return graph
    return graph.with_normalisers({**graph.normalisers, "max_derived_H": map_size, "max_derived_W": map_size})


def warn_of_large_kernels(name: str, nodes: Iterable[WeightedNode]) -> None:
    """Log a warning if predictors see a kernel smaller than it is."""
    largest = max((side for node in nodes for side in node.kernel[2:]), default=0)
    if largest >= N_KERNEL_SIZES:
        logger.warning(
            "%s: kernels of up to %d pixels; predictors know %d at most, see larger ones as that, and are less sure",
            name, largest, N_KERNEL_SIZES - 1,
        )  # fmt: skip


def sample_count(text: str) -> str:
    """Read a number of samples, as argparse's `type`: `all`, or a positive number, which is written as a float."""
    if text == "all":
        return text
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be `all` or above 0, got {text}")
    return str(value)


def samples_by_family(families: str, num_samples: str) -> dict[str, str]:
    """Family -> number of samples, sorted by family; the numbers are given in the order of the families as typed.

    Raises:
        InputError: Their numbers differ, or one cannot be read.
    """
    parse_families(families)
    names = [parse_families(name)[0] for name in families.split("+") if name.strip()]
    try:
        samples = [sample_count(entry.strip()) for entry in num_samples.split("+")]
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise InputError(f"-num_samples {num_samples}: {error}") from error
    if len(samples) == 1:
        samples *= len(names)
    if len(samples) != len(names):
        raise InputError(f"-num_samples {num_samples}: {len(samples)} numbers for {len(names)} families")
    return dict(sorted(zip(names, samples, strict=True)))


def split_count(text: str) -> int | None:
    """Read a number of splits, as argparse's `type`; None for `all`."""
    return None if text == "all" else positive_int(text)


def rate(text: str) -> float:
    """Read a learning rate, above 0 and up to 10, as argparse's `type`."""
    value = positive_float(text)
    if value > 10:
        raise argparse.ArgumentTypeError(f"must be at most 10, got {text}")
    return value


def add_ignored_flags(add: Callable[..., object], *names: str) -> None:
    """Accept published flags that never had an effect, by a parser's or a group's `add_argument`."""
    for name in names:
        add(f"-{name}", nargs="?", default=argparse.SUPPRESS, help="accepted, without effect")


def add_training_flags(parser: FlagParser, model_name: str, families: str) -> None:
    """Add the flags that both training scripts have."""
    add, model, training = parser.add_argument, ModelConfig(), TrainingConfig()
    add("-model_name", default=model_name, help="first part of the names of all results")
    add("-data_families", default=families, help=f"families to train on, joined with +: {known_families()}")
    add("-dev_ratio", type=fraction, default=0.1, help="share of the networks that the best epoch is chosen on")
    add("-test_ratio", type=fraction, default=0.1, help="share of the networks that the result is tested on")
    add("-epochs", type=positive_int, default=training.epochs, help="passes over the training networks")
    add("-batch_size", type=positive_int, default=training.batch_size, help="networks per step")
    add("-initial_lr", type=rate, default=training.initial_lr, help="learning rate of Adam")
    add("-lr_schedule", choices=("constant", "cosine"), default=training.lr_schedule, help="how it goes on")
    add("-max_gradient_norm", type=positive_float, default=training.max_gradient_norm, help="limit of the gradient")
    add("-linear_from", type=non_negative_float, default=training.linear_from, help="larger errors count linearly")
    add("-rank_weight", type=non_negative_float, default=training.rank_weight, help="weight of pairs in wrong order")
    add("-ema_decay", type=fraction, default=training.ema_decay, help="of the average of the weights; 0 takes the last")
    add("-select", choices=SELECTION_METRICS, default=training.select, help="dev metric that decides on the best epoch")
    add("-in_channels", type=positive_int, default=model.in_channels, help="size of a node's embedding")
    add("-hidden_size", type=positive_int, default=model.hidden_size, help="size between graph layers")
    add("-out_channels", type=positive_int, default=model.out_channels, help="size of a graph's embedding")
    add("-num_layers", type=positive_int, default=model.num_layers, help="graph layers")
    add("-dropout_prob", type=fraction, default=model.dropout_prob, help="dropout after the graph layers")
    add("-aggr_method", choices=("mean",), default="mean", help="how nodes make up a graph")
    add("-gnn_type", default=model.gnn_type, help="class of the graph layers")
    add("-gnn_activ", default=model.gnn_activ, help="activation after every graph layer")
    add("-reg_activ", default=None, help="activation before the regressor; none if not given")
    add("-normalize_HW_per_family", action="store_true", help="scale map sizes by 32, the size of CIFAR images")
    add("-num_seeds", type=positive_int, default=1, help="trainings, with -seed, then seeds 1, 2, ...")
    add("-seed", type=non_negative_int, default=training.seed, help="seed of the weights and order")
    add("-split_seed", type=non_negative_int, default=training.seed, help="seed of the division into train, dev, test")
    add("-resume", action="store_true", help="go on from the latest checkpoint")
    add("-run_test_only", action="store_true", help="only test the best checkpoint")
    add("-device_str", default=None, help="such as cpu or cuda:0; a GPU if there is one")
    add("-num_workers", type=thread_count, default=None, help="threads of PyTorch; its own choice if not given")
    add("-logs_dir", type=Path, default=constants.LOGS_DIR, help="folder of the logs")
    add("-saved_models_dir", type=Path, default=constants.SAVED_MODELS_DIR, help="folder of checkpoints and results")
    add_ignored_flags(add, "saved_model_file", "word_delim", "allow_parallel", "disable_checkpoint")


def experiment(args: argparse.Namespace) -> Experiment:
    """What the flags of `add_training_flags` describe."""
    model = {entry.name: getattr(args, entry.name) for entry in fields(ModelConfig) if hasattr(args, entry.name)}
    training: dict[str, Any] = {
        entry.name: getattr(args, entry.name, entry.default) for entry in fields(TrainingConfig)
    }
    return Experiment(
        model=ModelConfig(**model, map_size=CIFAR_MAP_SIZE if args.normalize_HW_per_family else None),
        training=TrainingConfig(**training),
        model_name=args.model_name,
        dev_ratio=args.dev_ratio,
        test_ratio=args.test_ratio,
        split_seed=args.split_seed,
        num_seeds=args.num_seeds,
        resume=args.resume,
        run_test_only=args.run_test_only,
        device=args.device_str,
        num_workers=args.num_workers,
        logs_dir=args.logs_dir,
        saved_models_dir=args.saved_models_dir,
        test_folds=getattr(args, "test_folds", 1),
    )
