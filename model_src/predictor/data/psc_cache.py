"""Networks cut into splits, as a small file: every distinct node once, every network once, and where it is cut.

A file is a pickled dictionary of plain values; rows of numbers are bytes of little-endian 32-bit integers.
"""

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_src.comp_graph.node_pool import AnyNode, NodePool
from model_src.comp_graph.tf_comp_graph import ComputeGraph, Node, RegularNode, WeightedNode, node_from_state
from model_src.files import InputError, load_pickle, save_pickle
from model_src.predictor.data.psc_rules import check_cache
from model_src.predictor.data.splits import split_bounds

FORMAT = "autogo psc cache 1"
_NUMBER = re.compile(r"_\d+$")


class NodeTable:
    """The distinct nodes of many graphs; ids and the numbers at the end of labels do not count."""

    def __init__(self, weighted: Iterable[WeightedNode] = (), regular: Iterable[RegularNode] = ()):
        self._weighted, self._regular = NodePool(weighted), NodePool(regular)

    @property
    def weighted_nodes(self) -> list[WeightedNode]:
        """Nodes with a kernel."""
        return self._weighted.nodes

    @property
    def regular_nodes(self) -> list[RegularNode]:
        """All other nodes."""
        return self._regular.nodes

    def add(self, graph: ComputeGraph) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a graph's weighted and of its regular nodes, each in the table of its kind."""
        return _rows(self._weighted, graph.weighted_nodes), _rows(self._regular, graph.regular_nodes)

    def as_graph(self, normalisers: Mapping[str, int | None]) -> ComputeGraph:
        """All nodes as a graph without edges, to get their features."""
        return ComputeGraph("nodes", (), tuple(self.weighted_nodes), tuple(self.regular_nodes), (), **normalisers)

    def is_merge(self) -> np.ndarray:
        """Per node, weighted ones first, whether it is an add, concat or mul."""
        regular = [node.operation.is_merge for node in self.regular_nodes]
        return np.array([False] * len(self.weighted_nodes) + regular, dtype=bool)


def _rows(pool: NodePool[AnyNode], nodes: Sequence[AnyNode]) -> np.ndarray:
    keys = [(_NUMBER.sub("", node.label), node.digest) for node in nodes]
    return np.array(pool.numbers(keys, nodes, _without_number), dtype=np.int32)


def _without_number(node: AnyNode, row: int) -> AnyNode:
    return replace(node, str_id=str(row), label=_NUMBER.sub("", node.label))


class CachedNetwork(NamedTuple):
    """A network in terms of a node table.

    Attributes:
        name: Architecture name.
        accuracy: As a fraction.
        input_shape: (1, H, W, C).
        normalisers: The graph's feature normalisers.
        weighted: (w,) rows of the weighted nodes in the table.
        regular: (r,) rows of the regular nodes in the table.
        edges: (2, m) node indices of sources and targets.
        order: (w + r,) node indices in topological order.
        splits: (k, 3) piece number and the positions in that order where the segment starts and stops.
    """

    name: str
    accuracy: float
    input_shape: tuple[Any, ...]
    normalisers: dict[str, int | None]
    weighted: np.ndarray
    regular: np.ndarray
    edges: np.ndarray
    order: np.ndarray
    splits: np.ndarray

    def graph(self, table: NodeTable) -> ComputeGraph:
        """The network as a graph; node ids are its indices."""
        weighted = [table.weighted_nodes[row] for row in self.weighted]
        nodes: list[Node] = [*weighted, *(table.regular_nodes[row] for row in self.regular)]
        nodes = [replace(node, str_id=str(index)) for index, node in enumerate(nodes)]
        return ComputeGraph.from_nodes(self.name, self.input_shape, nodes, self.edges.T.tolist(), self.normalisers)


@dataclass(frozen=True)
class PscCache:
    """The splits of a family's networks.

    Attributes:
        family: Name of the family.
        networks: The networks; a split without a segment of its own is left out.
        table: Their distinct nodes.
        pieces: Distinct texts of segments, in order of first appearance.
        selected: (n, 2) network and split of every training record, or None if nothing has been selected yet.
    """

    family: str
    networks: list[CachedNetwork]
    table: NodeTable = field(default_factory=NodeTable)
    pieces: list[str] = field(default_factory=list)
    selected: np.ndarray | None = None

    def save(self, path: str | Path) -> None:
        """Write the file (pickle protocol 4)."""
        save_pickle(self.content(), path)

    def content(self) -> dict[str, Any]:
        """All of it as plain values."""
        networks = [
            tuple(_to_bytes(value) if isinstance(value, np.ndarray) else value for value in network)
            for network in self.networks
        ]
        return {
            "format": FORMAT,
            "family": self.family,
            "weighted_nodes": [node.state_dict() for node in self.table.weighted_nodes],
            "regular_nodes": [node.state_dict() for node in self.table.regular_nodes],
            "pieces": self.pieces,
            "networks": networks,
            "selected": None if self.selected is None else _to_bytes(self.selected),
        }


