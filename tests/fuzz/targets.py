"""The loaders: well-formed files of each as data, and what must hold of what is accepted."""

import copyreg
import gzip
import json
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import constants
from model_src.comp_graph.load import load_cg, load_network
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode
from tests.comp_graph.twins import everything
from tests.fuzz.judge import judge
from tests.fuzz.mutations import places

CONFIG = constants.ROOT / "cache_sentence_piece" / "h+i+n15+n2+t"
FOREIGN = ("pb", "keras", "h5")  # they need TensorFlow


@dataclass(frozen=True)
class Target:
    """A loader.

    Attributes:
        suffix: Of the name of its files.
        trees: Well-formed files as dictionaries, lists and plain values.
        write: Such data as a file.
        load: Read a file and look at all of it; what it gives is judged.
        judge: Raises an AssertionError unless it is sound.
        share: How many of the cases of a run are its, beside the others.
        takes_graphs: Whether a network's state is one of its trees.
    """

    suffix: str
    trees: Callable[[], list[Any]]
    write: Callable[[Any], bytes]
    load: Callable[[Path], Any]
    judge: Callable[[Any], object] = bool
    share: int = 4
    takes_graphs: bool = False

    @property
    def seeds(self) -> list[tuple[Any, list[tuple], bytes]]:
        """The trees, the ways to their fields, and the files."""
        return _seeds(self)


@cache
def _seeds(target: Target) -> list[tuple[Any, list[tuple], bytes]]:
    return [(tree, places(tree), target.write(tree)) for tree in target.trees()]


def plain(value: Any) -> Any:
    """Data with lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def as_gzip(tree: Any) -> bytes:
    return gzip.compress(as_json(tree), 1, mtime=0)


# ---- graphs ----


@cache
def graph_trees() -> list[Any]:
    """States of three networks: small, of many operations, published."""
    from tests.fuzz.small import small, with_new_operations

    return [plain(graph.state_dict()) for graph in (small(), everything(), with_new_operations())]


class _Pickler(pickle.Pickler):
    """Writes what `filled` made as objects that are made without a call and given a state."""

    def reducer_override(self, value: Any) -> Any:
        state = getattr(value, "__dict__", {}).get("_state", NotImplemented)
        return state if state is NotImplemented else (copyreg.__newobj__, (type(value),), state)


def as_pickle(tree: Any) -> bytes:
    file = BytesIO()
    _Pickler(file, 4).dump(tree)
    return file.getvalue()


def filled(kind: type, state: Any) -> Any:
    """An object that pickles as one of a class with any state."""
    value = object.__new__(kind)
    value.__dict__["_state"] = state
    return value


def graph_object(state: Any) -> Any:
    """A graph's state as the object that pickles to it."""
    state = dict(state)
    for name, kind in (("regular_nodes", RegularNode), ("weighted_nodes", WeightedNode)):
        with suppress(KeyError, TypeError):
            state[name] = [filled(kind, one) for one in state[name]]
    return filled(ComputeGraph, state)


# ---- families, databases, splits ----


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


def _families() -> dict[str, Target]:
    from model_src.family_data.caches import iter_list_cache, iter_state_cache

    return {
        "family_json": Target(".json", family_trees, as_json, all_of(iter_state_cache), judge_all),
        "family_pickle": Target(".pkl", list_trees, as_list_cache, all_of(iter_list_cache), judge_all),
    }


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


# ---- text, tables ----


def as_table(tree: Any) -> bytes:
    return "\n".join(",".join(str(cell) for cell in row) for row in tree).encode("utf-8", "surrogatepass")


def as_raw(tree: Any) -> bytes:
    return tree["content"]


def labels_trees() -> list[Any]:
    from model_src.labels.table import MEASURED_COLUMNS

    row = ["a1", "b1", "0.9", "train", "5", "0", "0.3", "100", "32", "1.5", "cpu", "", "published", "0.8"]
    return [[["config_hash", "acc"], ["a", "91.5"], ["b", "90"]], [list(MEASURED_COLUMNS), row]]


def load_labels(path: Path) -> Any:
    from model_src.labels.table import read_label_table

    return read_label_table(path)


def judge_labels(found: dict[str, float]) -> None:
    assert all(0 <= value <= 1 for value in found.values())


def measured_trees() -> list[Any]:
    return [[["hash", "measured", "swaps"], ["a", "91.5", "2"], ["b", "", "0"]]]


def load_measured(path: Path) -> Any:
    from model_src.search.measuring import read_measured

    return {one.identity: one.accuracy for one in read_measured(path)}


def load_encoder(path: Path) -> Any:
    from model_src.encoder.network_encoder import NetworkEncoder

    return NetworkEncoder.load(path).encode_graph(everything())


def encoder_trees() -> list[Any]:
    return [
        {"families": ["nb201"], "encoding": "shp", "op2vocab": {"conv2d,3,in,,out,,": "\u4e00"}, "pool": "\u4e00\u4e01"}
    ]


def load_tokenizer(path: Path) -> Any:
    from model_src.encoder.tokenizer import Tokenizer

    return Tokenizer.load(path).segmenter


def tokenizer_trees() -> list[Any]:
    (path,) = (CONFIG / "models").glob("*shp.model")
    return [{"content": path.read_bytes()}]


def load_known(path: Path) -> Any:
    from model_src.encoder.known_pieces import KnownPieces

    return KnownPieces.load(path)


def known_trees() -> list[Any]:
    return [{"content": b"vocabulary\tabc\nconv2d\t\xe4\xb8\x80\trelu\n"}]


def load_calibration(path: Path) -> Any:
    from model_src.predictor.calibration import Calibration

    return Calibration.load(path)


