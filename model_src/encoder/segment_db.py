"""The segment database: variants of every segment text, found by resolutions or by number of ports."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import constants
from model_src.comp_graph.node_pool import NodePool
from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, Shape, node_from_state
from model_src.comp_graph.validate import validate_edges, validate_node
from model_src.encoder.published_db import read_table, stand_ins
from model_src.files import InputError, load_pickle, naming, save_pickle

FORMAT = "autogo segment database 1"

Value = TypeVar("Value")


class Row(NamedTuple):
    """A segment whose nodes are positions in a table that all segments share; the rest is as in `Segment`."""

    text: str
    nodes: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    inputs: tuple[tuple[int, ...], ...]
    input_shapes: tuple[Shape, ...]
    outputs: tuple[int, ...]


class RowTable:
    """Describes segments by rows; equal nodes of different segments are one node.

    Equal nodes of one segment stay different: ids are unique in a graph. So the table holds each node as often as it
    occurs in the segment that has most of it.
    """

    def __init__(self) -> None:
        self._pool = NodePool[Node]()
        self._shared: dict[Any, Any] = {}

    @property
    def nodes(self) -> list[Node]:
        """What the node positions of the rows refer to."""
        return self._pool.nodes

    def row(self, segment: Segment) -> Row:
        """Store the segment's nodes and describe it by their positions."""
        occurrences: Counter[Hashable] = Counter()
        keys = []
        for node in segment.graph.nodes:
            content = (node.digest, node.label)
            occurrences[content] += 1
            keys.append((content, occurrences[content]))
        share = self._share
        return Row(
            segment.text,
            share(tuple(self._pool.numbers(keys, segment.graph.nodes, _with_id))),
            share(segment.graph.edge_pairs),
            share(segment.inputs),
            share(segment.input_shapes),
            share(segment.outputs),
        )

    def _share(self, value: Value) -> Value:
        """One object for equal values: it is stored once, in memory and in the file."""
        return self._shared.setdefault(value, value)


def _with_id(node: Node, number: int) -> Node:
    return node_from_state({**node.state_dict(), "str_id": number}, bool(node.type_idx))


@dataclass(frozen=True)
class DatabaseStatistics:
    """What a segment database holds.

    Attributes:
        n_unique: Different segment texts.
        n_rows: Segments.
        mean_nodes: Mean number of nodes of the different texts.
        max_nodes: Largest number of nodes.
    """

    n_unique: int
    n_rows: int
    mean_nodes: float
    max_nodes: int

    def __str__(self) -> str:
        """The database's size beside the paper's."""
        return (
            f"{self.n_unique} unique segments (paper: 428), "
            f"nodes per unique segment: mean {self.mean_nodes:.1f} (5), max {self.max_nodes} (16); "
            f"{self.n_rows} variants"
        )


