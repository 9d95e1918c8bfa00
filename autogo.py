"""Search for networks that are more accurate and cheaper than a given one."""

import argparse
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import constants
from model_src.cli import FlagParser, fraction, non_negative_int, positive_int, run_script, shipped_path
from model_src.encoder.paths import vocabulary_files
from model_src.families import all_names
from model_src.files import InputError, save_pickle
from model_src.predictor.settings import add_ignored_flags
from model_src.training.flags import add_training_flags, execution, frontier_config, resumed_flags, trains

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import ComputeGraph
    from model_src.search.mutator import MutationConfig, Mutator
    from model_src.search.report import RankedNetwork
    from model_src.search.run_manager import SearchResult
    from model_src.search.workers import Workers
    from model_src.training.cifar10_data import Cifar10
    from model_src.training.frontier import FrontierNetwork

logger = logging.getLogger(__name__)
SHIPPED = vocabulary_files()

PREDICTOR_TYPES = ("PSC_predictor", "GNN")
REQUIRED = ("model_path", "model_family", "predictor_path", "predictor_type", "input_h", "input_w", "input_c")


def shipped_file(text: str) -> str:
    """See `shipped_path`, as argparse's `type` of a flag that is stored as text."""
    return str(shipped_path(text))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        InputError: A flag is unknown, missing or out of range.
    """
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("-model_path", type=shipped_file, help="input network: .pkl, .json, .onnx, .pb, .keras or SavedModel")
    add("-model_family", help=f"operations allowed: {', '.join(all_names())}")
    add("-predictor_path", type=shipped_file, help="checkpoint of the predictor")
    add("-predictor_type", help=f"kind of the checkpoint: {' or '.join(PREDICTOR_TYPES)}")
    add("-graph_encoder_path", type=shipped_file, default=str(SHIPPED.encoder), help="encoder: node label -> character")
    add("-tokenizer_path", type=shipped_file, default=str(SHIPPED.model), help="SentencePiece model")
    add("-segment_database_path", type=shipped_file, default=str(SHIPPED.database), help="segments to put in")
    add("-graph_encoder_family", default="combined", help="`combined`, or one family whose operations are allowed")
    add("-seed", type=non_negative_int, default=0, help="same seed, same result")
    add("-output_dir", default=str(constants.OUTPUTS_DIR), help="parent of the result folder")
    add("-logs_dir", default=str(constants.OUTPUTS_DIR), help="parent of the folder that params.pkl goes to")
    add("-input_h", type=positive_int, help="input height in pixels")
    add("-input_w", type=positive_int, help="input width in pixels")
    add("-input_c", type=positive_int, help="input channels")
    add("-top_k", type=positive_int, default=10, help="parents per iteration")
    add("-epoch", type=positive_int, default=5, help="iterations")
    add("-n_jobs", type=positive_int, default=1, help="worker processes; the result does not depend on it")
    add("-max_candidate_per_iter", type=positive_int, default=10, help="segments taken out per parent")
    add("-max_target_per_iter", type=positive_int, default=100, help="segments tried in the place of each")
    add("-propagation_type", choices=["milp"], default="milp", help="how resolutions are made to fit")
    add("-milp_solver", default=None, help="a solver that Pyomo knows; HiGHS in this process if not given")
    add("-mutation_unit", choices=["segment", "op"], default="segment", help="what is swapped")
    add("-max_visited_architecture", type=positive_int, default=None, help="stop after scoring so many networks")
    add("-num_consecutive_segs", type=positive_int, default=3, help="most neighbouring segments taken out at once")
    add("-segment_sparsity", type=fraction, default=0.5, help="share of multi-node pieces left out when cutting")
    add("-min_flops_decrease_percent", type=float, default=0, help="results are cheaper by more than this; < 0: growth")
    add("-max_flops_decrease_percent", type=float, default=20, help="results are cheaper by less than this")
    add("-device_str", default=None, help="cpu, cuda, cuda:1, ...; a GPU if there is one")
    add("-export", nargs="+", choices=("onnx", "torch", "tf"), default=(), help="also write results in these formats")
    add("-no_drawings", action="store_true", help="do not draw the networks")
    # Published flags whose values are read from the checkpoint.
    sizes = ("out_embed_size", "shape_embed_size", "kernel_embed_size", "n_unique_kernels", "n_shape_vals")
    others = ("hidden_size", "out_channels", "gnn_activ", "n_gnn_layers", "aggr_method", "dropout_prob")
    add_ignored_flags(parser, *(f"predictor_{name}" for name in sizes + others))
    add_training_flags(parser)
    args = parser.parse_args(argv)
    if args.resume:
        args = resumed_flags(parser, args, sys.argv[1:] if argv is None else argv)
    missing = [f"-{name}" for name in REQUIRED if getattr(args, name) is None]
    if missing:
        parser.error(f"these flags are required: {', '.join(missing)}")
    if args.min_flops_decrease_percent >= args.max_flops_decrease_percent:
        raise InputError("-min_flops_decrease_percent must be below -max_flops_decrease_percent")
    if args.predictor_type not in PREDICTOR_TYPES:
        raise InputError(f"-predictor_type: unknown {args.predictor_type!r}; choose {' or '.join(PREDICTOR_TYPES)}")
    trains(args)  # refuses what cannot be meant
    return args


@dataclass(frozen=True)
class MutatorFiles:
    """Loads a mutator, in this process or in a worker."""

    config: "MutationConfig"
    predictor_path: str
    predictor_type: str
    graph_encoder_path: str
    tokenizer_path: str
    segment_database_path: str
    milp_solver: str | None
    device_str: str | None

    def __call__(self) -> "Mutator":
        """Read encoder, tokenizer, database and predictor."""
        from model_src.encoder.network_encoder import NetworkEncoder
        from model_src.encoder.segment_db import SegmentDatabase
        from model_src.encoder.tokenizer import Tokenizer
        from model_src.predictor.scoring import load_predictor
        from model_src.search.mutator import Mutator

        return Mutator(
            self.config,
            NetworkEncoder.load(self.graph_encoder_path),
            Tokenizer.load(self.tokenizer_path),
            SegmentDatabase.open(self.segment_database_path),
            load_predictor(self.predictor_path, self.predictor_type, self.device_str),
            uses_parts=self.predictor_type == "PSC_predictor",
            solver=self.milp_solver,
        )


def make_folders(args: argparse.Namespace) -> Path:
    """Make the result folder, with the parameters in it (or in the folder of the same name under `-logs_dir`).

    Raises:
        InputError: A folder cannot be made or written to.
    """
    name = (
        f"{args.model_family}_{args.mutation_unit}_epoch_{args.epoch}_max_target_{args.max_target_per_iter}"
        f"_top_k_{args.top_k}_{args.predictor_type}_{time.strftime('%Y%m%d_%H%M%S')}"
    )
    folder, logs = Path(args.output_dir) / name, Path(args.logs_dir) / name
    for flag, path in (("-output_dir", folder), ("-logs_dir", logs)):
        try:
            path.mkdir(parents=True, exist_ok=True)
            save_pickle(args, path / "params.pkl")
        except OSError as error:
            raise InputError(f"{flag}: cannot write to {path}: {error.strerror or error}") from error
    if logs != folder:
        (folder / "params.pkl").unlink()
    return folder


def config_from(args: argparse.Namespace, kind: type) -> Any:
    """Fill a config class whose attributes are named after flags."""
    return kind(**{field.name: getattr(args, field.name) for field in fields(kind)})


def search(args: argparse.Namespace, workers: "Workers", cg: Any) -> "SearchResult":
    """Run the search with a progress bar."""
    from tqdm import tqdm

    from model_src.search.run_manager import Progress, SearchConfig, run_search

    with tqdm(total=args.epoch, unit="iteration", desc="search") as bar:

        def show(now: Progress) -> None:
            bar.n = now.iteration - 1 + now.parent / now.n_parents
            bar.set_postfix(parent=f"{now.parent}/{now.n_parents}", children=now.n_scored, frontier=now.n_front)

        return run_search(cg, config_from(args, SearchConfig), workers, show)


def report(args: argparse.Namespace, result: "SearchResult", predictor: Any, folder: Path) -> "list[RankedNetwork]":
    """Write every file of the result folder and show the frontier."""
    from model_src.search import report as reports

    ranked = reports.rank_networks(result, args.input_h, args.input_w, args.input_c)
    rows = reports.pareto_rows(result, ranked)
    reports.save_networks(ranked, folder)
    export(args.export, ranked, folder)
    reports.save_mutation_result(result, ranked, folder / "mutation_result.txt")
    reports.save_pareto_csv(rows, folder / "pareto.csv")
    reports.draw_pareto(result, folder / "pareto.png")
    if not args.no_drawings:
        draw(args, result, ranked, folder)
    sys.stdout.write(reports.frontier_table(rows, lambda score: predictor.accuracy(score, args.model_family)) + "\n")
    if result.interrupted:
        sys.stdout.write("Interrupted: these are the results so far.\n")
    if not ranked:
        sys.stdout.write("No network is better than the input inside the FLOPs window.\n")
    sys.stdout.write(f"{result.n_scored} networks scored in {result.seconds:.0f} s, {result.n_distinct - 1} accepted\n")
    return ranked


def export(formats: Sequence[str], ranked: "list[RankedNetwork]", folder: Path) -> None:
    """Write every result in the given formats; one that cannot be written is logged."""
    if not formats:
        return
    from model_src.comp_graph.exporters.files import export_network

    for one in ranked:
        try:
            export_network(one.graph, folder / f"rank_{one.rank}", formats)
        except ValueError as error:
            logger.warning("rank %d is not exported: %s", one.rank, error)


def draw(args: argparse.Namespace, result: "SearchResult", ranked: "list[RankedNetwork]", folder: Path) -> None:
    """Draw the input and the results, coloured by segments of the full vocabulary."""
    from concurrent.futures import ThreadPoolExecutor
    from os import cpu_count

    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segmentation import segment
    from model_src.encoder.tokenizer import Tokenizer
    from model_src.search.report import draw_networks

    encoder, tokenizer = NetworkEncoder.load(args.graph_encoder_path), Tokenizer.load(args.tokenizer_path)
    with ThreadPoolExecutor(cpu_count()) as pool:
        draw_networks(result.source.graph, ranked, lambda cg: segment(cg, encoder, tokenizer), folder, pool.map)


def training_data(args: argparse.Namespace) -> "Cifar10 | None":
    """The images, where results are to be trained.

    Raises:
        InputError: They are not there and cannot be downloaded, or framework or device are not there.
    """
    if not trains(args):
        return None
    from model_src.training.cifar10_download import fetch_cifar10
    from model_src.training.loop import check_execution

    check_execution(frontier_config(args).recipe, execution(args))
    return fetch_cifar10(args.train_data_dir)


def train(
    args: argparse.Namespace, data: "Cifar10", result: "SearchResult", ranked: "list[RankedNetwork]", folder: Path
) -> None:
    """Train the corrected results on CIFAR-10."""
    from model_src.training.frontier import FrontierNetwork

    networks = [FrontierNetwork(one.rank, one.graph, one.found.iteration) for one in ranked]
    train_networks(args, data, result.source.graph, networks, folder)


def train_networks(
    args: argparse.Namespace, data: "Cifar10", cg: "ComputeGraph", networks: "list[FrontierNetwork]", folder: Path
) -> None:
    """Train corrected results, and the input if asked to; after Ctrl-C, say how to go on."""
    from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream
    from model_src.training.frontier import train_frontier

    source = correct_cg_for_downstream(cg, args.input_h, args.input_w, args.input_c)
    try:
        train_frontier(networks, source, frontier_config(args), data, folder, execution(args))
    except KeyboardInterrupt:
        sys.stdout.write(f"Finished trainings are kept; go on with the same training flags and -resume {folder}\n")
        raise


def resume(args: argparse.Namespace) -> None:
    """Train what is left to train of a finished search.

    Raises:
        InputError: A file of the folder is missing or damaged, or the input is no longer the same.
    """
    from model_src.comp_graph.load import load_cg
    from model_src.training.finished_search import read_results

    cg = load_cg(args.model_path, args.input_h, args.input_w, args.input_c)
    networks = read_results(args.resume, cg)
    train_networks(args, training_data(args), cg, networks, Path(args.resume))


def main(argv: Sequence[str] | None = None) -> int:
    """Search, report, and train the results if asked to; or only train those of a finished search."""
    args = parse_args(argv)
    if args.resume:
        resume(args)
        return 0

    from model_src.comp_graph.load import load_cg
    from model_src.predictor.scoring import load_predictor
    from model_src.search.candidates import allowed_ops
    from model_src.search.mutator import MutationConfig
    from model_src.search.workers import Workers

    allowed_ops(args.model_family, args.graph_encoder_family)  # refuses unknown names before anything is loaded
    cg = load_cg(args.model_path, args.input_h, args.input_w, args.input_c)
    predictor = load_predictor(args.predictor_path, args.predictor_type, args.device_str)
    logger.info("scoring with %s on %s", args.predictor_path, predictor.device)
    if args.export:
        from model_src.comp_graph.exporters.files import check_formats

        check_formats(args.export)
    data = training_data(args)
    given = {field.name: getattr(args, field.name) for field in fields(MutatorFiles) if field.name != "config"}
    files = MutatorFiles(config_from(args, MutationConfig), **given)
    with Workers(files, args.n_jobs) as workers:
        workers.prepare()
        folder = make_folders(args)
        try:
            result = search(args, workers, cg)
        except InputError:
            for parent in (args.output_dir, args.logs_dir):
                shutil.rmtree(Path(parent) / folder.name, ignore_errors=True)
            raise
    ranked = report(args, result, predictor, folder)
    if data is not None:
        train(args, data, result, ranked, folder)
    sys.stdout.write(f"Results are in {folder}\n")
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
