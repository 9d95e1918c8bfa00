"""Splits of a family: networks of a cache file are cut here, those of every shard in a task of its own, and joined."""

import json
from base64 import b64decode, b64encode
from collections.abc import Hashable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segmentation import segment_with_text
from model_src.encoder.tokenizer import Tokenizer
from model_src.family_data.reading import family_path, load_measured, sharded
from model_src.family_data.shards import iter_shards, shard_paths
from model_src.files import InputError
from model_src.kept import KeptJob
from model_src.predictor.data.psc_cache import CachedNetwork, NodeTable, PscCache, build_cache, cache_of
from model_src.processes import Task, TaskPool

Vocabulary = tuple[NetworkEncoder, Tokenizer]


def cut_family(family: str, data_dir: Path, vocabulary: Vocabulary, job: KeptJob, pool: TaskPool) -> PscCache:
    """Cut the networks of a family that have an accuracy at every segment.

    Args:
        family: Its name.
        data_dir: Folder of its cache or shards.
        vocabulary: Encoder and tokenizer.
        job: Where what was cut is kept.
        pool: Cuts shards; what its tasks share is the vocabulary.

    Raises:
        InputError: See `reading.iter_family`; or none of the networks has an accuracy.
    """
    if folder := sharded(family, data_dir):
        paths = [path.resolve() for path in shard_paths(folder)]
        texts = job.of("shards").through(
            paths,
            lambda rest: pool.in_order(Task(f"splits of {path.name}", _cut_shard, (family, path)) for path in rest),
        )
        cache = joined(family, map(_from_text, tqdm(texts, total=len(paths), unit="shard", disable=None)))
        if not cache.networks:
            raise InputError(f"{family_path(family, data_dir)}: none of the networks of {family} has an accuracy")
        return cache
    cuts, networks = job.of("cuts"), tqdm(load_measured(family, data_dir), unit="network", disable=None)
    cut = ((graph, acc, cuts.get(partial(segment_with_text, graph, *vocabulary))) for graph, acc in networks)
    return build_cache(family, cut)


def joined(family: str, parts: Iterable[PscCache]) -> PscCache:
    """The networks of all parts, as if they had been cut one after the other; nothing may be selected yet."""
    table, networks, pieces = NodeTable(), list[CachedNetwork](), dict[str, int]()
    shared: dict[Hashable, dict[str, int | None]] = {}  # equal normalisers are written once
    for part in parts:
        weighted, regular = table.join(part.table)
        piece = np.array([pieces.setdefault(text, len(pieces)) for text in part.pieces], np.int32)
        for network in part.networks:
            splits = np.column_stack([piece[network.splits[:, 0]], network.splits[:, 1:]])
            own = network.normalisers
            networks.append(
                network._replace(
                    normalisers=shared.setdefault(tuple(own.items()), own),
                    weighted=weighted[network.weighted],
                    regular=regular[network.regular],
                    splits=splits,
                )
            )
    return PscCache(family, networks, table, list(pieces))


def _cut_shard(vocabulary: Vocabulary, family: str, path: Path) -> str:
    """The splits of a shard's networks, as JSON text: the same from every process."""
    networks = ((network.graph, network.accuracy) for network in iter_shards([path]))
    cut = ((graph, acc, segment_with_text(graph, *vocabulary)) for graph, acc in networks if acc is not None)
    return json.dumps(build_cache(family, cut).content(), default=lambda numbers: b64encode(numbers).decode())


def _from_text(text: str) -> PscCache:
    content = json.loads(text)
    content["networks"] = [
        (name, accuracy, tuple(shape), normalisers, *map(b64decode, numbers))
        for name, accuracy, shape, normalisers, *numbers in content["networks"]
    ]
    return cache_of(content)
