"""Results of a search in the formats of other programs: when it is done, or later from its folder."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from model_src.comp_graph.rest import SUFFIX, Rest, load_rest
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, beside
from model_src.search.result_folder import ResultFolder
from model_src.search.stored import read_details
from model_src.training.frontier import FrontierNetwork

if TYPE_CHECKING:
    from torch import Tensor

    from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What came of writing.

    Attributes:
        written: What is written.
        failures: Failed writes, a line each.
    """

    written: list[Path]
    failures: list[str]


class Exported(NamedTuple):
    """What is to be written.

    Attributes:
        rank: 0 has the best score.
        graph: The result.
        module: Builds its network.
    """

    rank: int
    graph: ComputeGraph
    module: "Callable[[], TorchNetwork]"


def export_results(results: Sequence[Exported], folder: ResultFolder, formats: Sequence[str]) -> Outcome:
    """Write results in several formats; a network that a format cannot hold is logged.

    Args:
        results: What to write.
        folder: Where to.
        formats: See `exporters.files`.

    Raises:
        InputError: What comes behind the networks is missing or damaged.
    """
    outcome = Outcome([], [])
    if formats:
        rest = rest_in(folder)
        for one in results:
            written, failures = _export(one, folder, formats, rest)
            outcome.written.extend(written)
            outcome.failures.extend(failures)
    return outcome


def _export(one: Exported, folder: ResultFolder, formats: Sequence[str], rest: Rest | None) -> Outcome:
    from model_src.comp_graph.exporters.files import ExportError, export_network

    try:
        return Outcome(export_network(one.graph, folder.export_stem(one.rank), formats, one.module(), rest), [])
    except ExportError as error:
        failures = []
        for name, reason in error.reasons.items():
            if isinstance(error.failed[name], OSError):
                failures.append(reason)
            else:
                logger.warning("rank %d is not exported as %s: %s", one.rank, name, reason)
        return Outcome(error.written, failures)
    except ValueError as error:
        logger.warning("rank %d is not exported: %s", one.rank, error)
    return Outcome([], [])


def export_stored(
    networks: Sequence[FrontierNetwork], folder: ResultFolder, formats: Sequence[str], images: "Tensor | None" = None
) -> Outcome:
    """Write the results of a finished search as `export_results` does.

    Args:
        networks: The results, see `output.stored_search`.
        folder: Of the search.
        formats: See `exporters.files`.
        images: See `SearchResult.calibration`.

    Raises:
        InputError: See `export_results` and `check_formats`.
    """
    from model_src.comp_graph.exporters.files import check_formats, network_of

    check_formats(formats)
    results = [
        Exported(one.rank, one.graph, partial(network_of, one.graph, 0, one.inherited, images))
        for one in networks
        if one.rank is not None
    ]
    return export_results(results, folder, formats)


def rest_in(folder: ResultFolder) -> Rest | None:
    """What comes behind the networks of a search; None where it is of whole ones.

    Raises:
        InputError: It is missing or damaged.
    """
    check_rest(folder, read_details(folder))
    return load_rest(folder.input_path)


def check_rest(folder: ResultFolder, details: Mapping[str, Any]) -> None:
    """Check that what comes behind the networks of a search is in its folder, if its parameters tell of it.

    Raises:
        InputError: It is missing.
    """
    path = beside(folder.input_path, SUFFIX)
    if has_rest(details) and not path.exists():
        raise InputError(f"{path}: is missing; it is what comes behind the part that was searched")


def has_rest(details: Mapping[str, Any]) -> bool:
    """Whether the parameters of a search tell that it is one of a part of a network."""
    return bool(details.get("rest") or details.get("flags", {}).get("output_node"))
