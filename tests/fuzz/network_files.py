"""Graphs, families, databases and splits: well-formed files as data, their loaders, what must hold."""

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode
from model_src.family_data.shards import KINDS
from tests.comp_graph.twins import everything
from tests.fuzz.judge import judge
from tests.fuzz.target import Target, as_gzip, as_json, as_pickle, filled, plain


@cache
def graph_trees() -> list[Any]:
    """States of three networks: small, of many operations, published."""
    from tests.fuzz.small import small, with_new_operations

    return [plain(graph.state_dict()) for graph in (small(), everything(), with_new_operations())]


def graph_object(state: Any) -> Any:
    """A graph's state as the object that pickles to it."""
    state = dict(state)
    for name, kind in (("regular_nodes", RegularNode), ("weighted_nodes", WeightedNode)):
        with suppress(KeyError, TypeError):
            state[name] = [filled(kind, one) for one in state[name]]
    return filled(ComputeGraph, state)


def family_trees() -> list[Any]:
    entries = [
        {
            "cg": {**state, "name": str(number)},
            "max_perf": 91.5,
            "flops": 2000000,
            "n_params": 10,
            "original config": [1],
        }
        for number, state in enumerate(graph_trees()[:2])
    ]
    return [{entry["cg"]["name"]: entry for entry in entries}]


def list_trees() -> list[Any]:
    return [
        [
            {"compute graph": state, "acc": 0.9, "flops": 2.0, "n_params": 10, "original config": None}
            for state in graph_trees()[:2]
        ]
    ]


def as_list_cache(tree: Any) -> bytes:
    return as_pickle([{**entry, "compute graph": graph_object(entry["compute graph"])} for entry in tree])


def all_of(read: Callable[[Path], Iterator[Any]]) -> Callable[[Path], list[ComputeGraph]]:
    return lambda path: [network.graph for network in read(path)]


def judge_all(graphs: list[ComputeGraph]) -> None:
    for graph in graphs[:3]:
        judge(graph)


def shard_trees() -> list[Any]:
    entries = [(str(number), 0.9, 2.0, 10, None, state) for number, state in enumerate(graph_trees()[:2])]
    return [[dict(zip(KINDS, entry, strict=True)) for entry in entries]]


def as_shard(tree: Any) -> bytes:
    """Rows as an Arrow file; what a type cannot hold is left out."""
    import pyarrow as arrow

    schema = arrow.schema(list(KINDS.items()))
    rows = [{**row, **{name: json.dumps(row.get(name)) for name in ("config", "graph")}} for row in tree]
    try:
        table = arrow.Table.from_pylist(rows, schema)
    except (arrow.ArrowException, OverflowError):
        table = arrow.Table.from_pylist([{name: row[name] for name in ("config", "graph")} for row in rows], schema)
    file = BytesIO()
    with arrow.ipc.new_file(file, schema, options=arrow.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return file.getvalue()


def load_shard(path: Path) -> list[ComputeGraph]:
    from model_src.family_data.shards import iter_shards

    return [network.graph for network in iter_shards([path])]


def database_trees() -> list[Any]:
    from model_src.comp_graph.segment import cut_segment
    from model_src.encoder.segment_db import FORMAT, RowTable

    table, graph = RowTable(), ComputeGraph.from_state_dict(graph_trees()[0])
    rows = [table.row(cut_segment(graph, indices, "\u4e00\u4e01")) for indices in ([1, 2], [0], [2, 3])]
    nodes = [node.state_dict() for node in table.nodes]
    return [plain({"format": FORMAT, "normalisers": graph.normalisers, "nodes": nodes, "rows": rows})]


def as_database(tree: Any) -> bytes:
    return as_pickle({**tree, "rows": [tupled(row) for row in tree["rows"]]})


def tupled(value: Any) -> Any:
    return tuple(map(tupled, value)) if isinstance(value, list) else value


def load_database(path: Path) -> Any:
    from model_src.encoder.segment_db import SegmentDatabase

    database = SegmentDatabase.open(path)
    assert database.segments is not None  # they are looked at when they are asked for
    return database


def judge_database(database: Any) -> None:
    from model_src.comp_graph.graph_ops import canonical_hash

    for segment in database.segments[:20]:
        canonical_hash(segment.graph)
        assert database.by_arity(len(segment.inputs), len(segment.outputs))


def splits_trees() -> list[Any]:
    from model_src.predictor.data.psc_cache import build_cache

    graph = ComputeGraph.from_state_dict(graph_trees()[0])
    from model_src.comp_graph.graph_ops import topological_order

    order = topological_order(graph)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.pkl"
        build_cache("nb201", [(graph, 0.9, [("\u4e00", order[:1]), ("\u4e01\u4e02", order[1:])])]).save(path)
        return [plain(pickle.loads(path.read_bytes()))]


def as_splits(tree: Any) -> bytes:
    networks = [(*network[:2], tupled(network[2]), *network[3:]) for network in tree["networks"]]
    return as_pickle({**tree, "networks": networks})


def load_splits(path: Path) -> Any:
    from model_src.predictor.data.examples import split_examples
    from model_src.predictor.data.psc_cache import load_cache

    cache = load_cache(path)
    return cache, split_examples([cache], 6)


def judge_splits(found: Any) -> None:
    for network in found[0].networks:
        network.graph(found[0].table)


def targets() -> dict[str, Target]:
    from model_src.family_data.caches import iter_list_cache, iter_state_cache

    graph: dict[str, Any] = {"load": load_cg, "judge": judge, "share": 12, "takes_graphs": True}
    return {
        "graph_json": Target(".json", graph_trees, as_json, **graph),
        "graph_json_gz": Target(".json.gz", graph_trees, as_gzip, **{**graph, "share": 3}),
        "graph_pickle": Target(".pkl", graph_trees, lambda state: as_pickle(graph_object(state)), **graph),
        "family_json": Target(".json", family_trees, as_json, all_of(iter_state_cache), judge_all),
        "family_pickle": Target(".pkl", list_trees, as_list_cache, all_of(iter_list_cache), judge_all),
        "shard": Target(".arrow", shard_trees, as_shard, load_shard, judge_all),
        "database": Target(".pkl", database_trees, as_database, load_database, judge_database),
        "splits": Target(".pkl", splits_trees, as_splits, load_splits, judge_splits),
    }
