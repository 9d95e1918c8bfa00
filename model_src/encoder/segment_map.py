"""Builds a segment database: cuts networks into segments and keeps one of each kind."""

import gc
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from operator import eq

import rustworkx

from model_src.comp_graph.segment import Segment, cut_segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segment_db import Row, RowTable, SegmentDatabase
from model_src.encoder.segmentation import HasSegmenter, segment_with_text
from model_src.kept import NOTHING_KEPT, Kept

Form = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]  # colours by place, edges between places


class SegmentMap:
    """Segments by text; of those that are isomorphic in operations and resolutions only the first is kept."""

    def __init__(self) -> None:
        self._table = RowTable()
        self._rows: dict[str, list[Row]] = {}
        self._colours: defaultdict[Hashable, int] = defaultdict(count().__next__)  # of operation and resolution
        self._seen: set[Hashable] = set()
        self._kept: dict[Hashable, list[Form]] = {}

    def add(self, cg: ComputeGraph, indices: Sequence[int], text: str) -> Segment | None:
        """Add the segment of the given nodes (in topological order), and return it; None if there is one like it."""
        if not self._is_new(cg, indices, text):
            return None
        segment = cut_segment(cg, indices, text)
        self._rows.setdefault(text, []).append(self._table.row(segment))
        return segment

    def add_segment(self, segment: Segment) -> None:
        """Add a segment of another map, if there is none like it."""
        if self._is_new(segment.graph, range(segment.graph.n_nodes), segment.text):
            self._rows.setdefault(segment.text, []).append(self._table.row(segment))

    def _is_new(self, cg: ComputeGraph, indices: Sequence[int], text: str) -> bool:
        nodes, colour_of = cg.nodes, self._colours
        colours = tuple([colour_of[nodes[index].op_name, nodes[index].resolution] for index in indices])
        position = {index: place for place, index in enumerate(indices)}
        edges = tuple([(position[i], position[j]) for i in indices for j in cg.successors[i] if j in position])
        # Nearly all segments are repeats in the very same order, which a look-up tells.
        if (text, colours, edges) in self._seen:
            return False
        self._seen.add((text, colours, edges))
        ends = tuple(sorted([(colours[source], colours[target]) for source, target in edges]))
        alike = self._kept.setdefault((text, tuple(sorted(colours)), ends), [])
        if any(_isomorphic((colours, edges), other) for other in alike):
            return False
        alike.append((colours, edges))
        return True

    def database(self) -> SegmentDatabase:
        """The segments by order of first appearance of their text."""
        return SegmentDatabase([row for rows in self._rows.values() for row in rows], self._table.nodes)


def add_networks(
    segments: SegmentMap,
    graphs: Iterable[ComputeGraph],
    encoder: NetworkEncoder,
    tokenizer: HasSegmenter,
    cuts: Kept = NOTHING_KEPT,
) -> list[Segment]:
    """Cut networks, one after the other, with the full vocabulary into segments.

    Args:
        segments: Where they are added.
        graphs: The networks.
        encoder: Gives every node its character.
        tokenizer: Gives the vocabulary.
        cuts: Where the cuts of every network are kept.

    Returns:
        Those that are new, in order of appearance.
    """
    with _no_garbage_collection():
        return [
            segment
            for cg in graphs
            for text, indices in cuts.get(partial(segment_with_text, cg, encoder, tokenizer))
            if (segment := segments.add(cg, indices, text))
        ]


def build_database(
    graphs: Iterable[ComputeGraph], encoder: NetworkEncoder, tokenizer: HasSegmenter, cuts: Kept = NOTHING_KEPT
) -> SegmentDatabase:
    """The segments of networks as a database; see `add_networks`."""
    segments = SegmentMap()
    add_networks(segments, graphs, encoder, tokenizer, cuts)
    return segments.database()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Leave out Python's search for cyclic garbage inside the block: graphs hold no cycles, and it costs a quarter."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _isomorphic(first: Form, second: Form) -> bool:
    graphs = rustworkx.PyDiGraph(), rustworkx.PyDiGraph()
    for graph, (colours, edges) in zip(graphs, (first, second), strict=True):
        graph.add_nodes_from(colours)
        graph.add_edges_from_no_data(list(edges))
    return rustworkx.is_isomorphic(*graphs, node_matcher=eq)
