"""Writing what a search found, and training it: from a `SearchResult` into its result folder."""

import argparse
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.inheritance import all_of, inherit
from model_src.comp_graph.load import load_network
from model_src.comp_graph.rest import Rest
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import corrected_with_ids
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import InputError, naming
from model_src.places import sweep
from model_src.search.exporting import Exported, check_rest, export_results, has_rest
from model_src.search.genealogy import genealogy
from model_src.search.pictures import draw_pareto
from model_src.search.provenance import provenance
from model_src.search.published_text import mutation_text
from model_src.search.report import history_rows, pareto_rows
from model_src.search.reporting import SegmentsOf, report_on
from model_src.search.result import SearchResult
from model_src.search.result_folder import ResultFolder
from model_src.search.stored import check_details, stored_networks
from model_src.training.frontier import FrontierConfig, FrontierNetwork, train_frontier
from model_src.training.image_data import ImageData
from model_src.training.recipe import Execution
from model_src.training.results import FrontierResult

logger = logging.getLogger(__name__)

_NOTHING: Mapping[str, str] = MappingProxyType({})


def make_folder(
    args: argparse.Namespace, source: WeightedGraph, rest: Rest | None = None, measured_by: Mapping[str, str] = _NOTHING
) -> ResultFolder:
    """Make the result folder, with the parameters and the input in it, and a copy of the former in `-logs_dir`.

    Args:
        args: The flags.
        source: The input.
        rest: What comes behind it, where it is a part of a network.
        measured_by: See `costing.measured_by`.

    Raises:
        InputError: A folder cannot be made or written to.
    """
    name = (
        f"{args.model_family}_{args.mutation_unit}_epoch_{args.epoch}_max_target_{args.max_target_per_iter}"
        f"_top_k_{args.top_k}_{args.predictor_type}_{time.strftime('%Y%m%d_%H%M%S')}"
    )
    folder = None
    try:
        folder = ResultFolder.create(args.output_dir, name, args.logs_dir)
        folder.save_params(args, provenance(_files_read(args)) | _told(measured_by, rest is not None))
        folder.save_input(source.graph)
        if source.weights is not None:
            folder.save_weights(None, source.state())
        if rest is not None:
            rest.save(folder.input_path)
        folder.copy_params()
    except OSError as error:
        if folder:
            folder.remove()
        raise InputError(f"-output_dir, -logs_dir: cannot write {error.filename}: {error.strerror or error}") from error
    return folder


def _told(measured_by: Mapping[str, str], is_part: bool) -> dict[str, Any]:
    """What the parameters tell of measured costs, and of what comes behind the networks; nothing where none are."""
    return ({"measured_by": dict(measured_by)} if measured_by else {}) | ({"rest": True} if is_part else {})


def reopened_folder(args: argparse.Namespace, measured_by: Mapping[str, str] = _NOTHING) -> ResultFolder:
    """The folder of a search that goes on, with the parameters as they are now.

    Args:
        args: The flags.
        measured_by: See `costing.measured_by`.

    Raises:
        InputError: A file that the search reads is missing or another one than when it began, costs would be measured
            otherwise, or the folder cannot be written to.
    """
    folder = ResultFolder(args.resume)
    _sweep(folder)
    known = folder.load_details()
    check_details(folder, known)
    check_rest(folder, known)
    files_then = known.get("files", {})
    files = {name: path for name, path in _files_read(args).items() if name != "model_path"}  # a copy is in the folder
    details = provenance(files)
    for name, file in details["files"].items():
        if name not in files_then or file["sha256"] != files_then[name]["sha256"]:
            flag, path = name.split()[0], file["path"]
            raise InputError(f"-resume {folder.path}: -{flag} {path} is not the file that its search began with")
    details["files"] |= {name: file for name, file in files_then.items() if name == "model_path"}
    before = known.get("measured_by", {})
    for column, setting in measured_by.items():
        if before.get(column) != setting:
            raise InputError(f"-resume {folder.path}: its {column} was measured by {before.get(column)}, not {setting}")
    details |= _told(measured_by, has_rest(known))
    folder.save_params(argparse.Namespace(**{**vars(args), "resume": None}), details)
    return folder


def _sweep(folder: ResultFolder) -> None:
    """Delete what killed runs left of files that they were writing."""
    for path in (folder.path, *filter(Path.is_dir, folder.path.glob("*"))):
        sweep(path)


def _files_read(args: argparse.Namespace) -> dict[str, str]:
    """Flag -> path of every file or folder that a search reads."""
    one_each = ("model_path", "graph_encoder_path", "tokenizer_path", "segment_database_path")
    predictors = {f"predictor_path {number}": path for number, path in enumerate(args.predictor_path, start=1)}
    given = {
        name: getattr(args, name)
        for name in ("measured_table", "calibration_data", "latency_table")
        if getattr(args, name)
    }
    return {name: getattr(args, name) for name in one_each} | predictors | given


