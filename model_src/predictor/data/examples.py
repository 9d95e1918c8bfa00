"""Labelled networks as training examples: packed items, their targets and their division into train, dev and test."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from tqdm import tqdm

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import NodeFeatures
from model_src.family_data.shards import in_parts
from model_src.family_data.split import split_names
from model_src.files import InputError
from model_src.predictor.checkpoint import ALL_FAMILIES
from model_src.predictor.data.batching import Pack
from model_src.predictor.data.blocks import Network, pack_networks, pack_splits
from model_src.predictor.data.packing import checked_features, stack_features
from model_src.predictor.data.parts import Parts
from model_src.predictor.data.psc_cache import PscCache, build_cache
from model_src.predictor.settings import warn_of_large_kernels, with_map_size


@dataclass(frozen=True)
class Examples:
    """Items to learn from: whole networks, or splits of networks.

    Attributes:
        parts: The items.
        names: Name of every network.
        families: Family of every network.
        accuracy: (networks,) as fractions.
    """

    parts: Parts
    names: list[str]
    families: list[str]
    accuracy: np.ndarray

    @property
    def pack(self) -> Pack:
        """The items of the first part, which are all of them unless they are in several."""
        return self.parts.read(0)

    @property
    def network(self) -> np.ndarray:
        """(items,) number of the network."""
        return self.parts.network

    def split_names(self, dev_ratio: float, test_ratio: float, seed: int) -> dict[str, dict[str, list[str]]]:
        """Divide the networks: family -> `train`, `dev`, `test` -> names, see `family_data.split_names`.

        Raises:
            InputError: A family has too few.
        """
        return {
            family: split_names(
                [name for name, own in zip(self.names, self.families, strict=True) if own == family],
                dev_ratio,
                test_ratio,
                seed,
            )
            for family in dict.fromkeys(self.families)
        }

    def divide(self, names: Mapping[str, Mapping[str, Iterable[str]]]) -> dict[str, np.ndarray]:
        """Turn family -> `train`, `dev`, `test` -> names of networks into the items of each side.

        Raises:
            InputError: A side has no item, because no split of its networks was selected.
        """
        result = {}
        for side in ("train", "dev", "test"):
            chosen = {(family, name) for family, sides in names.items() for name in sides[side]}
            of_network = [key in chosen for key in zip(self.families, self.names, strict=True)]
            result[side] = np.flatnonzero(np.array(of_network)[self.network])
            if not len(result[side]):
                raise InputError(f"none of the records is of a {side} network; select more with -num_samples")
        return result

    def identity(self, sides: Mapping[str, np.ndarray]) -> str:
        """Tells networks, accuracies, their division and their parts from others: 32 hexadecimal digits."""
        content = blake2b(json.dumps([self.names, self.families, self.accuracy.tolist()]).encode(), digest_size=16)
        for side in sorted(sides):
            content.update(sides[side].astype("<i8").tobytes())
        content.update(self.parts.first[1:-1].astype("<i8").tobytes())
        return content.hexdigest()

    def target_normalisers(self, items: np.ndarray) -> dict[str, tuple[float, float]]:
        """Family, and `all` -> mean and population deviation of the accuracies of the given items.

        Raises:
            InputError: The accuracies of a family do not differ.
        """
        network, families, result = self.network[items], np.array(self.families), {}
        accuracy = self.accuracy[network]
        for name in dict.fromkeys(self.families):
            values = accuracy[(families == name)[network]]
            if not values.size or np.ptp(values) == 0:
                raise InputError(f"family {name}: the accuracies of its training networks do not differ")
            result[name] = float(values.mean()), float(values.std())
        result[ALL_FAMILIES] = float(accuracy.mean()), float(accuracy.std())
        return result

    def targets(self, normalisers: Mapping[str, tuple[float, float]]) -> np.ndarray:
        """(networks,) accuracies, as z-scores where there are normalisers."""
        scale = np.array([normalisers.get(family, (0.0, 1.0)) for family in self.families])
        return (self.accuracy - scale[:, 0]) / scale[:, 1]


def network_examples(
    families: Mapping[str, Iterable[tuple[ComputeGraph, float]]], map_size: int | None = None, is_large: bool = False
) -> Examples:
    """Whole networks as examples.

    Args:
        families: Family -> graph and accuracy (a fraction) of its networks, which are read once.
        map_size: See `ModelConfig`.
        is_large: Pack them in parts, of as many as a shard has, of which one is in memory at a time.

    Raises:
        ValueError: A graph holds something that predictors do not know.
    """

    def packed(caches: Sequence[PscCache]) -> Pack:
        features, _, networks = _stacked(caches, map_size)
        return pack_networks(features, networks)

    caches = (
        build_cache(family, ((graph, accuracy, []) for graph, accuracy in part))
        for family, networks in families.items()
        for part in (in_parts(networks) if is_large else [networks])
    )
    return _examples(caches, packed, is_large)


def split_examples(
    caches: Iterable[PscCache], hops: int, map_size: int | None = None, is_large: bool = False
) -> Examples:
    """The selected splits of several families as examples.

    Args:
        caches: The families, with `selected`, or parts of them; they are read once.
        hops: Number of the encoder's layers.
        map_size: See `ModelConfig`.
        is_large: Keep the parts apart, so that one is in memory at a time.

    Raises:
        ValueError: A node is something that predictors do not know.
    """

    def packed(caches: Sequence[PscCache]) -> Pack:
        features, is_merge, networks = _stacked(caches, map_size)
        progress = tqdm(networks, desc="cutting networks", unit="network", leave=False, disable=None)
        return pack_splits(features, is_merge, progress, hops)

    return _examples(caches, packed, is_large)


def _examples(caches: Iterable[PscCache], packed: Callable[[Sequence[PscCache]], Pack], is_large: bool) -> Examples:
    known: list[tuple[str, str, float]] = []

    def packs() -> Iterator[tuple[Pack, int]]:
        for group in ([cache] for cache in caches) if is_large else [list(caches)]:
            own = [(network.name, cache.family, network.accuracy) for cache in group for network in cache.networks]
            known.extend(own)
            yield packed(group), len(own)

    parts = Parts.on_disk(packs()) if is_large else Parts.one(*(pack for pack, _ in packs()))
    names, families, accuracy = zip(*known, strict=True)
    return Examples(parts, list(names), list(families), np.array(accuracy))


def _stacked(caches: Sequence[PscCache], map_size: int | None) -> tuple[NodeFeatures, np.ndarray, list[Network]]:
    """One feature table for several families, which of its rows are merges, and the networks in its terms."""
    tables = {}  # (number of the family, normalisers) -> number of the table
    graphs: list[ComputeGraph] = []
    merges: list[np.ndarray] = []
    for number, cache in enumerate(caches):
        warn_of_large_kernels(cache.family, cache.table.weighted_nodes)
        for network in cache.networks:
            key = number, *network.normalisers.values()
            if key not in tables:
                tables[key] = len(graphs)
                graphs.append(with_map_size(cache.table.as_graph(network.normalisers), map_size))
                merges.append(cache.table.is_merge())
    features, rows = stack_features([checked_features(graph) for graph in graphs])
    is_merge = np.zeros(len(features.op), dtype=bool)
    is_merge[np.concatenate(rows)] = np.concatenate(merges)
    networks = []
    for number, cache in enumerate(caches):
        n_weighted = len(cache.table.weighted_nodes)
        for network, chosen in zip(cache.networks, _chosen_splits(cache), strict=True):
            table = rows[tables[number, *network.normalisers.values()]]
            nodes = np.concatenate([table[:n_weighted][network.weighted], table[n_weighted:][network.regular]])
            networks.append(Network(nodes, network.edges, network.order, network.splits[chosen, 1:]))
    return features, is_merge, networks


def _chosen_splits(cache: PscCache) -> list[np.ndarray]:
    """The numbers of every network's selected splits, ascending."""
    selected = np.empty((0, 2), dtype=np.int32) if cache.selected is None else cache.selected
    by_network = selected[np.lexsort(selected.T[::-1])]
    counts = np.bincount(by_network[:, 0], minlength=len(cache.networks))
    return np.split(by_network[:, 1], np.cumsum(counts)[:-1])