def calibration_trees() -> list[Any]:
    return [{"deviation": {"all": {"floor": 0.1, "factor": 1.5}, "nb201": {"floor": 0, "factor": 1}}}]


# ---- folders of searches ----


def load_flags(path: Path) -> Any:
    from model_src.search.result_folder import ResultFolder

    return ResultFolder.load_params(path)


def as_flags(tree: Any) -> bytes:
    return as_pickle(filled(Namespace, tree))


def flags_trees() -> list[Any]:
    return [{"epoch": 3, "model_path": "a.pkl", "export": ["onnx"], "seed": 0, "device_str": None, "no_drawings": True}]


def load_front(path: Path) -> Any:
    from model_src.search.result_folder import ResultFolder
    from model_src.search.stored import stored_networks

    return stored_networks(ResultFolder(path.parent))


def front_trees() -> list[Any]:
    return [
        [
            ["rank", "iteration", "hash", "score", "mflops", "file"],
            ["input", "0", "ab", "0.5", "10", ""],
            ["0", "2", "cd", "0.6", "8", "rank_0.pkl"],
        ]
    ]


# ---- weights, checkpoints ----


def as_safetensors(tree: Any) -> bytes:
    header = json.dumps(tree["header"]).encode()
    return len(header).to_bytes(8, "little") + header + tree["content"]


def weights_trees() -> list[Any]:
    from model_src.comp_graph.weights import WeightedGraph, save_state
    from tests.fuzz.small import small, state_of

    with TemporaryDirectory() as folder:
        save_state(state_of(small()), Path(folder) / "a.pkl")
        content = (Path(folder) / "a.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    assert WeightedGraph
    return [{"header": json.loads(content[8:end]), "content": content[end:]}]


def load_weights(path: Path) -> Any:
    from tests.fuzz.small import small

    graph = path.with_suffix(".json")
    graph.write_bytes(as_json(plain(small().state_dict())))
    return load_network(graph)


def judge_weights(found: Any) -> None:
    import torch

    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network

    state = {name: torch.from_numpy(value) for name, value in found.state().items()}
    build_torch_network(found.graph, 0).load_state_dict(state, strict=False)


def checkpoint_trees() -> list[Any]:
    import torch

    from model_src.predictor.checkpoint import Checkpoint
    from model_src.predictor.models import build_model
    from model_src.predictor.settings import ModelConfig

    config = ModelConfig(in_channels=20, hidden_size=4, out_channels=4, num_layers=2)
    torch.manual_seed(0)
    weights = build_model("PSC_predictor", config).state_dict()
    made = Checkpoint(
        3, dict(weights), {}, 0.5, 2, "PSC_predictor", vars(config), {"nb201": (0.9, 0.1)}, "srcc", {}, {}
    )
    return [plain(vars(made))]


def as_checkpoint(tree: Any) -> bytes:
    import torch

    file = BytesIO()
    torch.save(tree, file)
    return file.getvalue()


def load_checkpoint(path: Path) -> Any:
    from model_src.predictor.checkpoint import load_checkpoint

    return load_checkpoint(path)


def judge_checkpoint(found: Any) -> None:
    import torch

    assert all(torch.isfinite(value).all() for value in found.build().state_dict().values())


# ---- foreign formats ----


def as_keras(tree: Any) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, as_json(tree[name]))
        archive.writestr("model.weights.h5", tree["weights"])
    return file.getvalue()


def _foreign() -> dict[str, Target]:
    from tests.fuzz import foreign

    graph: dict[str, Any] = {"load": load_cg, "judge": judge}
    return {
        "onnx": Target(".onnx", foreign.onnx_trees, foreign.as_onnx, **graph),
        "pb": Target(".pb", foreign.pb_trees, foreign.as_pb, **graph, share=1),
        "keras": Target(".keras", foreign.keras_trees, as_keras, **graph, share=1),
        "h5": Target(".h5", foreign.h5_trees, as_raw, **graph, share=1),
    }


def targets() -> dict[str, Target]:
    """All of them, by name."""
    graph: dict[str, Any] = {"load": load_cg, "judge": judge, "share": 12, "takes_graphs": True}
    return {
        "graph_json": Target(".json", graph_trees, as_json, **graph),
        "graph_json_gz": Target(".json.gz", graph_trees, as_gzip, **{**graph, "share": 3}),
        "graph_pickle": Target(".pkl", graph_trees, lambda state: as_pickle(graph_object(state)), **graph),
        **_families(),
        "database": Target(".pkl", database_trees, as_database, load_database, judge_database),
        "splits": Target(".pkl", splits_trees, as_splits, load_splits, judge_splits),
        "encoder": Target(".pkl", encoder_trees, as_pickle, load_encoder),
        "tokenizer": Target(".model", tokenizer_trees, as_raw, load_tokenizer, share=2),
        "known_pieces": Target(".txt", known_trees, as_raw, load_known, share=1),
        "calibration": Target(".json", calibration_trees, as_json, load_calibration, share=1),
        "labels": Target(".csv", labels_trees, as_table, load_labels, judge_labels, share=2),
        "measured": Target(".csv", measured_trees, as_table, load_measured, judge_labels, share=2),
        "flags": Target(".pkl", flags_trees, as_flags, load_flags, share=2),
        "front": Target("pareto.csv", front_trees, as_table, load_front, share=2),
        "weights": Target(".safetensors", weights_trees, as_safetensors, load_weights, judge_weights),
        "checkpoint": Target(".pt", checkpoint_trees, as_checkpoint, load_checkpoint, judge_checkpoint),
        **_foreign(),
    }
