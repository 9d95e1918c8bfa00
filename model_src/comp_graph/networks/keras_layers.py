"""The Keras layer (NHWC) of every operation, named `op_{id}_{operation}`."""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from model_src.comp_graph.moves import added_channels_of, index_of, parts_of, repeats_of
from model_src.comp_graph.networks.keras_maps import (
    Apply,
    TransposedConv2D,
    in_blocks,
    normalised,
    padded,
    pooled,
    resized,
)
from model_src.comp_graph.networks.plan import Step, check_convolution
from model_src.comp_graph.ops import Backend, Channels
from model_src.comp_graph.registry import Registry
from model_src.comp_graph.sizes import UNPADDED, pairs_of, window_of
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = import_tensorflow()
import keras  # after TensorFlow's settings

LAYERS: Registry[Callable[[Step], keras.layers.Layer]] = Registry(Backend.KERAS)
KERNEL_L2 = 1e-5


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


class GroupedConv2D(keras.layers.Conv2D):
    """A convolution in groups as one operation; Keras's own is a function that only a compiler runs."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) with a kernel (k_h, k_w, C / groups, C_out)."""
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)


@LAYERS.register("conv", "depthwise", "grouped_conv")
def _conv(step: Step) -> keras.layers.Layer:
    check_convolution(step)
    window = window_of(step.node)
    if max(window.stride) > 1 and max(window.dilation) > 1:
        raise step.error("TensorFlow has no convolution with both strides and dilation")
    options: dict[str, Any] = {
        "kernel_size": window.kernel,
        "strides": window.stride,
        "padding": "same" if window.same else "valid",
        "dilation_rate": window.dilation,
        "use_bias": step.use_bias,
        "name": layer_name(step),
    }
    kernel = {"initializer": "he_uniform", "regularizer": keras.regularizers.L2(KERNEL_L2)}
    if step.operation.channels is Channels.PASSED:
        return keras.layers.DepthwiseConv2D(**options, **{f"depthwise_{key}": value for key, value in kernel.items()})
    options |= {f"kernel_{key}": value for key, value in kernel.items()}
    if step.node.groups > 1:
        return GroupedConv2D(step.node.resolution[5], groups=step.node.groups, **options)
    return keras.layers.Conv2D(step.node.resolution[5], **options)


@LAYERS.register("batchnorm")
def _batchnorm(step: Step) -> keras.layers.Layer:
    epsilon = step.number("epsilon", 1e-3)
    return keras.layers.BatchNormalization(momentum=0.99, epsilon=epsilon, name=layer_name(step))


@LAYERS.register("matmul")
def _matmul(step: Step) -> keras.layers.Layer:
    return keras.layers.Dense(step.node.resolution[5], name=layer_name(step))


@LAYERS.register("maxpool", "avgpool")
def _pool(step: Step) -> keras.layers.Layer:
    kind = {"maxpool": keras.layers.MaxPooling2D, "avgpool": keras.layers.AveragePooling2D}[step.op]
    window = window_of(step.node)
    if max(window.stride) > 1 and max(window.dilation) > 1:
        raise step.error("TensorFlow has no pooling with both strides and dilation")
    if window.pads != UNPADDED or window.dilation != (1, 1):
        return Apply(pooled(window, step.op == "maxpool"), layer_name(step))
    return kind(window.kernel, window.stride, "same" if window.same else "valid", name=layer_name(step))


@LAYERS.register("mean", "global")
def _mean(step: Step) -> keras.layers.Layer:
    return keras.layers.GlobalAveragePooling2D(keepdims=True, name=layer_name(step))


@LAYERS.register("paddings")
def _paddings(step: Step) -> keras.layers.Layer:
    pads, metadata = pairs_of(step.node, "pad_h", "pad_w"), step.node.metadata or {}
    if metadata.get("mode") or metadata.get("value") or min(map(min, pads)) < 0:
        return Apply(padded(step), layer_name(step))
    return keras.layers.ZeroPadding2D(pads, name=layer_name(step))


@LAYERS.register("pad_channels")
def _pad_channels(step: Step) -> keras.layers.Layer:
    added = added_channels_of(step.node)
    return Apply(lambda x: tf.pad(x, [(0, 0), (0, 0), (0, 0), added]), layer_name(step))


@LAYERS.register("conv2d_transpose")
def _transposed(step: Step) -> keras.layers.Layer:
    return TransposedConv2D(step, layer_name(step))


@LAYERS.register("resize")
def _resize(step: Step) -> keras.layers.Layer:
    return Apply(resized(step), layer_name(step))


@LAYERS.register("depthtospacend", "spacetodepthnd")
def _blocks(step: Step) -> keras.layers.Layer:
    return Apply(in_blocks(step), layer_name(step))


