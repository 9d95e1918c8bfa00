"""Draws distinct networks of a family, with their measured accuracies where there is a table of them."""

import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.families import Family, find, with_networks
from model_src.files import InputError
from model_src.kept import NOTHING_KEPT, Kept

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


def config_hash(config: Any) -> str:
    """Identify a network by what it was built from, plain JSON data: 16 hexadecimal digits.

    It needs no graph, so a table can be searched quickly; different configs of one graph have different hashes.

    Raises:
        InputError: It is not plain JSON data.
    """
    try:
        text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        raise InputError(f"a config must be plain JSON data, got {config!r}: {error}") from error
    return blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Space:
    """How the networks of a family are drawn, built, named and looked up in a table of accuracies.

    Attributes:
        family: The family.
        draws: Generator -> configs; ends where the family has been listed.
        can_be_listed: Whether it ever ends.
        build: (config, name) -> graph.
        name: (config, number of networks before it) -> name.
        key: A config's name in the tables of others, equal only for equal networks.
        is_key: Whether a text is such a name.
    """

    family: Family
    draws: Callable[[np.random.Generator], Iterator[Any]]
    can_be_listed: bool
    build: Callable[[Any, str], ComputeGraph]
    name: Callable[[Any, int], str]
    key: Callable[[Any], str]
    is_key: Callable[[str], object]


def space_of(family: str, traced: bool = False) -> Space:
    """The space of a family, as its module says; `traced`: networks in the form that a trace gives.

    Raises:
        InputError: There is no such family, its module lacks something, or it has no traced form.
    """
    row = find(family, with_networks())
    module = row.load()
    for function in ("sample", "build"):
        if not hasattr(module, function):
            raise InputError(f"family {row.name}: {row.module} has no function {function}")
    if traced and not hasattr(module, "build_traced"):
        raise InputError(f"-traced: {row.name} has no traced form")

    def endless(rng: np.random.Generator) -> Iterator[Any]:
        return (module.sample(rng) for _ in itertools.count())

    def name(config: Any, number: int) -> str:
        return (
            module.network_name(config)
            if hasattr(module, "network_name")
            else f"{row.network_name or row.name}{number}"
        )

    return Space(
        family=row,
        draws=getattr(module, "draw", endless),
        can_be_listed=hasattr(module, "draw"),
        build=module.build_traced if traced else module.build,
        name=name,
        key=getattr(module, "label_key", config_hash),
        is_key=getattr(module, "is_label_key", _CONFIG_HASH.fullmatch),
    )


def package_labels(family: str, package: str) -> dict[str, float]:
    """Accuracies (fractions) of a family's networks out of an installed package: label key -> accuracy.

    Raises:
        InputError: The package has none of this family, is not installed, or is another version.
    """
    row = find(family, with_networks())
    if row.label_package != package:
        raise InputError(f"-label {package}: it has no accuracies of {row.name}")
    labels: dict[str, float] = row.load().read_package_labels()
    return labels


def _table_key(space: Space, labels: Mapping[str, float]) -> Callable[[Any], str] | None:
    """What finds a config in a table of accuracies; None for a table by canonical hashes of graphs."""
    first = next(iter(labels), "")
    if space.is_key(first):
        return space.key
    if _CONFIG_HASH.fullmatch(first):
        return config_hash
    if _LONG_HASH.fullmatch(first):
        return None
    keys = " or ".join(filter(None, (space.family.label_key, "the hash of a config or of a graph")))
    raise InputError(f"-label_table: the label table is not of this family; its first network is {first!r}, not {keys}")


def distinct_networks(
    space: Space,
    rng: np.random.Generator,
    num: int | None = None,
    labels: Mapping[str, float] | None = None,
    hashes: Kept = NOTHING_KEPT,
) -> Iterator[Drawn]:
    """Draw networks that differ as graphs, one at a time.

    Args:
        space: Where they come from.
        rng: Decides which ones.
        num: How many; None means all, of a family that can be listed.
        labels: Network key -> accuracy; networks that it does not know are left out.
        hashes: Where the hashes of graphs are kept.

    Raises:
        InputError: There are fewer than `num`, or none at all, the table is of another family, or all are wanted of a
            family that cannot be listed.
    """
    if num is None and not space.can_be_listed:
        raise InputError(f"-num all: {space.family.name} cannot be listed")
    key_of = None if labels is None else _table_key(space, labels)
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
        if labels is not None and key_of and key_of(config) not in labels:
            n_unlabelled += 1
            continue
        graph = space.build(config, space.name(config, count))
        identity = hashes.get(partial(canonical_hash, graph))
        if identity in seen:
            continue
        seen.add(identity)
        accuracy = None if labels is None else labels.get(key_of(config) if key_of else identity)
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
