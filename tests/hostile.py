"""Files that were made to break whoever reads them; each is small, or as large as it has to be."""

import gzip
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.fuzz.network_files import graph_object
from tests.fuzz.predictor_files import as_checkpoint, checkpoint_trees
from tests.fuzz.small import small
from tests.fuzz.target import as_json, plain
from tests.fuzz.target import as_pickle as dumped

PROTO, STOP = b"\x80\x04", b"."


def state(**more: Any) -> dict[str, Any]:
    return {**plain(small().state_dict()), **more}


def as_key(content: bytes) -> bytes:
    """A pickle of a dictionary with such a key."""
    return PROTO + b"}" + content + b"Ns" + STOP


def doubled(levels: int, make: bytes = b"\x86") -> bytes:
    """A pair of twice the same pair of twice the same pair ..."""
    return b"K\x01" + b"".join(b"2" + make for _ in range(levels))


def laugh(levels: int = 40) -> Any:
    value: Any = [1, 1]
    for _ in range(levels):
        value = [value, value]
    return value


def pickles() -> Iterator[tuple[str, bytes]]:
    yield "deep_key.pkl", as_key(b")" + b"\x85" * 3_000_000)
    yield "wide_key.pkl", as_key(doubled(60))
    yield "wide_set.pkl", PROTO + b"\x8f(" + doubled(60) + b"\x90" + STOP
    yield "frame.pkl", PROTO + b"\x95" + b"\xff" * 7 + b"\x7fN."
    yield "bytes.pkl", PROTO + b"\x8e" + b"\xff" * 7 + b"\x7fN."
    yield "persid.pkl", b"Pa\nb\n."
    yield "digits.pkl", b"I" + b"9" * 5000 + b"\n."
    yield "long.pkl", PROTO + b"\x8b" + (1 << 20).to_bytes(4, "little") + b"\x7f" * (1 << 20) + STOP
    yield "grows.pkl", PROTO + b"]\x94" + b"h\x00a" * 40 + STOP
    graph = b"cmodel_src.comp_graph.tf_comp_graph\nComputeGraph\n"
    yield "unfilled.pkl", PROTO + graph + b")\x81" + STOP
    yield "called.pkl", PROTO + graph + b"(N" + b"N" * 8 + b"tR" + STOP
    for field in ("name", "input_shape", "edge_pairs", "max_hidden_size"):
        yield f"laugh_{field}.pkl", dumped(graph_object(state(**{field: laugh()})))
    for field in ("str_id", "label", "resolution", "strides", "metadata", "shape"):
        node = {**state()["weighted_nodes"][0], field: laugh()}
        yield f"laugh_node_{field}.pkl", dumped(graph_object(state(weighted_nodes=[node])))


def texts() -> Iterator[tuple[str, bytes]]:
    yield "deep.json", b"[" * 100_000
    yield "digits.json", b'{"name": ' + b"9" * 5000 + b"}"
    yield "infinite.json", as_json(state(edge_pairs=[[1e999, 0]]))
    yield "infinite_size.json", as_json(state(max_hidden_size=1e999))
    yield "name.json", as_json(state(name="a" * 10_000_000))
    yield "moves_the_cursor.json", as_json(state(name="\x1b[2J\nall is well"))
    yield "surrogate.json", as_json(state(name="\ud800"))
    yield "bomb.json.gz", gzip.compress(b"[" + b" " * (1 << 26), 6)
    yield "cut.json.gz", gzip.compress(as_json(state()))[:-9]


