"""Draws distinct networks of a family, with their measured accuracies where there is a table of them."""

import itertools
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.search_space import hiaml, inception, nb101, nb201, two_path
from model_src.search_space.labels import config_hash

log = logging.getLogger(__name__)

# So many draws in a row without a new network mean that there are no more.
PATIENCE = 20_000
_CONFIG_HASH, _LONG_HASH = re.compile("[0-9a-f]{16}"), re.compile("[0-9a-f]{32}")


class Drawn(NamedTuple):
    """A network, what it was built from, its accuracy as a fraction (None: unknown), and its canonical hash."""

    graph: ComputeGraph
    config: Any
    accuracy: float | None
    graph_hash: str


@dataclass(frozen=True)
class Space:
    """How the networks of a family are drawn, built, named and looked up in a table of accuracies.

    Attributes:
        draws: Generator -> configs; ends where the family has been listed.
        build: (config, name) -> graph.
        name: (config, number of networks before it) -> name.
        key: A config's name in the benchmark's tables of accuracies, equal only for equal networks.
        is_key: Whether a text is such a name.
    """

    draws: Callable[[np.random.Generator], Iterator[Any]]
    build: Callable[[Any, str], ComputeGraph]
    name: Callable[[Any, int], str]
    key: Callable[[Any], str] = config_hash
    is_key: Callable[[str], Any] = _CONFIG_HASH.fullmatch


def space_of(family: str, keep_identity: bool = True) -> Space:
    """The space of a family; `keep_identity` is that of `nb201.build`.

    Raises:
        InputError: There is no such family.
    """
    if family in ("nb201", "nb201c10"):
        return Space(
            _shuffled_nb201_cells,
            partial(nb201.build, keep_identity=keep_identity),
            lambda config, _: nb201.network_name(config),
            nb201.architecture_string,
            lambda text: "~" in text,
        )
    if family in ("nb101", "nb101_5k"):
        return Space(_endless(nb101.sample), nb101.build, _numbered("NB101-Net"), _nb101_key, _LONG_HASH.fullmatch)
    modules = {
        "hiaml": (hiaml, "HiAMLNet"),
        "two_path": (two_path, "TwoPathNet"),
        "inception": (inception, "InceptionNet"),
    }
    if family not in modules:
        raise InputError(f"unknown family {family!r}; known are nb201c10, nb101_5k, {', '.join(modules)}")
    module, prefix = modules[family]
    return Space(_endless(module.sample), module.build, _numbered(prefix))


def _shuffled_nb201_cells(rng: np.random.Generator) -> Iterator[nb201.Config]:
    cells = nb201.all_configs()
    return (cells[index] for index in rng.permutation(len(cells)))


def _endless(sample: Callable[[np.random.Generator], Any]) -> Callable[[np.random.Generator], Iterator[Any]]:
    return lambda rng: (sample(rng) for _ in itertools.count())


def _nb101_key(config: nb101.Config) -> str:
    return nb101.cell_hash(*config)


def _numbered(prefix: str) -> Callable[[Any, int], str]:
    return lambda _, count: f"{prefix}{count}"


def _table_key(space: Space, labels: Mapping[str, float]) -> Callable[[Any], str] | None:
    """What finds a config in a table of accuracies; None for a table by canonical hashes of graphs."""
    first = next(iter(labels), "")
    if space.is_key(first):
        return space.key
    if _CONFIG_HASH.fullmatch(first):
        return config_hash
    if _LONG_HASH.fullmatch(first):
        return None
    raise InputError(f"-label_table: the label table is not of this family; its first network is {first!r}")


def distinct_networks(
    space: Space, rng: np.random.Generator, num: int | None = None, labels: Mapping[str, float] | None = None
) -> Iterator[Drawn]:
    """Draw networks that differ as graphs, one at a time.

    Args:
        space: Where they come from.
        rng: Decides which ones.
        num: How many; None means all, of a family that can be listed.
        labels: Network key -> accuracy; networks that it does not know are left out.

    Raises:
        InputError: There are fewer than `num`, or none at all, or the table is of another family.
    """
    find = None if labels is None else _table_key(space, labels)
    seen: set[str] = set()
    count = n_unlabelled = misses = 0
    for config in space.draws(rng):
        if count == num or misses > PATIENCE:
            break
        misses += 1
        key = space.key(config)
        if key in seen:
            continue
        seen.add(key)
        if find and find(config) not in labels:
            n_unlabelled += 1
            continue
        graph = space.build(config, space.name(config, count))
        identity = canonical_hash(graph)
        if identity in seen:
            continue
        seen.add(identity)
        accuracy = None if labels is None else labels.get(find(config) if find else identity)
        if labels is not None and accuracy is None:
            n_unlabelled += 1
            continue
        yield Drawn(graph, config, accuracy, identity)
        count, misses = count + 1, 0
    log.info("%d networks; %d without a label were left out", count, n_unlabelled)
    if labels is not None and not count:
        raise InputError(f"the label table knows none of the {n_unlabelled} networks that were drawn")
    if count < (num or 1):
        raise InputError(f"only {count} distinct{' labelled' if labels is not None else ''} networks were found")
