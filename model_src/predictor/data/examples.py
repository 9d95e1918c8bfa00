"""Labelled networks as training examples: packed items, their targets and their division into train, dev and test."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from tqdm import tqdm

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import NodeFeatures
from model_src.family_data.split import split_names
from model_src.files import InputError
from model_src.predictor.checkpoint import ALL_FAMILIES
from model_src.predictor.data.batching import Pack
from model_src.predictor.data.blocks import Network, pack_networks, pack_splits
from model_src.predictor.data.packing import checked_features, stack_features
from model_src.predictor.data.psc_cache import PscCache, build_cache
from model_src.predictor.settings import warn_of_large_kernels, with_map_size


@dataclass(frozen=True)
class Examples:
    """Items to learn from: whole networks, or splits of networks.

    Attributes:
        pack: The items.
        names: Name of every network.
        families: Family of every network.
        accuracy: (networks,) as fractions.
    """

    pack: Pack
    names: list[str]
    families: list[str]
    accuracy: np.ndarray

    @property
    def family_of_item(self) -> np.ndarray:
        """(items,) name of the family."""
        return np.array(self.families)[self.pack.network]

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
            result[side] = np.flatnonzero(np.array(of_network)[self.pack.network])
            if not len(result[side]):
                raise InputError(f"none of the records is of a {side} network; select more with -num_samples")
        return result

    def identity(self, sides: Mapping[str, np.ndarray]) -> str:
        """Tells networks, accuracies and their division from others: 32 hexadecimal digits."""
        content = blake2b(json.dumps([self.names, self.families, self.accuracy.tolist()]).encode(), digest_size=16)
        for side in sorted(sides):
            content.update(sides[side].astype("<i8").tobytes())
        return content.hexdigest()

    def target_normalisers(self, items: np.ndarray) -> dict[str, tuple[float, float]]:
        """Family, and `all` -> mean and population deviation of the accuracies of the given items.

        Raises:
            InputError: The accuracies of a family do not differ.
        """
        accuracy, family = self.accuracy[self.pack.network[items]], self.family_of_item[items]
        result = {}
        for name in dict.fromkeys(self.families):
            values = accuracy[family == name]
            if not values.size or np.ptp(values) == 0:
                raise InputError(f"family {name}: the accuracies of its training networks do not differ")
            result[name] = float(values.mean()), float(values.std())
        result[ALL_FAMILIES] = float(accuracy.mean()), float(accuracy.std())
        return result

    def targets(self, normalisers: Mapping[str, tuple[float, float]]) -> np.ndarray:
        """(items,) accuracies, as z-scores where there are normalisers."""
        scale = np.array([normalisers.get(family, (0.0, 1.0)) for family in self.families])
        return ((self.accuracy - scale[:, 0]) / scale[:, 1])[self.pack.network]


def network_examples(
    families: Mapping[str, Iterable[tuple[ComputeGraph, float]]], map_size: int | None = None
) -> Examples:
    """Whole networks as examples.

    Args:
        families: Family -> graph and accuracy (a fraction) of its networks.
        map_size: See `ModelConfig`.

    Raises:
        ValueError: A graph holds something that predictors do not know.
    """
    caches = [
        build_cache(family, ((graph, accuracy, []) for graph, accuracy in networks))
        for family, networks in families.items()
    ]
    features, _, networks = _stacked(caches, map_size)
    return _examples(caches, pack_networks(features, networks))


def split_examples(caches: Sequence[PscCache], hops: int, map_size: int | None = None) -> Examples:
    """The selected splits of several families as examples.

    Args:
        caches: The families, with `selected`.
        hops: Number of the encoder's layers.
        map_size: See `ModelConfig`.

    Raises:
        ValueError: A node is something that predictors do not know.
    """
    features, is_merge, networks = _stacked(caches, map_size)
    progress = tqdm(networks, desc="cutting networks", unit="network", leave=False, disable=None)
    return _examples(caches, pack_splits(features, is_merge, progress, hops))


def _examples(caches: Sequence[PscCache], pack: Pack) -> Examples:
    networks = [(network.name, cache.family, network.accuracy) for cache in caches for network in cache.networks]
    names, families, accuracy = zip(*networks, strict=True)
    return Examples(pack, list(names), list(families), np.array(accuracy))


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
