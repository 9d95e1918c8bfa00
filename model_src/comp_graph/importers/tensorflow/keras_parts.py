"""Cuts a Keras model in two at a layer: what gives the layer's result, and what makes the model's results of it."""

from typing import TYPE_CHECKING, Any, NamedTuple

from model_src.comp_graph.importers.tensorflow.graph_def import freeze
from model_src.comp_graph.importers.tensorflow.rest import rest_in_onnx
from model_src.comp_graph.importers.wording import close_to, listed
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import onnx


class Halves(NamedTuple):
    """The two parts of a model, as Keras models; the second takes what the first gives."""

    front: Any
    rest: Any


def cut_model(model: Any, name: str) -> Halves:
    """Cut a functional or sequential model at a layer; the parts share its weights.

    Args:
        model: The model.
        name: Of the layer.

    Raises:
        ValueError: There is no such layer, it is used several times or gives several tensors, or what comes behind it
            needs others.
    """
    import keras

    operations = {operation.name: operation for operation in getattr(model, "operations", ())}
    if name not in operations:
        raise ValueError(f"-output_node {name}: the model has no layer of this name{close_to(name, operations)}")
    try:
        result = operations[name].output
    except (AttributeError, ValueError) as error:
        raise ValueError(f"-output_node {name}: the layer is not used once") from error
    if isinstance(result, list | tuple | dict):
        raise ValueError(f"-output_node {name}: the layer gives {len(result)} tensors")
    if len(model.outputs) == 1 and model.outputs[0] is result:
        raise ValueError(f"-output_node {name}: nothing comes behind it; leave the flag out")
    if lacking := _lacking(model, operations[name]):
        raise ValueError(f"-output_node {name}: what comes behind it also needs {listed(lacking)}")
    return Halves(keras.Model(model.inputs, result), keras.Model(result, model.outputs))


def _lacking(model: Any, start: Any) -> list[str]:
    """The layers in front whose results are needed behind one, besides its own."""
    sources = {
        operation: {
            tensor._keras_history.operation for node in operation._inbound_nodes for tensor in node.input_tensors
        }
        for operation in model.operations
    }
    behind: set[Any] = {start}
    while new := {one for one, read in sources.items() if one not in behind and read & behind}:
        behind |= new
    ends = {tensor._keras_history.operation for tensor in model.outputs}
    read = {source for one in behind - {start} for source in sources[one]} | ends
    return [operation.name for operation in model.operations if operation in read - behind]


def to_onnx(rest: Any) -> "onnx.ModelProto":
    """The second part in ONNX, with its outputs called as in Keras.

    Raises:
        ValueError: tf2onnx cannot convert it.
    """
    tf = import_tensorflow()
    frozen = freeze(lambda part: tf.nest.flatten(rest(part, training=False)), tuple(rest.input_shape[1:]), batch=None)
    ends = {name: f"Identity_{place}" if place else "Identity" for place, name in enumerate(rest.output_names)}
    return rest_in_onnx(frozen, "input", ends)
