"""Drawings of the networks of a search, made from what is in its folder."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from os import cpu_count
from pathlib import Path

from tqdm import tqdm

from model_src.comp_graph.draw import GROUP_COLOURS, DrawingError, draw, rendered
from model_src.comp_graph.drawing import Drawing, Row, in_groups
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.search.change_drawings import changed_regions, whole_network
from model_src.search.changes import Changes, changes_of
from model_src.search.objectives import LATENCY, PEAK_MEMORY
from model_src.search.stored import Cells, StoredSearch

logger = logging.getLogger(__name__)

Groups = Sequence[Sequence[int]]

_LINE = "{desc} {percentage:3.0f}% |{bar:10}| {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left"


def draw_networks(search: StoredSearch, segments_of: Callable[[ComputeGraph], Groups], quiet: bool = True) -> None:
    """Draw the input and every result coloured by segment, and what is new in every result.

    Args:
        search: The search.
        segments_of: Cuts a network into segments of the full vocabulary.
        quiet: Show no progress.
    """
    with ThreadPoolExecutor(cpu_count()) as pool:  # Graphviz works in processes of its own
        begun = [pool.submit(_draw, drawing, path) for drawing, path in _drawings(search, segments_of)]
        # None: only a terminal shows the bar
        for _ in tqdm(as_completed(begun), "drawings", len(begun), bar_format=_LINE, disable=quiet or None):
            pass


def _drawings(search: StoredSearch, segments_of: Callable[[ComputeGraph], Groups]) -> Iterator[tuple[Drawing, Path]]:
    """The drawings of a search, and where each goes."""
    folder, source = search.folder, search.source
    if source is not None:
        lines = header(search.source_row, search.source_row)
        yield _by_segment(source, segments_of, lines), folder.input_picture
    for one in search.results:
        graph, lines = one.graph(), header(one.row, search.source_row)
        yield _by_segment(graph, segments_of, lines), folder.rank_picture(one.rank)
        if changes := _changes(search, one.rank, graph):
            yield whole_network(changes, lines), folder.mutant_picture(one.rank)
            yield changed_regions(changes, lines), folder.changes_picture(one.rank)


def changes_as_svg(search: StoredSearch) -> dict[int, str]:
    """Rank -> SVG of what changed, without a header; what cannot be drawn is left out."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        found = {one.rank: _changes(search, one.rank, one.graph()) for one in search.results}
        made = {rank: pool.submit(rendered, changed_regions(changes)) for rank, changes in found.items() if changes}
    return {rank: one.result().decode() for rank, one in made.items() if one.exception() is None}


def _changes(search: StoredSearch, rank: int, graph: ComputeGraph) -> Changes | None:
    """What is new in a result; None where its swaps are not known or do not lead to it."""
    if search.source is None or rank not in search.steps:
        return None
    try:
        return changes_of(search.source, graph, search.steps[rank])
    except ValueError as error:
        logger.warning("no picture of what is new in rank %d: %s", rank, error)
        return None


def _by_segment(cg: ComputeGraph, segments_of: Callable[[ComputeGraph], Groups], lines: Sequence[str]) -> Drawing:
    legend = [Row("a segment of the vocabulary; neighbours differ in colour", fill=GROUP_COLOURS[0])]
    return Drawing(in_groups(cg, segments_of(cg), GROUP_COLOURS), cg.edge_pairs, (*lines, cg.name[:60]), legend)


def _draw(drawing: Drawing, path: Path) -> None:
    try:
        draw(drawing, path)
    except DrawingError as error:
        logger.warning("no picture: %s", error)


def header(row: Cells, source: Cells) -> list[str]:
    """What a network is and how it differs from the input, in lines.

    Args:
        row: Of the table of results.
        source: The input's row.
    """
    is_source = row["rank"] == "input"
    title = "Input" if is_source else f"Rank {row['rank']}, found in iteration {row['iteration']}"
    score = f"score {_number(row['score'])}{_deviation(row, 'score_sd')}"
    if not is_source:
        score += f" (input: {_number(source['score'])})"
    if row.get("accuracy"):
        score += f", predicted accuracy {float(row['accuracy']):.2f}{_deviation(row, 'accuracy_sd', 2)} %"
    if row.get("measured"):
        score += f", measured {float(row['measured']):.2f} %"
    columns = (
        ("mflops", " MFLOPs", 1), ("params", " parameters", 0), (PEAK_MEMORY.column, " MB", 2),
        (LATENCY.column, " ms", 3), ("cost", " cost", 3),
    )  # fmt: skip
    costs = [
        f"{float(row[name]):,.{digits}f}{unit}{'' if is_source else change(row[name], source.get(name, ''))}"
        for name, unit, digits in columns
        if row.get(name)
    ]
    if row.get("nodes"):
        added = "" if is_source or not row.get("nodes_change") else f" ({int(row['nodes_change']):+d})"
        costs.append(f"{row['nodes']} nodes{added}")
    return [title, score, ", ".join(costs)]


def _number(text: str) -> str:
    return f"{float(text):.3f}"


def _deviation(row: Cells, name: str, digits: int = 3) -> str:
    return f" ± {float(row[name]):.{digits}f}" if row.get(name) else ""


def change(value: str, before: str) -> str:
    """The change of a number in percent, in brackets; nothing where it is not known."""
    if not before or not float(before):
        return ""
    return f" ({100 * (float(value) / float(before) - 1):+.1f} %)"
