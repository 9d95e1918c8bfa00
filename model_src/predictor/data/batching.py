"""Many graphs, or parts of graphs, as one disjoint message-passing graph with one row of pooling weights per part.

A batch of splits holds every network's nodes once. A cut adds copies of the few nodes that it changes (see `splits`);
a copy receives messages from the copies of its changed predecessors and from the originals of the others. A part is
then the mean of a range of originals in topological order, with the changed ones replaced by their copies.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array

from model_src.comp_graph.tf_comp_graph_utils import NodeFeatures
from model_src.predictor.data.splits import ranges

with warnings.catch_warnings():
    # PyTorch says once per process that its CSR matrices are young and unchecked; the first one is made here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 1], [0], [1.0])


class FeatureTensors(NamedTuple):
    """`NodeFeatures` as tensors, weighted nodes first."""

    op: torch.Tensor
    resolution: torch.Tensor
    kernel: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def made_of(cls, features: NodeFeatures) -> "FeatureTensors":
        """The features on the CPU."""
        return cls(*map(torch.from_numpy, features))

    def to(self, device: torch.device, dtype: torch.dtype) -> "FeatureTensors":
        """The features on another device and with another type of floating-point numbers."""
        op, kernel, bias = (values.to(device) for values in (self.op, self.kernel, self.bias))
        return FeatureTensors(op, self.resolution.to(device, dtype), kernel, bias)


@dataclass(frozen=True)
class GraphBatch:
    """What a predictor encodes in one pass: n nodes that make up g parts (a whole graph is a part, too).

    Attributes:
        features: Features of distinct nodes.
        rows: (n,) the row of every node in these features.
        adjacency: (n, n) sparse CSR, 1 where the node of the column sends messages to the node of the row.
        pooling: (g, n) sparse CSR, the weight of every node in a part's embedding.
    """

    features: FeatureTensors
    rows: torch.Tensor
    adjacency: torch.Tensor
    pooling: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "GraphBatch":
        """The batch on another device and with another type of floating-point numbers."""
        return GraphBatch(
            self.features.to(device, dtype),
            self.rows.to(device),
            self.adjacency.to(device, dtype),
            self.pooling.to(device, dtype),
        )


class Selection(NamedTuple):
    """Nodes and edges of some items; a node goes by its place.

    Attributes:
        rows: (n,) row of every node in the features.
        edges: (2, m) places of sources and targets.
        place: (nodes of the pack,) place of every node that was selected.
        parts: (k, 6) the parts, item by item, see `Pack`.
    """

    rows: np.ndarray
    edges: np.ndarray
    place: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class Pack:
    """Networks, and parts of them, as flat arrays from which batches are put together without a Python loop.

    Nodes and edges come in blocks: one for every network, and one for every cut that changes anything, which holds the
    copies, their incoming edges and the bypassed merges. Node ids count through all blocks.

    A part is six numbers: block of its network; start and stop, counted in the network's nodes; block of the cut at
    its start (the network's own if that changes nothing); how many of the cut's copies and of its bypassed merges are
    in the part.

    Attributes:
        features: Features of the distinct nodes of all networks.
        rows: (nodes,) row of every node in the features.
        originals: (nodes,) id of the node that a copy stands for; its own id for an original.
        edges: (2, edges) ids of sources and targets.
        bypassed: (bypassed,) ids of the merges that a cut bypasses.
        node_start: (blocks + 1,) where the nodes of a block begin; likewise `edge_start` and `bypassed_start`.
        edge_start: See `node_start`.
        bypassed_start: See `node_start`.
        network: (items,) number of the network that every item belongs to.
        parts: (items, parts per item, 6), for every item that a predictor gives one value.
    """

    features: FeatureTensors
    rows: np.ndarray
    originals: np.ndarray
    edges: np.ndarray
    bypassed: np.ndarray
    node_start: np.ndarray
    edge_start: np.ndarray
    bypassed_start: np.ndarray
    network: np.ndarray
    parts: np.ndarray

    def batch(self, items: np.ndarray | slice = slice(None)) -> GraphBatch:
        """The batch of the given items; its parts come item by item."""
        chosen = self.select(items)
        n_nodes, n_parts = len(chosen.rows), len(chosen.parts)
        nodes, owners, signs = self.members(chosen.parts)
        sources, targets = chosen.edges
        return GraphBatch(
            self.features,
            torch.from_numpy(chosen.rows),
            _csr(np.ones(len(sources)), targets, sources, (n_nodes, n_nodes)),
            _csr(signs * part_shares(chosen.parts)[owners], owners, chosen.place[nodes], (n_parts, n_nodes)),
        )

    def select(self, items: np.ndarray | slice = slice(None)) -> Selection:
        """The nodes and edges that the given items need."""
        parts = self.parts[items].reshape(-1, 6).astype(np.int64)
        blocks = np.unique(parts[:, [0, 3]])
        nodes = ranges(self.node_start[blocks], self.node_start[blocks + 1])
        edges = self.edges[:, ranges(self.edge_start[blocks], self.edge_start[blocks + 1])]
        place = np.empty(len(self.rows), dtype=np.int64)
        place[nodes] = np.arange(len(nodes))
        return Selection(self.rows[nodes], place[edges], place, parts)

    def members(self, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Node id, number of the part and sign of everything that is summed up for the parts, part by part."""
        network, start, stop = parts.T[:3]
        first, count = self.node_start[network], stop - start
        entries = (ranges(first + start, first + stop), np.repeat(np.arange(len(parts)), count), np.ones(count.sum()))
        if not parts[:, 4:].any():
            return entries
        nodes, owners, signs = map(np.concatenate, zip(entries, self.changes(parts), strict=True))
        order = np.argsort(owners, kind="stable")
        return nodes[order], owners[order], signs[order]

    def changes(self, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Likewise, but only what is added to and taken from the sum of the network's nodes from start to stop."""
        _, _, _, cut, n_copies, n_bypassed = parts.T
        first_copy, first_bypassed = self.node_start[cut], self.bypassed_start[cut]
        copies = ranges(first_copy, first_copy + n_copies)
        bypassed = self.bypassed[ranges(first_bypassed, first_bypassed + n_bypassed)]
        numbers = np.arange(len(parts))
        terms = ((copies, n_copies, 1.0), (self.originals[copies], n_copies, -1.0), (bypassed, n_bypassed, -1.0))
        nodes = np.concatenate([ids for ids, _, _ in terms])
        owners = np.concatenate([np.repeat(numbers, counts) for _, counts, _ in terms])
        signs = np.repeat([sign for _, _, sign in terms], [len(ids) for ids, _, _ in terms])
        order = np.argsort(owners, kind="stable")
        return nodes[order], owners[order], signs[order]


def part_shares(parts: np.ndarray) -> np.ndarray:
    """(k,) the weight of a node in the mean over its part."""
    _, start, stop, _, _, n_bypassed = parts.T
    return 1 / (stop - start - n_bypassed)


def _csr(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """A sparse matrix; what is given more than once is added up."""
    matrix = csr_array((values, (rows, columns)), shape=shape)
    starts, places = (torch.from_numpy(index.astype(np.int64)) for index in (matrix.indptr, matrix.indices))
    return torch.sparse_csr_tensor(starts, places, torch.from_numpy(matrix.data), size=shape)
