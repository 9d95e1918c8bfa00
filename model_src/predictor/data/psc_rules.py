"""What a file of splits must keep, so that whoever learns from it need not look again."""

from typing import TYPE_CHECKING

import numpy as np

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.validate import LARGEST, validate_node

if TYPE_CHECKING:
    from model_src.predictor.data.psc_cache import CachedNetwork, PscCache


def check_cache(cache: "PscCache") -> None:
    """Check the nodes, and that every network's numbers are those of nodes, pieces and splits that there are.

    Raises:
        ValueError: They are not; the text names the network and the rule.
    """
    if not isinstance(cache.family, str) or not all(isinstance(piece, str) for piece in cache.pieces):
        raise ValueError("its family or one of its pieces is no text")
    _require(bool(cache.networks), "it has no networks")
    weighted, regular = cache.table.weighted_nodes, cache.table.regular_nodes
    for node in (*weighted, *regular):
        validate_node(node)
    for network in cache.networks:
        try:
            _check_fields(network)
            _check_numbers(network, len(weighted), len(regular), len(cache.pieces))
        except ValueError as error:
            raise ValueError(f"network {network.name!r:.60}: {error}") from error
    if cache.selected is not None:
        owners, numbers = cache.selected.T
        counts = np.array([len(network.splits) for network in cache.networks], dtype=np.int64)
        known = _below(owners, len(counts)) and bool(((numbers >= 0) & (numbers < counts[owners])).all())
        _require(known, "a selected split is not there")


def _check_fields(network: "CachedNetwork") -> None:
    _require(isinstance(network.name, str) and network.name.isprintable(), "its name is no text")
    accuracy, shape, normalisers = network.accuracy, network.input_shape, network.normalisers
    _require(type(accuracy) is float and 0 <= accuracy <= 1, "its accuracy is no fraction")
    _require(type(shape) is tuple and len(shape) == 4, "its input shape is not (1, H, W, C)")
    _require(all(type(size) is int and 1 <= size <= LARGEST for size in shape), "its input shape is not (1, H, W, C)")
    _require(type(normalisers) is dict and set(normalisers) == set(ComputeGraph.NORMALISERS), "it lacks normalisers")
    _require(all(type(one) is int and 1 <= one <= LARGEST for one in normalisers.values()), "a normaliser is no number")


def _check_numbers(network: "CachedNetwork", n_weighted: int, n_regular: int, n_pieces: int) -> None:
    count = len(network.weighted) + len(network.regular)
    _require(count > 0, "it has no nodes")
    _require(_below(network.weighted, n_weighted) and _below(network.regular, n_regular), "a node is not there")
    _require(_below(network.edges, count), "an edge is of nodes that are not there")
    _require(np.array_equal(np.sort(network.order), np.arange(count)), "its order is not one of all nodes")
    place = np.empty(count, dtype=np.int64)
    place[network.order] = np.arange(count)
    sources, targets = place[network.edges]
    _require(bool((sources < targets).all()), "its nodes are in no topological order")
    pieces, starts, stops = network.splits.T
    _require(_below(pieces, n_pieces) and _below(starts, count), "a split is of pieces or nodes that are not there")
    _require(bool(((starts < stops) & (stops <= count)).all()), "a split ends before it begins, or too late")


def _below(numbers: np.ndarray, limit: int) -> bool:
    return not numbers.size or 0 <= int(numbers.min()) <= int(numbers.max()) < limit


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)
