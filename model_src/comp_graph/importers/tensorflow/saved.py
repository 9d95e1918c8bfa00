"""SavedModel folder -> computation graph with weights. No model is loaded: its parts are read as data."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.options import given_size
from model_src.comp_graph.importers.tensorflow.cut import cut_graph
from model_src.comp_graph.importers.tensorflow.graph_def import constant, data_inputs, inlined, producer
from model_src.comp_graph.importers.tensorflow.limits import check_variables
from model_src.comp_graph.importers.tensorflow.rest import with_rest
from model_src.comp_graph.importers.tensorflow.strict import read_frozen
from model_src.comp_graph.importers.wording import SEVERAL_OUTPUTS, listed
from model_src.files import InputError, naming, read_bytes, regular_file
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

SIGNATURE = "serving_default"
_CALLS = re.compile(r"(Stateful)?PartitionedCall(_\d+)?/")


def load_saved_model(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
    check: bool = True,
    output_node: str | None = None,
) -> ImportedNetwork:
    """Read the signature `serving_default` of a SavedModel folder; arguments as for `load_pb`.

    Raises:
        InputError: The folder holds no SavedModel with that signature, it has an operation that a graph cannot hold,
            the graph does not compute what it does, or the network cannot be cut there.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    if not (path / "saved_model.pb").is_file():
        raise InputError(f"{path}: holds no saved_model.pb")
    with naming(path):
        graph_def, results = _signature_graph(path, one_result=output_node is None)
        halves = None if output_node is None else cut_graph(graph_def, output_node, size, _own_name, results)
        network = read_frozen(halves.front if halves else graph_def, path.name, size, normalisers, _own_name)
        found = network.checked(network.found) if check else network.found
        return with_rest(found, halves, check) if halves else found


def _own_name(name: str) -> str:
    return _CALLS.sub("", name)


def _signature_graph(folder: Path, one_result: bool) -> tuple["tf.compat.v1.GraphDef", dict[str, str]]:
    """The signature's graph in one piece, with constants for its variables, and per name of a result its tensor."""
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        saved = SavedModel.FromString(read_bytes(folder / "saved_model.pb"))
    except DecodeError as error:
        raise ValueError("saved_model.pb is no SavedModel, or cut short") from error
    graphs = [graph for graph in saved.meta_graphs if SIGNATURE in graph.signature_def]
    if not graphs:
        raise ValueError(f"no signature {SIGNATURE!r}")
    signature = graphs[0].signature_def[SIGNATURE]
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        if len(tensors) != 1 and (one_result or kind == "input"):
            remedy = f"; {SEVERAL_OUTPUTS}" if kind == "output" and tensors else ""
            raise ValueError(f"expected one {kind}, found {listed(sorted(tensors)) or 'none'}{remedy}")
    tensors = {name: signature.outputs[name].name for name in sorted(signature.outputs)}
    graph_def = inlined(graphs[0].graph_def, *map(producer, tensors.values()))
    results = {name: _result(graph_def, tensor) for name, tensor in tensors.items()}
    return _without_variables(graph_def, _variables(folder, graphs[0])), results


def _result(graph_def: "tf.compat.v1.GraphDef", tensor: str) -> str:
    """A tensor, or what an IdentityN in the place of a call hands on as that."""
    name, _, place = tensor.partition(":")
    handed_on = [data_inputs(node) for node in graph_def.node if node.name == name and node.op == "IdentityN"]
    if not handed_on:
        return tensor.removesuffix(":0")
    if (place or "0") not in map(str, range(len(handed_on[0]))):
        raise ValueError(f"its signature names a tensor {tensor!r:.100}, which is not there")
    return handed_on[0][int(place or 0)]


def _without_variables(graph_def: "tf.compat.v1.GraphDef", values: Mapping[str, np.ndarray]) -> "tf.compat.v1.GraphDef":
    """The graph with constants in the place of what reads variables."""
    reads = {node.name: node.input[0] for node in graph_def.node if node.op == "ReadVariableOp"}
    result = type(graph_def)(versions=graph_def.versions)
    for node in graph_def.node:
        variable = reads.get(node.name, "")
        result.node.append(constant(node.name, values[variable]) if variable in values else node)
    return result


def _variables(folder: Path, graph: "MetaGraphDef") -> dict[str, np.ndarray]:
    """The values of the variables, by the nodes that stand for them in the main graph."""
    tf = import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    prefix = folder / "variables" / "variables"
    if not prefix.with_suffix(".index").is_file():
        return {}
    for path in prefix.parent.iterdir():
        regular_file(path)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        keys = reader.get_variable_to_shape_map()
        check_variables(keys, prefix.parent)
        handles = {node.name: node.name for node in graph.graph_def.node if node.name in keys}  # of TensorFlow 1
        if "_CHECKPOINTABLE_OBJECT_GRAPH" in keys:
            stored = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
            handles |= _handles(graph, stored)
        return {name: reader.get_tensor(key) for name, key in handles.items()}
    except (tf.errors.OpError, RuntimeError, IndexError, DecodeError) as error:
        raise ValueError(f"its variables cannot be read: {' '.join(str(error).split())}") from error


def _handles(graph: "MetaGraphDef", stored: "TrackableObjectGraph") -> dict[str, str]:
    """The key in the checkpoint of every variable that the main graph hands to a function."""
    objects = graph.object_graph_def
    places, waiting = (
        {0: 0},
        [0],
    )  # number of an object in the model -> in the checkpoint: by the names on the way to it
    while waiting:
        here = waiting.pop()
        others = {child.local_name: child.node_id for child in stored.nodes[places[here]].children}
        for child in objects.nodes[here].children:
            if child.node_id not in places and child.local_name in others:
                places[child.node_id] = others[child.local_name]
                waiting.append(child.node_id)
    keys = {
        number: stored.nodes[place].attributes[0].checkpoint_key
        for number, place in places.items()
        if stored.nodes[place].attributes
    }
    handles: dict[str, str] = {}
    for node in graph.graph_def.node:
        function = objects.concrete_functions.get(node.attr["f"].func.name) if "f" in node.attr else None
        if function is not None:
            given = list(node.input)[-len(function.bound_inputs) or len(node.input) :]
            pairs = zip(given, function.bound_inputs, strict=True)
            handles |= {producer(name): keys[number] for name, number in pairs if number in keys}
    return handles
