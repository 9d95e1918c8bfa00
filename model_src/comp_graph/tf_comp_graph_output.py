"""Computation graph -> TensorFlow network (Keras 3, NHWC), and its frozen form."""

import re
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

from model_src.comp_graph.importers.tensorflow.frozen import freeze, part_feeding
from model_src.comp_graph.networks.plan import LayerRegistry, Step, check_convolution, plan_network, window_of
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError, atomic_write
from model_src.runtime import import_tensorflow

tf = import_tensorflow()
import keras  # noqa: E402 - TensorFlow's settings must come first

LAYERS: LayerRegistry[keras.layers.Layer] = LayerRegistry()
KERNEL_L2 = 1e-5


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
        op_overrides: Vocabulary label -> label of the operation to build instead, as {"batchnorm": "identity"}.
        enable_bias: Give every convolution a bias, whatever its node says.

    Raises:
        ValueError: The graph has a cycle, an unknown operation or a node whose sizes contradict each other.
    """
    plan = plan_network(cg, op_overrides, enable_bias)
    image = keras.Input(input_shape or tuple(cg.input_shape[1:]), name="image")
    results = []
    for step in plan.steps:
        results.append(LAYERS.build(step)(_join([results[source] for source in step.sources] or [image], step)))
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


def _join(inputs: list[keras.KerasTensor], step: Step) -> keras.KerasTensor:
    """One tensor out of a node's inputs: concatenated, multiplied or summed."""
    if step.op == "concat":
        return keras.ops.concatenate(inputs, -1)
    width = step.input_width([x.shape[-1] for x in inputs])
    inputs = [x if x.shape[-1] == width else x[..., :width] for x in inputs]
    if step.op == "mul" or len(inputs) == 1:
        return reduce(keras.ops.multiply, inputs)
    return Sum(name=f"{layer_name(step)}_sum")(inputs)


def layer_name(step: Step) -> str:
    """A step's name in the characters that Keras and TensorFlow accept."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", step.name)


class Sum(keras.layers.Layer):
    """Adds any number of maps in one operation, so that the frozen graph has one node for them."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Several (N, H, W, C) to one."""
        return tf.add_n(inputs)


class Identity(keras.layers.Layer):
    """Hands its input on, as an operation of its own in the frozen graph."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) unchanged."""
        return tf.identity(x, name="identity")


class Zero(keras.layers.Layer):
    """Zeros of the input's shape; the name `zero` is what the importer knows it by."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) to zeros of the same shape."""
        return tf.multiply(x, 0.0, name="zero")


class PassThrough(keras.layers.Layer):
    """Leaves no operation in the frozen graph."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) unchanged."""
        return x


@LAYERS.register("conv", "depthwise")
def _conv(step: Step) -> keras.layers.Layer:
    check_convolution(step)
    window = window_of(step)
    options = {
        "kernel_size": window.kernel,
        "strides": window.stride,
        "padding": "same" if window.same else "valid",
        "dilation_rate": window.dilation,
        "use_bias": step.use_bias,
        "name": layer_name(step),
    }
    kernel = {"initializer": "he_uniform", "regularizer": keras.regularizers.L2(KERNEL_L2)}
    if step.op == "depthwise":
        return keras.layers.DepthwiseConv2D(**options, **{f"depthwise_{key}": value for key, value in kernel.items()})
    return keras.layers.Conv2D(
        step.node.resolution[5], **options, **{f"kernel_{key}": value for key, value in kernel.items()}
    )


@LAYERS.register("batchnorm")
def _batchnorm(step: Step) -> keras.layers.Layer:
    return keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=layer_name(step))


@LAYERS.register("matmul")
def _matmul(step: Step) -> keras.layers.Layer:
    return keras.layers.Dense(step.node.resolution[5], name=layer_name(step))


@LAYERS.register("maxpool", "avgpool")
def _pool(step: Step) -> keras.layers.Layer:
    kind = {"maxpool": keras.layers.MaxPooling2D, "avgpool": keras.layers.AveragePooling2D}[step.op]
    window = window_of(step)
    return kind(window.kernel, window.stride, "same" if window.same else "valid", name=layer_name(step))


@LAYERS.register("mean", "global")
def _mean(step: Step) -> keras.layers.Layer:
    return keras.layers.GlobalAveragePooling2D(keepdims=True, name=layer_name(step))


@LAYERS.register("paddings")
def _paddings(step: Step) -> keras.layers.Layer:
    metadata = step.node.metadata or {}
    pads = (metadata.get("pad_h", (0, 0)), metadata.get("pad_w", (0, 0)))
    return keras.layers.ZeroPadding2D(pads, name=layer_name(step))


@LAYERS.register("identity")
def _identity(step: Step) -> keras.layers.Layer:
    return Identity(name=layer_name(step))


@LAYERS.register("zero")
def _zero(step: Step) -> keras.layers.Layer:
    return Zero(name=layer_name(step))


@LAYERS.register("input", "output", "add", "mul", "concat")
def _pass_through(step: Step) -> keras.layers.Layer:
    return PassThrough(name=layer_name(step))


@LAYERS.register("relu", "sigmoid", "tanh", "swish", "gelu")
def _activation(step: Step) -> keras.layers.Layer:
    return keras.layers.Activation(step.op, name=layer_name(step))


@LAYERS.register("relu6")
def _relu6(step: Step) -> keras.layers.Layer:
    return keras.layers.ReLU(6.0, name=layer_name(step))
