"""Drawing the folders of searches anew, with a report for each, and comparing several on one page."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_src.search.comparison import write_comparison
from model_src.search.flags import defaults
from model_src.search.network_pictures import Groups, changes_as_svg, draw_networks
from model_src.search.page import write_report
from model_src.search.result_folder import ResultFolder
from model_src.search.stored import StoredSearch, read_search

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import ComputeGraph

SegmentsOf = Callable[["ComputeGraph"], Groups]


def report_on(folder: ResultFolder, segments_of: SegmentsOf | None, quiet: bool = True) -> StoredSearch:
    """Write the report of a search, and draw its networks.

    Args:
        folder: Of the search.
        segments_of: Cuts networks into the segments that drawings colour; None draws no network.
        quiet: Show no progress.

    Raises:
        InputError: A file of the folder is missing or damaged.
        OSError: A file cannot be written.
    """
    search = read_search(folder)
    if segments_of is not None:
        draw_networks(search, segments_of, quiet)
    write_page(search, draws=segments_of is not None)
    return search


def write_page(search: StoredSearch, draws: bool) -> None:
    """Write the page about a search, with drawings of what changed or without.

    Raises:
        InputError: A file of the folder is damaged.
        OSError: The page cannot be written.
    """
    write_report(search, changes_as_svg(search) if draws else {})


def segmenter(encoder_path: str, tokenizer_path: str) -> SegmentsOf:
    """What cuts networks into segments of the full vocabulary.

    Raises:
        InputError: A file is missing or damaged.
    """
    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segmentation import segment
    from model_src.encoder.tokenizer import Tokenizer

    encoder, tokenizer = NetworkEncoder.load(encoder_path), Tokenizer.load(tokenizer_path)
    return lambda cg: segment(cg, encoder, tokenizer)


def report_anew(folders: Sequence[str], output_dir: str, draws: bool, quiet: bool = True) -> list[Path]:
    """Write the reports of searches again, and of several a page that compares them; the pages, that one last.

    Args:
        folders: Of the searches.
        output_dir: Where the comparison goes.
        draws: Whether networks are drawn.
        quiet: Show no progress.

    Raises:
        InputError: A file of a folder is missing or damaged.
        OSError: A file cannot be written.
    """
    searches = []
    for path in folders:
        folder = ResultFolder(path)
        searches.append(report_on(folder, _segmenter_of(read_search(folder).flags) if draws else None, quiet))
    pages = [search.folder.report_path for search in searches]
    if len(searches) > 1:
        pages.append(Path(output_dir) / f"comparison_{time.strftime('%Y%m%d_%H%M%S')}.html")
        write_comparison(searches, pages[-1])
    return pages


def _segmenter_of(flags: Mapping[str, Any]) -> SegmentsOf:
    """With the vocabulary of a search, or the shipped one where its files are gone."""
    usual = defaults()
    names = ("graph_encoder_path", "tokenizer_path")
    known = all(Path(str(flags.get(name))).exists() for name in names)
    return segmenter(*(str((flags if known else usual)[name]) for name in names))
