"""Well-formed files of other frameworks as data, and such data as files."""

import json
import tempfile
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from model_src.comp_graph.load import load_cg, load_part
from tests.fuzz.judge import judge
from tests.fuzz.small import small
from tests.fuzz.target import Target, as_json, as_raw

NAMES = ("pb", "pb_part", "saved", "keras", "h5")  # they need TensorFlow


def as_onnx(tree: Any) -> bytes:
    import onnx

    return ParseDict(tree, onnx.ModelProto()).SerializeToString()


@cache
def onnx_trees() -> list[Any]:
    """A network as we write it, and one with shapes that are worked out, a function, and constants."""
    from onnx import helper, parser

    from model_src.comp_graph.exporters.onnx import to_onnx
    from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network

    ours = to_onnx(small(), build_torch_network(small(), 0).eval())
    text = """
        <ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        net (float[1, 3, 8, 8] x) => (float[1, n] y) <float[4, 3, 3, 3] w = {WEIGHTS}> {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            b = own.twice (a)
            shape = Shape (b)
            two = Constant <value = int64[2] {0, 1}> ()
            first = Gather (shape, two)
            one = Constant <value = int64[2] {1, 1}> ()
            target = Concat <axis = 0> (first, one)
            c = GlobalAveragePool (b)
            d = Reshape (c, target)
            y = Flatten (d)
        }
        <opset_import: ["" : 17], domain: "own">
        twice (z) => (r) { s = Relu (z)  r = Add (s, z) }
    """.replace("WEIGHTS", ", ".join(["0.1", "-0.2", "0.3"] * 36))
    assert helper
    return [MessageToDict(model) for model in (ours, parser.parse_model(text))]


def as_pb(tree: Any) -> bytes:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    return ParseDict(tree, GraphDef()).SerializeToString()


@cache
def pb_trees() -> list[Any]:
    from model_src.comp_graph.importers.tensorflow.graph_def import freeze
    from tests.comp_graph.importers.keras_models import small as model

    network = model()
    return [MessageToDict(freeze(lambda images: network(images, training=False), (16, 16, 3)))]


def pb_part_trees() -> list[Any]:
    """A part with heads behind it that no graph can hold."""
    import tensorflow as tf

    from tests.comp_graph.importers.test_tensorflow_output_node import frozen, heads

    with tempfile.TemporaryDirectory() as folder:
        content = frozen(Path(folder) / "a.pb", heads).read_bytes()
    return [MessageToDict(tf.compat.v1.GraphDef.FromString(content))]


def part(path: Path) -> Any:
    (graph, _), rest = load_part(path, "features")
    assert rest.model.graph.output
    return graph


@cache
def _saved_files() -> dict[str, bytes]:
    """A folder with variables, by the names of its files."""
    from tests.comp_graph.importers.keras_models import small as model

    with tempfile.TemporaryDirectory() as folder:
        model().export(folder, verbose=False)
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def as_saved(tree: Any) -> bytes:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return ParseDict(tree, SavedModel()).SerializeToString()


def saved_trees() -> list[Any]:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return [MessageToDict(SavedModel.FromString(_saved_files()["saved_model.pb"]))]


def load_saved(path: Path) -> Any:
    """The model in a folder with its variables."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {**_saved_files(), "saved_model.pb": path.read_bytes()}.items():
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        return load_cg(folder, 16, 16, 3)


@cache
def _keras_file(suffix: str) -> bytes:
    from tests.comp_graph.importers.keras_models import small as model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        model().save(path)
        return path.read_bytes()


def as_keras(tree: Any) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, as_json(tree[name]))
        archive.writestr("model.weights.h5", tree["weights"])
    return file.getvalue()


def keras_trees() -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.keras"
        path.write_bytes(_keras_file(".keras"))
        with zipfile.ZipFile(path) as archive:
            parts = {name: json.loads(archive.read(name)) for name in ("metadata.json", "config.json")}
            return [{**parts, "weights": archive.read("model.weights.h5")}]


def h5_trees() -> list[Any]:
    return [{"content": _keras_file(".h5")}]


def targets() -> dict[str, Target]:
    graph: dict[str, Any] = {"load": load_cg, "judge": judge}
    return {
        "onnx": Target(".onnx", onnx_trees, as_onnx, **graph),
        "pb": Target(".pb", pb_trees, as_pb, **graph, share=1),
        "pb_part": Target(".pb", pb_part_trees, as_pb, part, judge, share=1),
        "saved": Target(".pb", saved_trees, as_saved, load_saved, judge, share=1),
        "keras": Target(".keras", keras_trees, as_keras, **graph, share=1),
        "h5": Target(".h5", h5_trees, as_raw, **graph, share=1),
    }