@LAYERS.register("globalmax")
def _globalmax(step: Step) -> keras.layers.Layer:
    return keras.layers.GlobalMaxPooling2D(keepdims=True, name=layer_name(step))


@LAYERS.register("lrn")
def _lrn(step: Step) -> keras.layers.Layer:
    return Apply(normalised(step), layer_name(step))


@LAYERS.register("identity")
def _identity(step: Step) -> keras.layers.Layer:
    return Identity(name=layer_name(step))


@LAYERS.register("zero")
def _zero(step: Step) -> keras.layers.Layer:
    return Zero(name=layer_name(step))


@LAYERS.register("input", "output", "port", "add", "mul", "concat")
def _pass_through(step: Step) -> keras.layers.Layer:
    return PassThrough(name=layer_name(step))


@LAYERS.register("relu", "sigmoid", "tanh", "swish", "gelu")
def _activation(step: Step) -> keras.layers.Layer:
    return keras.layers.Activation(step.op, name=layer_name(step))


@LAYERS.register("relu6")
def _relu6(step: Step) -> keras.layers.Layer:
    return keras.layers.ReLU(6.0, name=layer_name(step))


@LAYERS.register("hardswish", "hardsigmoid")
def _hard(step: Step) -> keras.layers.Layer:
    names = {"hardswish": "hard_silu", "hardsigmoid": "hard_sigmoid"}
    return keras.layers.Activation(names[step.op], name=layer_name(step))


@LAYERS.register("leakyrelu")
def _leakyrelu(step: Step) -> keras.layers.Layer:
    function = partial(keras.activations.leaky_relu, negative_slope=step.number("alpha", 0.01))
    return keras.layers.Activation(function, name=layer_name(step))  # the layer refuses slopes below 0


@LAYERS.register("elu")
def _elu(step: Step) -> keras.layers.Layer:
    return keras.layers.ELU(step.number("alpha", 1.0), name=layer_name(step))


@LAYERS.register("prelu")
def _prelu(step: Step) -> keras.layers.Layer:
    return keras.layers.PReLU(shared_axes=[1, 2], name=layer_name(step))


@LAYERS.register("gelu_tanh")
def _gelu_tanh(step: Step) -> keras.layers.Layer:
    return keras.layers.Activation(partial(keras.activations.gelu, approximate=True), name=layer_name(step))


@LAYERS.register("scale")
def _scale(step: Step) -> keras.layers.Layer:
    return keras.layers.Rescaling(step.number("factor", 1.0), step.number("offset", 0.0), name=layer_name(step))


@LAYERS.register("reciprocal")
def _reciprocal(step: Step) -> keras.layers.Layer:
    return keras.layers.Activation(tf.math.reciprocal, name=layer_name(step))


@LAYERS.register("clip")
def _clip(step: Step) -> keras.layers.Layer:
    low, high = step.number("min", -1.0), step.number("max", 1.0)
    return keras.layers.Activation(lambda x: tf.clip_by_value(x, low, high), name=layer_name(step))


@LAYERS.register("slice")
def _slice(step: Step) -> keras.layers.Layer:
    channels, rows, columns = parts_of(step.node)
    return Apply(lambda x: x[:, rows, columns, channels], layer_name(step))


@LAYERS.register("gather")
def _gather(step: Step) -> keras.layers.Layer:
    index = index_of(step.node)
    return Apply(lambda x: tf.gather(x, index, axis=-1), layer_name(step))


@LAYERS.register("shuffle")
def _shuffle(step: Step) -> keras.layers.Layer:
    groups = step.node.groups

    def shuffled(x: tf.Tensor) -> tf.Tensor:
        *_, h, w, c = x.shape
        grouped = tf.transpose(tf.reshape(x, (-1, h, w, groups, c // groups)), (0, 1, 2, 4, 3))
        return tf.reshape(grouped, (-1, h, w, c))

    return Apply(shuffled, layer_name(step))


@LAYERS.register("broadcast")
def _broadcast(step: Step) -> keras.layers.Layer:
    channels, rows, columns = (max(size, 1) for size in repeats_of(step.node))
    return Apply(lambda x: tf.tile(x, (1, rows, columns, channels)), layer_name(step))


@LAYERS.register("softmax")
def _softmax(step: Step) -> keras.layers.Layer:
    return keras.layers.Softmax(name=layer_name(step))


@LAYERS.register("layernorm")
def _layernorm(step: Step) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=step.number("epsilon", 1e-5), name=layer_name(step))


@LAYERS.register("groupnorm")
def _groupnorm(step: Step) -> keras.layers.Layer:
    epsilon = step.number("epsilon", 1e-5)
    return keras.layers.GroupNormalization(step.node.groups, epsilon=epsilon, name=layer_name(step))
