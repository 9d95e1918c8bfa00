"""A search by flags: what it begins with, read and checked before any work is done, and the search in its folder."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from model_src.comp_graph.rest import Rest
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import naming
from model_src.search import flags
from model_src.search.candidates import allowed_ops
from model_src.search.config import SearchConfig
from model_src.search.costing import measured_by, meters_of
from model_src.search.inputs import read_input
from model_src.search.journal import Journal
from model_src.search.measuring import Trainings, read_measured
from model_src.search.output import reopened_folder
from model_src.search.progress import ProgressLine
from model_src.search.result import SearchResult
from model_src.search.result_folder import ResultFolder
from model_src.search.session import search
from model_src.search.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

    from model_src.training.image_data import ImageData


class Start(NamedTuple):
    """What a search begins with.

    Attributes:
        config: What to search.
        folder: Of the search that goes on; None for a new one.
        source: The input, of the size that was asked for.
        rest: What comes behind it, where it is a part of a network.
        data: Images to train on; None where nothing is trained.
        calibration: See `SearchResult`.
        measured_by: See `costing.measured_by`.
    """

    config: SearchConfig
    folder: ResultFolder | None
    source: WeightedGraph
    rest: Rest | None
    data: "ImageData | None"
    calibration: "Tensor | None"
    measured_by: Mapping[str, str]


def prepare(args: argparse.Namespace) -> Start:
    """Read and check what a search needs besides the mutator's files.

    Raises:
        InputError: A name is unknown, or a file is missing, damaged or does not fit.
    """
    config = flags.search_config(args)
    allowed_ops(config.model_family, config.graph_encoder_family)  # refuses unknown names before anything is loaded
    settings = measured_by(config)
    folder = reopened_folder(args, settings) if args.resume else None
    source, rest = read_input(args, folder, flags.input_size(args))
    _check_weights(source, str(folder.input_path if folder else args.model_path))
    _check_formats(args.export)
    data = flags.training_data(args, source.graph) if flags.trains(args) or args.measure else None
    return Start(config, folder, source, rest, data, flags.calibration_images(args), settings)


def _check_weights(source: WeightedGraph, name: str) -> None:
    if source.weights is not None:
        from model_src.comp_graph.networks.initial import check_weights  # loads PyTorch

        with naming(name):
            check_weights(source)


def _check_formats(formats: Sequence[str]) -> None:
    if formats:
        from model_src.comp_graph.exporters.files import check_formats  # loads PyTorch

        check_formats(formats)


def search_into(folder: ResultFolder, args: argparse.Namespace, start: Start, workers: Workers) -> SearchResult:
    """Search, keeping every iteration in a folder, and measuring if asked to; tell where it is.

    Raises:
        InputError: A file cannot be used, or no segment of the input may be replaced.
    """
    measure = None
    if start.data is not None and args.measure:
        measurement = flags.measurement(args, start.source.graph, start.data)
        measure = Trainings(measurement, folder.measured_path, args.from_scratch)
    known = read_measured(Path(args.measured_table)) if args.measured_table else []
    graph, weights = start.source
    n_iterations = start.config.rounds * start.config.epoch
    with ProgressLine(n_iterations, folder, args.quiet) as show:
        meters = meters_of(start.config, folder.costs_path)
        result = search(graph, start.config, None, show, workers, measure, known, weights, Journal(folder), meters)
    return replace(result, calibration=start.calibration)


@contextmanager
def unfinished(folder: ResultFolder, resumed: bool) -> Iterator[None]:
    """Mark the search of a folder as one to go on with; one that ends before its first iteration leaves no folder."""
    folder.mark_unfinished(True)
    try:
        yield
    except BaseException:  # Ctrl-C before the first mutation, too
        if not (resumed or folder.has_iterations):
            folder.remove()
        raise
