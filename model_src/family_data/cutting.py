"""Segments of families for a database: a cache file is cut here, every shard in a task of its own."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.segment_db import SegmentDatabase
from model_src.encoder.segment_map import SegmentMap, add_networks
from model_src.encoder.tokenizer import Tokenizer
from model_src.family_data.reading import iter_graphs, sharded
from model_src.family_data.shards import iter_shards, shard_paths
from model_src.kept import KeptJob
from model_src.processes import Task, TaskPool

Vocabulary = tuple[NetworkEncoder, Tokenizer]


def database_of(
    families: Iterable[str], data_dir: Path, vocabulary: Vocabulary, job: KeptJob, pool: TaskPool
) -> SegmentDatabase:
    """Cut the networks of families, one family after the other, into the segments of a database.

    Args:
        families: Their names.
        data_dir: Folder of their caches and shards.
        vocabulary: Encoder and tokenizer.
        job: Where what was cut is kept.
        pool: Cuts shards; what its tasks share is the vocabulary.

    Raises:
        InputError: See `reading.iter_family`.
    """
    segments = SegmentMap()
    for family in families:
        if folder := sharded(family, data_dir):
            paths = [path.resolve() for path in shard_paths(folder)]
            results = job.of(f"shards {family}").through(paths, lambda rest: pool.in_order(map(_task, rest)))
            for found in tqdm(results, family, len(paths), unit="shard"):
                for segment in map(_from_json, json.loads(found)):
                    segments.add_segment(segment)
        else:
            add_networks(segments, iter_graphs([family], data_dir), *vocabulary, job.of("cuts"))
    return segments.database()


def _task(path: Path) -> Task:
    return Task(f"segments of {path.name}", _cut_shard, (path,))


def _cut_shard(vocabulary: Vocabulary, path: Path) -> str:
    """The distinct segments of a shard in order of appearance, as JSON text: the same from every process."""
    graphs: Iterator[ComputeGraph] = (network.graph for network in iter_shards([path]))
    return json.dumps([_as_json(segment) for segment in add_networks(SegmentMap(), graphs, *vocabulary)])


def _as_json(segment: Segment) -> list[object]:
    state = segment.graph.state_dict()
    return [state, segment.inputs, segment.input_shapes, segment.outputs, segment.text]


def _from_json(content: list[Any]) -> Segment:
    state, inputs, shapes, outputs, text = content
    return Segment(ComputeGraph.from_state_dict(state), _tuples(inputs), _tuples(shapes), _tuples(outputs), text)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