def build_cache(family: str, networks: Iterable[tuple[ComputeGraph, float, list[tuple[str, list[int]]]]]) -> PscCache:
    """Collect networks and their splits: one per segment.

    Args:
        family: Name of the family.
        networks: Graph, accuracy (a fraction) and segments: text, one character per node, and node indices; together
            the segments are all nodes in topological order.
    """
    table, cached = NodeTable(), []
    pieces: dict[str, int] = {}
    shared: dict[Hashable, dict[str, int | None]] = {}  # equal normalisers are written once
    for graph, accuracy, segments in networks:
        weighted, regular = table.add(graph)
        splits = [(pieces.setdefault(text, len(pieces)), start, stop) for text, start, stop in split_texts(segments)]
        cached.append(
            CachedNetwork(
                graph.name,
                float(accuracy),
                graph.input_shape,
                shared.setdefault(tuple(graph.normalisers.items()), graph.normalisers),
                weighted,
                regular,
                _numbers(graph.edge_pairs, 2).T,
                np.array([node for _, nodes in segments for node in nodes], dtype=np.int32),
                _numbers(splits, 3),
            )
        )
    return PscCache(family, cached, table, list(pieces))


def split_texts(segments: list[tuple[str, list[int]]]) -> list[tuple[str, int, int]]:
    """Text, start and stop of the segment of every split; splits whose segment is empty are left out."""
    bounds = split_bounds([len(nodes) for _, nodes in segments])
    text = "".join(text for text, _ in segments)
    return [(text[start:stop], start, stop) for start, stop in bounds if start < stop]


def load_cache(path: str | Path) -> PscCache:
    """Read a file of splits.

    Raises:
        InputError: The file is missing, damaged or of another kind.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a file of splits that this version makes")
    try:
        return cache_of(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def cache_of(content: Mapping[str, Any]) -> PscCache:
    """What `PscCache.content` describes, checked.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is damaged.
    """
    networks = [
        CachedNetwork(
            name,
            accuracy,
            input_shape,
            normalisers,
            _from_bytes(weighted),
            _from_bytes(regular),
            _from_bytes(edges).reshape(2, -1),
            _from_bytes(order),
            _from_bytes(splits).reshape(-1, 3),
        )
        for name, accuracy, input_shape, normalisers, weighted, regular, edges, order, splits in content["networks"]
    ]
    table = NodeTable(
        (node_from_state(state, True) for state in content["weighted_nodes"]),
        (node_from_state(state, False) for state in content["regular_nodes"]),
    )
    selected = content["selected"]
    cache = PscCache(
        content["family"],
        networks,
        table,
        content["pieces"],
        None if selected is None else _from_bytes(selected).reshape(-1, 2),
    )
    check_cache(cache)
    return cache


def _numbers(rows: Iterable[tuple[int, ...]], width: int) -> np.ndarray:
    return np.array(list(rows), dtype=np.int32).reshape(-1, width)


def _to_bytes(values: np.ndarray) -> bytes:
    return values.astype("<i4").tobytes()


def _from_bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype="<i4")


def sample_splits(cache: PscCache, num_samples: str, rng: np.random.Generator) -> PscCache:
    """Select, for every piece, some of the networks that contain it, with all its occurrences in them.

    Args:
        cache: The splits of a family.
        num_samples: `all`, or a number as text: from 1 on, networks per piece; below 1, the share of them, rounded up.
        rng: Draws the networks.

    Returns:
        The cache with `selected`, ordered by piece.
    """
    (selected,) = selections([cache], num_samples, rng)
    return replace(cache, selected=selected)


def selections(parts: Iterable[PscCache], num_samples: str, rng: np.random.Generator) -> list[np.ndarray]:
    """What `sample_splits` selects of a cache that is in parts: for each of these, `selected`.

    Args:
        parts: The parts, each of which is looked at once.
        num_samples: As of `sample_splits`.
        rng: As of `sample_splits`.
    """
    pieces: dict[str, int] = {}
    first, owner, number, piece = [0], list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for cache in parts:
        counts = [len(network.splits) for network in cache.networks]
        owner.append(first[-1] + np.repeat(np.arange(len(counts), dtype=np.int32), counts))
        number.append(np.concatenate([np.arange(count, dtype=np.int32) for count in counts]))
        known = np.array([pieces.setdefault(text, len(pieces)) for text in cache.pieces], np.int32)
        piece.append(known[np.concatenate([network.splits[:, 0] for network in cache.networks])])
        first.append(first[-1] + len(counts))
    by_piece = np.concatenate(piece)
    order = np.argsort(by_piece, kind="stable")
    records = np.stack([np.concatenate(owner), np.concatenate(number)], axis=1)[order]
    selected = []
    for group in np.split(records, np.cumsum(np.bincount(by_piece, minlength=len(pieces)))[:-1]):
        anchors = _sample(np.unique(group[:, 0]), num_samples, rng)
        selected.append(group[np.isin(group[:, 0], anchors)])
    return _by_part(np.concatenate(selected), np.array(first, np.int32))


def _by_part(records: np.ndarray, first: np.ndarray) -> list[np.ndarray]:
    """The records of every part, with networks counted from its first one."""
    part = (np.searchsorted(first, records[:, 0], side="right") - 1).astype(np.int32)
    records = records[np.argsort(part, kind="stable")]
    counts = np.bincount(part, minlength=len(first) - 1)
    records[:, 0] -= np.repeat(first[:-1], counts)
    return np.split(records, np.cumsum(counts)[:-1])


def _sample(anchors: np.ndarray, num_samples: str, rng: np.random.Generator) -> np.ndarray:
    if num_samples == "all":
        return anchors
    wanted = float(num_samples)
    count = math.floor(wanted) if wanted >= 1 else math.ceil(wanted * len(anchors))
    return rng.permutation(anchors)[:count]
