"""Keras file or SavedModel folder -> computation graph. No model is run, and no weight of a SavedModel is read."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.importers.options import given_size
from model_src.comp_graph.importers.tensorflow.frozen import from_graph_def, from_keras, part_feeding
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, naming
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

SIGNATURE = "serving_default"
_BORDER = re.compile(r"Func/.*/(input|output)/_\d+")


def load_keras(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
) -> ComputeGraph:
    """Read a `.keras` file; the graph is named after it. Arguments as for `frozen.load_pb`.

    Raises:
        InputError: The file is missing, damaged, has layers that are not Keras' own, or its graph cannot be read.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: {'not a Keras file, or cut short' if path.is_file() else 'No such file'}")
    try:
        import_tensorflow()
        import keras

        # Keras' safe mode refuses what would run code: lambdas and classes of other packages.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        return from_keras(model, size, path.stem, normalisers)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error


def load_saved_model(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
) -> ComputeGraph:
    """Read the signature `serving_default` of a SavedModel folder; arguments as for `frozen.load_pb`.

    Raises:
        InputError: The folder holds no SavedModel with that signature, or its graph cannot be read.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    if not (path / "saved_model.pb").is_file():
        raise InputError(f"{path}: holds no saved_model.pb")
    with naming(path):
        return from_graph_def(_signature_graph(path), path.name, size, normalisers)


def _signature_graph(folder: Path) -> "tf.compat.v1.GraphDef":
    """The signature's graph in one piece, from its input to its output."""
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise ValueError("saved_model.pb is no SavedModel, or cut short") from error
    graphs = [graph for graph in saved.meta_graphs if SIGNATURE in graph.signature_def]
    if not graphs:
        raise ValueError(f"no signature {SIGNATURE!r}")
    signature = graphs[0].signature_def[SIGNATURE]
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        if len(tensors) != 1:
            raise ValueError(f"expected one {kind}, found {', '.join(map(repr, sorted(tensors))) or 'none'}")
    (output,) = (tensor.name.split(":")[0] for tensor in signature.outputs.values())
    return part_feeding(_without_call_borders(_inlined(graphs[0], output), output), "output")


def _inlined(graph: "MetaGraphDef", output: str) -> "tf.compat.v1.GraphDef":
    """The graph with function bodies in the place of their calls."""
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.framework.errors_impl import OpError
    from tensorflow.python.grappler import tf_optimizer

    task = meta_graph_pb2.MetaGraphDef(graph_def=graph.graph_def)
    task.collection_def["train_op"].node_list.value.append(output)  # what grappler must keep
    config = config_pb2.ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.optimizers.append("function")
    rewrite.min_graph_nodes = -1
    rewrite.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    try:
        return tf_optimizer.OptimizeGraph(config, task)
    except OpError as error:
        raise ValueError(f"TensorFlow does not accept the graph: {' '.join(str(error).split())}") from error


def _without_call_borders(graph: "tf.compat.v1.GraphDef", output: str) -> "tf.compat.v1.GraphDef":
    """The graph without the identities that inlining leaves around a function, and with one called `output` at the end.

    They are `Func/{call}/input/_{n}` and `.../output/_{n}`, the identities that the latter read (what the function
    returned), and an IdentityN in the place of a call.
    """
    nodes = {node.name: node for node in graph.node}
    borders = {
        node.name: node.input[0] for node in graph.node if _BORDER.fullmatch(node.name) and node.op == "Identity"
    }
    returned = [source for name, source in borders.items() if "/output/_" in name]
    borders |= {name: nodes[name].input[0] for name in returned if name in nodes and nodes[name].op == "Identity"}
    if nodes[output].op == "IdentityN":
        borders[output] = nodes[output].input[0]

    def origin(name: str) -> str:
        while name in borders:
            name = borders[name].removesuffix(":0")
        return name

    result = type(graph)(versions=graph.versions)
    for node in graph.node:
        if node.name not in borders:
            data = [origin(name) for name in node.input if not name.startswith("^")]
            del node.input[:]
            node.input.extend(data)
            node.attr.pop("_class", None)  # where it should run: beside a node that may be gone
            result.node.append(node)
    end = result.node.add(name="output", op="Identity", input=[origin(output)])
    end.attr["T"].type = import_tensorflow().float32.as_datatype_enum
    return result