def onnx_model(nodes: list[Any], initialisers: Any = (), functions: Any = (), opsets: Any = ()) -> bytes:
    """A convolution of an image, behind such operations."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    conv = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([*nodes, conv], "g", [image], [output], [weight, *initialisers])
    imports = [helper.make_opsetid("", 17), *opsets]
    return helper.make_model(graph, functions=functions, opset_imports=imports).SerializeToString()


def _twice(number: int, called: tuple[str, str], opsets: Any) -> Any:
    """A local function that calls another one twice."""
    from onnx import helper

    calls = [helper.make_node(called[1], [a], [b], domain=called[0]) for a, b in (("a", "t"), ("t", "b"))]
    return helper.make_function("own", f"f{number}", ["a"], ["b"], calls, opsets)


def onnx_files() -> Iterator[tuple[str, bytes]]:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    one = numpy_helper.from_array(np.ones(2, np.float32), "c0")
    chain = [helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(45)]
    yield "concat.onnx", onnx_model(chain, [one])
    value, steps = helper.make_tensor_value_info, (("Identity", ["go"], ["on"]), ("Identity", ["a"], ["b"]))
    body = helper.make_graph(
        [helper.make_node(*step) for step in steps],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("a", TensorProto.FLOAT, [2])],
        [value("on", TensorProto.BOOL, []), value("b", TensorProto.FLOAT, [2])],
    )
    trips = numpy_helper.from_array(np.array(1 << 62), "trips")
    loop = helper.make_node("Loop", ["trips", "", "c0"], ["r"], body=body)
    yield "loop.onnx", onnx_model([loop], [one, trips])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [_twice(i, ("own", f"f{i + 1}") if i < 31 else ("", "Neg"), opsets) for i in range(32)]
    call = helper.make_node("f0", ["c0"], ["r"], domain="own")
    yield "functions.onnx", onnx_model([call], [one], functions, opsets[1:])
    yield "recursion.onnx", onnx_model([call], [one], [_twice(0, ("own", "f0"), opsets)], opsets[1:])
    for kind in (0, 99, 8):
        odd = TensorProto(name="odd", data_type=kind, dims=[1], raw_data=b"\x00" * 4)
        yield f"type_{kind}.onnx", onnx_model([helper.make_node("Neg", ["odd"], ["r"])], [odd])
    size = TensorProto(name="odd", data_type=1, dims=[1 << 40, 1 << 40], raw_data=b"")
    yield "dims.onnx", onnx_model([], [size])
    big = numpy_helper.from_array(np.array([1 << 40]), "size")
    yield "fill.onnx", onnx_model([helper.make_node("ConstantOfShape", ["size"], ["r"])], [big])
    yield "random.onnx", onnx_model([helper.make_node("RandomNormal", [], ["r"], shape=[1 << 40])])
    elsewhere = TensorProto(name="odd", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "pipe"), ("length", "8")):
        elsewhere.external_data.add(key=key, value=value)
    yield "external.onnx", onnx_model([], [elsewhere])


def checkpoints() -> Iterator[tuple[str, bytes]]:
    import torch

    (tree,) = checkpoint_trees()
    changes: dict[str, dict[str, Any]] = {
        "dropout": {"config": {**tree["config"], "dropout_prob": -1}},
        "layers": {"config": {**tree["config"], "num_layers": 10**9}},
        "channels": {"config": {**tree["config"], "out_channels": 0}},
        "hidden": {"config": {**tree["config"], "hidden_size": 10**400}},
        "activation": {"config": {**tree["config"], "gnn_activ": ["tanh"]}},
        "no_scales": {"target_normalisers": None},
        "text_scales": {"target_normalisers": "nb201"},
        "epoch": {"iteration": 10**400},
        "best": {"best_eval_result": float("inf")},
        "selection": {"selection": "luck"},
        "nan": {"model": {**tree["model"], "regressor.bias": torch.full((1,), torch.nan)}},
        "expanded": {"model": {**tree["model"], "regressor.bias": torch.zeros(1).expand(1 << 40)}},
        "wide": {
            "model": {**tree["model"], "odd": torch.zeros(100_000)},
            "config": {**tree["config"], "hidden_size": 99_999},
        },
    }  # fmt: skip
    for name, change in changes.items():
        yield f"{name}.pt", as_checkpoint({**tree, **change})
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive, zipfile.ZipFile(BytesIO(as_checkpoint(tree))) as sound:
        for entry in sound.infolist():
            bad = as_key(b")" + b"\x85" * 300_000)
            archive.writestr(entry.filename, bad if entry.filename.endswith("data.pkl") else sound.read(entry))
    yield "deep_key.pt", file.getvalue()


def special(folder: Path) -> Iterator[Path]:
    """A pipe, a device and a folder in the place of every kind of file."""
    for suffix in (".pkl", ".json", ".json.gz", ".onnx", ".h5", ".keras", ".pb", ".csv", ".pt", ".model"):
        pipe = folder / f"pipe{suffix}"
        os.mkfifo(pipe)
        yield pipe
        device = folder / f"device{suffix}"
        device.symlink_to("/dev/zero")
        yield device
        if suffix in (".csv", ".pt", ".model"):
            inside = folder / f"folder{suffix}"
            inside.mkdir()
            yield inside


def loaders() -> dict[str, Callable[[Path], Any]]:
    from model_src.comp_graph.load import load_cg
    from model_src.encoder.tokenizer import Tokenizer
    from model_src.labels.table import read_rows
    from model_src.predictor.checkpoint import load_checkpoint

    return {".csv": read_rows, ".pt": load_checkpoint, ".model": Tokenizer.load, "": load_cg}


def pickle_loaders() -> list[Callable[[Path], Any]]:
    """Whoever else reads pickles."""
    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.segment_db import SegmentDatabase
    from model_src.family_data.caches import iter_list_cache
    from model_src.predictor.data.psc_cache import load_cache
    from model_src.search.result_folder import ResultFolder

    def family(path: Path) -> Any:
        return list(iter_list_cache(path))

    return [NetworkEncoder.load, SegmentDatabase.open, family, load_cache, ResultFolder.load_params]


def write_all(folder: Path) -> list[Path]:
    """Make the files; they are read by `read_all`."""
    made = [*pickles(), *texts(), *onnx_files(), *checkpoints()]
    paths = [folder / name for name, _ in made]
    for path, (_, content) in zip(paths, made, strict=True):
        path.write_bytes(content)
    os.mkfifo(folder / "pipe")
    return [*paths, *special(folder)]


def read_all(paths: list[Path]) -> list[dict[str, Any]]:
    """What became of each file, and its cost: seconds of the processor, bytes of memory."""
    import resource
    import time

    from model_src.files import InputError

    kinds, rows = loaders(), []
    for path in paths:
        own = next(load for suffix, load in kinds.items() if path.name.endswith(suffix))
        for load in [own, *(pickle_loaders() if path.name.startswith("laugh") else [])]:
            begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                load(path)
                result = "accepted"
            except InputError as error:
                result = str(error)
            except BaseException as error:
                result = f"{type(error).__name__}: {str(error)[:200]}"
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            row = {"file": path.name, "result": result, "seconds": time.process_time() - begin, "bytes": grown}
            rows.append({**row, "loader": getattr(load, "__qualname__", "")})
    return rows


if __name__ == "__main__":
    import sys

    sys.stdout.write(json.dumps(read_all([Path(name) for name in json.loads(sys.stdin.read())])))
    assert pickle
