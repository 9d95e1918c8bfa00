"""Putting networks, whole or split, into a `Pack`: a block for each, and one for every cut that changes anything."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from model_src.comp_graph.tf_comp_graph_utils import NodeFeatures
from model_src.predictor.data.batching import FeatureTensors, Pack
from model_src.predictor.data.splits import Wiring, find_cuts

MAX_PAIRS = 2_000_000  # nodes of cuts that are worked out at once: some forty megabytes


class Network(NamedTuple):
    """A network to be packed, whole or split.

    Attributes:
        rows: (n,) row of every node, by index, in the pack's features.
        edges: (2, m) indices of sources and targets.
        order: (n,) node indices in topological order.
        splits: (k, 2) positions in that order where the segment of every split starts and stops.
    """

    rows: np.ndarray
    edges: np.ndarray
    order: np.ndarray
    splits: np.ndarray


def pack_networks(features: NodeFeatures, networks: Iterable[Network]) -> Pack:
    """Pack whole networks; item i is network i."""
    networks = list(networks)
    sizes = np.array([len(network.rows) for network in networks])
    first = np.cumsum(sizes) - sizes
    numbers, zeros = np.arange(len(networks)), np.zeros(len(networks), dtype=np.int64)
    block = _Blocks(
        rows=np.concatenate([network.rows for network in networks]),
        originals=np.arange(sizes.sum()),
        edges=np.concatenate([network.edges + start for network, start in zip(networks, first, strict=True)], axis=1),
        bypassed=zeros[:0],
        counts=np.stack([sizes, [network.edges.shape[1] for network in networks], zeros], axis=1),
        network=numbers,
        parts=np.stack([numbers, zeros, sizes, numbers, zeros, zeros], axis=1)[:, None],
    )
    return _joined(features, [(block, len(networks))])


def pack_splits(features: NodeFeatures, is_merge: np.ndarray, networks: Iterable[Network], hops: int) -> Pack:
    """Pack the splits of networks; the items are the splits, network by network, each with parts P, S and C.

    Args:
        features: Features of the distinct nodes.
        is_merge: For every row of the features, whether it is an add, concat or mul.
        networks: The networks and their splits.
        hops: Number of the encoder's layers.
    """
    return _joined(features, [(_split_blocks(some, is_merge, hops), len(some)) for some in _chunks(networks)])


class _Blocks(NamedTuple):
    """What `Pack` says of its blocks, for some networks and with ids of their own.

    `counts` has a row for every block: its nodes, edges and bypassed merges.
    """

    rows: np.ndarray
    originals: np.ndarray
    edges: np.ndarray
    bypassed: np.ndarray
    counts: np.ndarray
    network: np.ndarray
    parts: np.ndarray


def _chunks(networks: Iterable[Network]) -> Iterator[list[Network]]:
    """Lists of networks that together have about MAX_PAIRS nodes of cuts."""
    chunk, n_pairs = [], 0
    for network in networks:
        chunk.append(network)
        n_pairs += len(network.rows) * (len(network.splits) + 1)
        if n_pairs > MAX_PAIRS:
            yield chunk
            chunk, n_pairs = [], 0
    if chunk:
        yield chunk


def _split_blocks(networks: Sequence[Network], is_merge: np.ndarray, hops: int) -> _Blocks:
    """A block for every network and one for every cut that changes anything, and the parts of all splits."""
    wiring, rows = _wire(networks, is_merge)
    n_nodes, sizes = len(rows), np.diff(wiring.first)
    owner = np.repeat(np.arange(len(networks)), [len(network.splits) for network in networks])
    first, bounds = wiring.first[owner], np.concatenate([network.splits for network in networks]).reshape(-1, 2).T
    begins = np.stack([np.zeros_like(owner), *bounds])  # of P, S and C, counted in the network's nodes
    ends = np.stack([*bounds, sizes[owner]])
    starts, cut = np.unique(begins + first, return_inverse=True)
    cut = cut.reshape(begins.shape)
    cuts = find_cuts(wiring, starts, hops)
    numbers = [cuts.copy_cut, cuts.copy_cut[cuts.targets], cuts.bypassed_cut]
    counts = np.stack([np.bincount(number, minlength=len(starts)) for number in numbers], axis=1)
    changes = counts.any(axis=1)
    own_block = np.searchsorted(wiring.first, starts, side="right") - 1
    block = np.where(changes, len(networks) - 1 + np.cumsum(changes), own_block)

    def before(ends: np.ndarray, of_cut: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        """How many of the nodes that belong to a part's cut lie before the part's end."""
        last, start = np.searchsorted(of_cut * n_nodes + nodes, [cut * n_nodes + ends, cut * n_nodes])
        return last - start

    n_copies = before(ends + first, cuts.copy_cut, cuts.copies)
    n_bypassed = before(ends + first, cuts.bypassed_cut, cuts.bypassed)
    own_edges = np.bincount(np.searchsorted(wiring.first, wiring.edges[1], side="right") - 1, minlength=len(networks))
    own = np.stack([sizes, own_edges, np.zeros_like(sizes)], axis=1)
    parts = np.stack([np.broadcast_to(owner, cut.shape), begins, ends, block[cut], n_copies, n_bypassed])
    return _Blocks(
        rows=np.concatenate([rows, rows[cuts.copies]]),
        originals=np.concatenate([np.arange(n_nodes), cuts.copies]),
        edges=np.concatenate([wiring.edges, [cuts.sources, n_nodes + cuts.targets]], axis=1),
        bypassed=cuts.bypassed,
        counts=np.concatenate([own, counts[changes]]),
        network=owner,
        parts=parts.transpose(2, 1, 0),
    )


def _wire(networks: Sequence[Network], is_merge: np.ndarray) -> tuple[Wiring, np.ndarray]:
    """The networks by position, their edges network by network, and the row of every node in the features."""
    first = np.cumsum([0, *[len(network.rows) for network in networks]])
    order = np.concatenate([network.order + start for network, start in zip(networks, first, strict=False)])
    edges = np.concatenate([network.edges + start for network, start in zip(networks, first, strict=False)], axis=1)
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    rows = np.concatenate([network.rows for network in networks])[order]
    return Wiring(first, position[edges], is_merge[rows]), rows


def _joined(features: NodeFeatures, pieces: list[tuple[_Blocks, int]]) -> Pack:
    """One pack of the blocks of several lists of networks, each given with its number of networks."""

    def column(name: str) -> list[np.ndarray]:
        return [getattr(blocks, name) for blocks, _ in pieces]

    def numbered(name: str, first: np.ndarray, axis: int = 0) -> np.ndarray:
        shifted = [(array + start).astype(np.int32) for array, start in zip(column(name), first, strict=False)]
        return np.concatenate(shifted, axis=axis)

    first_node = np.cumsum([0, *map(len, column("rows"))])
    first_block = np.cumsum([0, *map(len, column("counts"))])
    first_network = np.cumsum([0, *(count for _, count in pieces)])
    starts = np.concatenate([[[0, 0, 0]], np.cumsum(np.concatenate(column("counts")), axis=0)])
    return Pack(
        features=FeatureTensors.made_of(features),
        rows=np.concatenate(column("rows")).astype(np.int32),
        originals=numbered("originals", first_node),
        edges=numbered("edges", first_node, axis=1),
        bypassed=numbered("bypassed", first_node),
        node_start=starts[:, 0],
        edge_start=starts[:, 1],
        bypassed_start=starts[:, 2],
        network=numbered("network", first_network),
        parts=numbered("parts", first_block[:, None] * np.array([1, 0, 0, 1, 0, 0])),
    )