class SegmentDatabase:
    """Segments by the shapes or by the number of their input and output tensors.

    A segment is built and validated when it is first asked for, which may raise an InputError, and kept.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        nodes: Sequence[Node],
        normalisers: Mapping[str, int | None] = constants.DOMAIN_NORMALISERS,
        name: str | Path = "segment database",
    ):
        """Index rows that refer to nodes.

        Args:
            rows: The segments, in table order.
            nodes: What the rows' node positions refer to.
            normalisers: Feature normalisers of all segments.
            name: What errors call it.
        """
        self._name, self._valid = name, set[int]()
        self._rows = list(rows)
        self._nodes = list(nodes)
        self._normalisers = dict(normalisers)
        self._segments: list[Segment | None] = [None] * len(self._rows)
        self._index = self._indexed()
        self._answers: dict[Hashable, tuple[Segment, ...]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def by_resolution(self, in_shapes: Iterable[Shape], out_shapes: Iterable[Shape]) -> Sequence[Segment]:
        """Segments whose input and output tensors have these shapes (H, W, C), whatever their order.

        Segments come in ascending order of the full resolutions of their input and output nodes, equal ones in
        table order; likewise in `by_arity`.
        """
        return self._answer((tuple(sorted(map(tuple, in_shapes))), tuple(sorted(map(tuple, out_shapes)))))

    def by_arity(self, n_inputs: int, n_outputs: int) -> Sequence[Segment]:
        """Segments with so many input and output tensors."""
        return self._answer((n_inputs, n_outputs))

    @property
    def segments(self) -> Sequence[Segment]:
        """All segments in table order."""
        return tuple(self._segment(number) for number in range(len(self._rows)))

    def statistics(self) -> DatabaseStatistics:
        """Count texts, segments and nodes; all zero for an empty database."""
        sizes = {row.text: len(row.nodes) for row in self._rows}
        mean = sum(sizes.values()) / max(1, len(sizes))
        return DatabaseStatistics(len(sizes), len(self._rows), mean, max(sizes.values(), default=0))

    @classmethod
    def open(cls, path: str | Path) -> "SegmentDatabase":
        """Read a database, ours or the published pandas table.

        Raises:
            InputError: The file is missing, damaged, names a foreign class or is not a segment database.
        """
        content = load_pickle(path, stand_ins(), cyclic=True)
        if not isinstance(content, dict):
            with naming(path):
                return cls.from_segments(read_table(content))
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}, not {FORMAT!r}")
            nodes = [node_from_state(state, "shape" in state) for state in content["nodes"]]
            return cls(map(Row._make, content["rows"]), nodes, content["normalisers"], path)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise InputError(f"{path}: not a segment database ({type(error).__name__}: {error})") from error

    @classmethod
    def from_segments(cls, segments: Iterable[Segment]) -> "SegmentDatabase":
        """A database of the given segments, in that order."""
        table = RowTable()
        rows = [table.row(segment) for segment in segments]
        return cls(rows, table.nodes)

    def save(self, path: str | Path) -> None:
        """Write the database as a pickle of plain containers."""
        content = {
            "format": FORMAT,
            "normalisers": self._normalisers,
            "nodes": [node.state_dict() for node in self._nodes],
            "rows": [tuple(row) for row in self._rows],
        }
        save_pickle(content, path)

    def _indexed(self) -> dict[Hashable, list[int]]:
        """Row numbers by (input shapes, output shapes) and by (number of inputs, number of outputs)."""
        nodes, groups, keys = self._nodes, [], []
        for row in self._rows:
            into = tuple([nodes[row.nodes[port[0]]].resolution for port in row.inputs])
            out = tuple([nodes[row.nodes[position]].resolution for position in row.outputs])
            groups.append((into, out))
            keys.append((tuple(sorted(row.input_shapes)), tuple(sorted([resolution[1::2] for resolution in out]))))
        index: dict[Hashable, list[int]] = {}
        for number in sorted(range(len(groups)), key=groups.__getitem__):
            row = self._rows[number]
            index.setdefault(keys[number], []).append(number)
            index.setdefault((len(row.inputs), len(row.outputs)), []).append(number)
        return index

    def _answer(self, key: Hashable) -> tuple[Segment, ...]:
        if key not in self._index:
            return ()
        if key not in self._answers:
            self._answers[key] = tuple(self._segment(number) for number in self._index[key])
        return self._answers[key]

    def _segment(self, number: int) -> Segment:
        segment = self._segments[number]
        if segment is None:
            row = self._rows[number]
            try:
                segment = self._built(row, f"segment {number}")
                self._validate(segment, row.nodes)
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                raise InputError(f"{self._name}: segment {number}: {error}") from error
            self._segments[number] = segment
        return segment

    def _built(self, row: Row, name: str) -> Segment:
        nodes = [self._nodes[position] for position in row.nodes]
        with_source = {target for _, target in row.edges}
        starts = [(1, *node.in_shape) for place, node in enumerate(nodes) if place not in with_source]
        graph = ComputeGraph.from_nodes(name, starts, nodes, row.edges, self._normalisers)
        return Segment(graph, row.inputs, row.input_shapes, row.outputs, row.text)

    def _validate(self, segment: Segment, positions: tuple[int, ...]) -> None:
        for position in positions:
            if position not in self._valid:
                validate_node(self._nodes[position])
                self._valid.add(position)
        validate_edges(segment.graph, is_whole=False)
        ports = {*segment.outputs, *chain.from_iterable(segment.inputs)}
        if not ports <= set(range(segment.graph.n_nodes)):
            raise ValueError("what goes in or out is at none of its nodes")
