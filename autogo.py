"""Search for networks that are more accurate and cheaper than a given one."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from model_src.cli import FlagParser, run_script
from model_src.files import InputError
from model_src.processes import TaskError
from model_src.search import flag_groups, flags
from model_src.search.result_folder import ResultFolder

if TYPE_CHECKING:
    from torch import Tensor

    from model_src.comp_graph.weights import WeightedGraph
    from model_src.search.feedback import Measure
    from model_src.search.result import SearchResult
    from model_src.search.workers import Workers
    from model_src.training.image_data import ImageData


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        InputError: See `flags.parse_flags`.
    """
    return flags.parse_flags(FlagParser(__doc__, flag_groups.USAGE, flag_groups.EXAMPLES), argv)


@contextmanager
def hinting(args: argparse.Namespace, folder: ResultFolder) -> Iterator[None]:
    """Say how to go on if what is done in a folder is stopped."""
    try:
        yield
    except (KeyboardInterrupt, TaskError):
        if folder.path.exists():
            also = " and the same training flags" if args.resume and flags.trains(args) else ""
            sys.stdout.write(f"Go on with: python autogo.py -resume {shlex.quote(str(folder.path))}{also}\n")
        raise


def run_search(
    args: argparse.Namespace,
    source: "WeightedGraph",
    workers: "Workers",
    measure: "Measure | None",
    folder: ResultFolder,
) -> "SearchResult":
    """Run the search with a progress bar."""
    from tqdm import tqdm

    from model_src.search.journal import Journal
    from model_src.search.measuring import read_measured
    from model_src.search.run import Progress
    from model_src.search.session import search

    config = flags.search_config(args)
    known = read_measured(Path(args.measured_table)) if args.measured_table else []
    with tqdm(total=config.rounds * config.epoch, unit="iteration", desc="search") as bar:

        def show(now: Progress) -> None:
            bar.n = now.iteration - 1 + now.parent / now.n_parents
            bar.set_postfix(parent=f"{now.parent}/{now.n_parents}", children=now.n_scored, frontier=now.n_front)

        return search(source.graph, config, None, show, workers, measure, known, source.weights, Journal(folder))


def report(args: argparse.Namespace, result: "SearchResult", folder: ResultFolder) -> None:
    """Write every file of the result folder and show the front; of a search that was stopped, tables and networks.

    Raises:
        KeyboardInterrupt, TaskError: What stopped the search.
        InputError: Files could not be written; the others are.
    """
    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segmentation import segment
    from model_src.encoder.tokenizer import Tokenizer
    from model_src.search.output import write_pictures, write_results
    from model_src.search.report import frontier_table, pareto_rows, summary

    failures = write_results(result, folder)
    sys.stdout.write(f"{frontier_table(result, pareto_rows(result))}\n{summary(result)}\n")
    if result.stopped_by:
        raise result.stopped_by
    encoder, tokenizer = NetworkEncoder.load(args.graph_encoder_path), Tokenizer.load(args.tokenizer_path)
    segments_of = None if args.no_drawings else lambda cg: segment(cg, encoder, tokenizer)
    failures += write_pictures(result, folder, args.export, segments_of)
    if failures:
        raise InputError(f"{failures}; the search is kept: -resume {folder.path} writes the results again")
    folder.mark_unfinished(result.out_of_time)


def train(args: argparse.Namespace, folder: ResultFolder, data: "ImageData | None" = None) -> None:
    """Train what is left to train of the results in a folder, and of the input if asked to.

    Raises:
        InputError: A file of the folder is missing or damaged, or the input is no longer the same.
    """
    from model_src.search.output import stored_search, train_results

    source, networks = stored_search(folder, args.model_path)
    data = data or flags.training_data(args, source.graph)
    config, how = flags.frontier_config(args), flags.execution(args)
    with hinting(args, folder):
        train_results(networks, source, config, data, folder, how, args.from_scratch)


def search_in(
    folder: ResultFolder,
    args: argparse.Namespace,
    source: "WeightedGraph",
    data: "ImageData | None",
    calibration: "Tensor | None",
    workers: "Workers",
) -> None:
    """Search, measuring if asked to; a search that ends before its first iteration is over leaves no folder."""
    from model_src.search.measuring import Trainings

    folder.mark_unfinished(True)
    measure = None
    if data is not None and args.measure:
        measure = Trainings(flags.measurement(args, source.graph, data), folder.measured_path, args.from_scratch)
    with hinting(args, folder):
        try:
            result = run_search(args, source, workers, measure, folder)
        except BaseException:  # Ctrl-C before the first mutation, too
            if not (args.resume or folder.has_iterations):
                folder.remove()
            raise
        result.calibration = calibration
        report(args, result, folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Search, report, and train the results if asked to; or only train those of a finished search."""
    args = parse_args(argv)
    if not flags.searches(args):
        train(args, ResultFolder(args.resume))
        return 0

    from model_src.comp_graph.exporters.files import check_formats
    from model_src.comp_graph.load import load_network
    from model_src.search.candidates import allowed_ops
    from model_src.search.config import MutatorFiles
    from model_src.search.inputs import at_size
    from model_src.search.output import make_folder, reopened_folder
    from model_src.search.workers import Workers

    config = flags.search_config(args)
    allowed_ops(config.model_family, config.graph_encoder_family)  # refuses unknown names before anything is loaded
    folder = reopened_folder(args) if args.resume else None
    path, size = folder.input_path if folder else args.model_path, flags.input_size(args)
    source = load_network(path, *size, check=not args.no_check, lenient_pb=args.lenient_pb)
    source = at_size(source, size, args.model_path)
    check_formats(args.export)
    data = flags.training_data(args, source.graph) if flags.trains(args) or args.measure else None
    calibration = flags.calibration_images(args)
    with Workers(MutatorFiles(config), config.n_jobs, config.patience) as workers:
        workers.prepare()
        folder = folder or make_folder(args, source)
        search_in(folder, args, source, data, calibration, workers)
    if data is not None and flags.trains(args):
        train(args, folder, data)
    sys.stdout.write(f"Results are in {folder.path}\n")
    return 0


def cli() -> None:
    """Run the installed command."""
    run_script(main)


if __name__ == "__main__":
    cli()
