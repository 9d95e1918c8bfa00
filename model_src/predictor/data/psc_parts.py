"""Splits of a family: networks of a cache file are cut here, those of every shard in a task of its own."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segmentation import segment_with_text
from model_src.encoder.tokenizer import Tokenizer
from model_src.family_data.reading import family_path, load_measured, sharded
from model_src.family_data.shards import iter_shards, shard_paths
from model_src.files import InputError
from model_src.kept import KeptJob
from model_src.predictor.data.psc_cache import PscCache, build_cache, cache_of
from model_src.processes import Task, TaskPool

Vocabulary = tuple[NetworkEncoder, Tokenizer]


def cut_family(family: str, data_dir: Path, vocabulary: Vocabulary, job: KeptJob, pool: TaskPool) -> Iterator[PscCache]:
    """Cut the networks of a family that have an accuracy at every segment: all at once, or shard by shard.

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
        is_measured = False
        for text in filter(None, tqdm(texts, total=len(paths), unit="shard", disable=None)):
            is_measured = True
            yield _from_text(text)
        if not is_measured:
            raise InputError(f"{family_path(family, data_dir)}: none of the networks of {family} has an accuracy")
        return
    cuts, networks = job.of("cuts"), tqdm(load_measured(family, data_dir), unit="network", disable=None)
    cut = ((graph, acc, cuts.get(partial(segment_with_text, graph, *vocabulary))) for graph, acc in networks)
    yield build_cache(family, cut)


def _cut_shard(vocabulary: Vocabulary, family: str, path: Path) -> str:
    """The splits of a shard's networks, as JSON text: the same from every process; empty if none has an accuracy."""
    networks = ((network.graph, network.accuracy) for network in iter_shards([path]))
    cut = ((graph, acc, segment_with_text(graph, *vocabulary)) for graph, acc in networks if acc is not None)
    cache = build_cache(family, cut)
    return json.dumps(cache.content(), default=lambda numbers: b64encode(numbers).decode()) if cache.networks else ""


def _from_text(text: str) -> PscCache:
    content = json.loads(text)
    content["networks"] = [
        (name, accuracy, tuple(shape), normalisers, *map(b64decode, numbers))
        for name, accuracy, shape, normalisers, *numbers in content["networks"]
    ]
    return cache_of(content)