class Failures(list[str]):
    """What could not be written, and why; one failure does not keep the rest from being written."""

    def __str__(self) -> str:
        """The first one, and how many more there are."""
        return self[0] + (f" (and {len(self) - 1} more)" if self[1:] else "")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Note a failed write and go on behind the block."""
        try:
            yield
        except (OSError, InputError) as error:
            name = getattr(error, "filename", None)
            self.append(f"{name}: {getattr(error, 'strerror', None) or error}" if name else str(error))


def write_results(result: SearchResult, folder: ResultFolder) -> Failures:
    """Write tables, networks, genealogy and text of a search: all that is data."""
    failures = Failures()
    with failures.kept():
        folder.save_table(pareto_rows(result))
    with failures.kept():
        if result.history:
            folder.save_history(history_rows(result))
    for one in result.networks:
        with failures.kept():
            folder.save_graph(one.rank, _on_its_own(one.graph))
            if one.inherited:
                state = one.module().state_dict()
                folder.save_weights(one.rank, {name: value.numpy() for name, value in state.items()})
    with failures.kept():
        folder.save_genealogy(genealogy(result))
    with failures.kept():
        folder.save_report(mutation_text(result))
    return failures


def _on_its_own(graph: ComputeGraph) -> ComputeGraph:
    """The graph, each part an object of its own: what parts share, and so the bytes of a pickle, tells of resumes."""
    return ComputeGraph.from_state_dict(json.loads(json.dumps(graph.state_dict())))


def write_pictures(
    result: SearchResult,
    folder: ResultFolder,
    formats: Sequence[str] = (),
    segments_of: SegmentsOf | None = None,
    quiet: bool = True,
) -> Failures:
    """Draw and export the results of a search, and write its report.

    Args:
        result: The search.
        folder: Where to.
        formats: Export the results in these (see `exporters.files`); one that cannot be exported is logged.
        segments_of: Cuts networks into the segments that drawings colour; None draws no network.
        quiet: Show no progress.
    """
    failures = Failures()
    with failures.kept():
        draw_pareto(result, folder.front_picture)
    results = [Exported(one.rank, one.graph, one.module) for one in result.networks]
    with failures.kept():
        failures += export_results(results, folder, formats).failures
    with failures.kept():
        report_on(folder, segments_of, quiet)
    return failures


def write_so_far(result: SearchResult, folder: ResultFolder, draws: bool) -> None:
    """Write tables of a search under way, and the picture if asked to; what cannot be written is logged.

    What takes long is not in them: how far outputs of networks with weights are from the input's.
    """
    result, failures = replace(result, weights=None), Failures()
    with failures.kept():
        folder.save_table(pareto_rows(result))
    with failures.kept():
        if result.history:
            folder.save_history(history_rows(result))
    with failures.kept():
        if draws:
            draw_pareto(result, folder.front_picture)
    if failures:
        logger.warning("%s", failures)


def stored_search(folder: ResultFolder, model_path: str) -> tuple[WeightedGraph, list[FrontierNetwork]]:
    """The input and the results of a finished search, with their weights if the input came with any.

    Args:
        folder: Of the search.
        model_path: Its input's file, for folders of version 0.1, which hold no copy of the input.

    Raises:
        InputError: A file is missing, damaged or lacks weights, or the input is not what the search started from.
    """
    from model_src.comp_graph.networks.initial import check_weights  # loads PyTorch

    _sweep(folder)
    source_row, stored = stored_networks(folder)
    path = folder.input_path if folder.input_path.exists() else Path(model_path)
    source = load_network(path)
    if canonical_hash(source.graph) != source_row["hash"]:
        raise InputError(f"{folder.path}: its search started from another network than {path} is")
    networks = []
    for one in stored:
        graph, weights = found = one.network()
        if weights is not None:
            with naming(one.path):
                check_weights(found)
        inherited = None if weights is None else all_of(weights)
        networks.append(FrontierNetwork(one.rank, graph, one.iteration, inherited))
    return source, networks


def train_results(
    networks: Sequence[FrontierNetwork],
    source: WeightedGraph,
    config: FrontierConfig,
    data: ImageData,
    folder: ResultFolder,
    how: Execution,
    from_scratch: bool = False,
) -> FrontierResult:
    """Train results of a search, and its input if asked to; what is in the folder is not repeated.

    Args:
        networks: The results.
        source: The input of the search.
        config: What to train and how.
        data: The images.
        folder: Where trainings are kept.
        how: Where and how to compute.
        from_scratch: Begin with fresh weights, also where there are inherited ones.

    Raises:
        InputError: See `train_frontier`.
    """
    corrected, ids = corrected_with_ids(source.graph, *source.graph.input_shape[1:])
    own = inherit(corrected, ids, source) if source.weights is not None and not from_scratch else None
    if own is None:
        networks = [network._replace(inherited=None) for network in networks]
    return train_frontier(networks, corrected, config, data, folder, how, source_weights=own)
