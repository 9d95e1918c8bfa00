"""Computation graph -> TensorFlow network (Keras 3, NHWC), and its frozen form."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from model_src.comp_graph.importers.tensorflow.graph_def import freeze, part_feeding
from model_src.comp_graph.networks.keras_layers import LAYERS, Sum, layer_name
from model_src.comp_graph.networks.plan import Step, plan_network
from model_src.comp_graph.ops import Channels
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, atomic_write, one_line
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = import_tensorflow()
import keras  # after TensorFlow's settings


def build_tf_network(
    cg: ComputeGraph,
    squeeze_output: bool = True,
    input_shape: tuple[int, int, int] | None = None,
    op_overrides: Mapping[str, str] | None = None,
    enable_bias: bool = False,
) -> keras.Model:
    """Build the Keras network of a graph, one layer per node, named `op_{id}_{operation}`.

    It computes what `TorchNetwork` computes. Convolution kernels start He-uniform and carry an L2 penalty of
    1e-5.

    Shapes:
        Input (N, H, W, C). Output (N, C) if squeezed, else (N, H, W, C); with several output nodes a list of maps.

    Args:
        cg: The graph.
        squeeze_output: Drop the two axes of a single 1x1 output map.
        input_shape: (H, W, C); None takes the graph's.
        op_overrides: Name of an operation -> name of the one to build instead, as {"batchnorm": "identity"}.
        enable_bias: Give every convolution a bias, whatever its node says.

    Raises:
        ValueError: The graph has a cycle, an unknown operation or a node whose sizes contradict each other.
    """
    plan = plan_network(cg, op_overrides, enable_bias)
    image = keras.Input(input_shape or tuple(cg.input_shape[1:]), name="image")
    results: list[keras.KerasTensor] = []
    for step in plan.steps:
        inputs = [results[source] for source in step.sources] or [image]
        results.append(_applied(step, inputs))
    outputs = [results[position] for position in plan.outputs]
    if len(outputs) == 1 and squeeze_output:
        if outputs[0].shape[1:3] != (1, 1):
            raise ValueError(f"{cg.name}: the output map {outputs[0].shape[1:3]} is larger than 1x1; do not squeeze it")
        outputs = [keras.layers.Flatten(name="squeeze")(outputs[0])]
    return keras.Model(image, outputs if len(outputs) > 1 else outputs[0])


def cg_to_pb(cg: ComputeGraph, output_dir: str | Path, network: keras.Model | None = None) -> Path:
    """Write the frozen inference network of a graph, from a node `input` to a node `output`.

    Args:
        cg: The graph.
        output_dir: Folder of the file `{name}_output_net.pb`.
        network: A squeezed network of the graph with the weights to freeze; None builds one with fresh weights.

    Returns:
        The path of the file.

    Raises:
        InputError: The file exists.
        ValueError: See `build_tf_network`.
    """
    path = Path(output_dir) / f"{cg.name}_output_net.pb"
    if path.exists():
        raise InputError(f"{path}: exists already")
    return write_frozen_graph(cg, path, network or build_tf_network(cg))


def write_frozen_graph(cg: ComputeGraph, path: str | Path, network: keras.Model) -> Path:
    """Write a graph's network with its weights, as `cg_to_pb` does, to any path; returns the path."""

    def run() -> tf.Tensor:
        image = tf.identity(tf.ones(tuple(cg.input_shape)), name="input")
        return tf.identity(network(image, training=False), name="output")

    with atomic_write(path) as file:
        file.write(part_feeding(freeze(run), "output").SerializeToString())
    return Path(path)


def _applied(step: Step, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
    """The result of a node.

    Raises:
        ValueError: TensorFlow cannot compute it; Keras's many lines are left out but for the reason.
    """
    try:
        return step.function_in(LAYERS)(step)(_join(inputs, step))
    except ValueError as error:
        if str(error).startswith(str(step.error("")).rstrip()):  # it names the node already
            raise
        raise step.error(_reason(error)) from error


def _reason(error: ValueError) -> str:
    """What Keras says is wrong, without where and with which arguments."""
    text = str(error).partition("Arguments received by")[0]
    return one_line(text.rpartition("Error encountered:")[2].rpartition(".call().")[2])


def _join(inputs: list[keras.KerasTensor], step: Step) -> keras.KerasTensor:
    """One tensor out of a node's inputs: concatenated, multiplied or summed."""
    if step.operation.channels is Channels.SUMMED:
        return keras.ops.concatenate(inputs, -1)
    width = step.input_width([x.shape[-1] for x in inputs])
    inputs = [x if x.shape[-1] == width else x[..., :width] for x in inputs]
    if step.operation.is_product or len(inputs) == 1:
        return reduce(keras.ops.multiply, inputs)
    return Sum(name=f"{layer_name(step)}_sum")(inputs)
