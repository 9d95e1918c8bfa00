"""Keras layers (NHWC) that slide a window over a map with a padding of its own, or change its size in another way."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from model_src.comp_graph.moves import block_of, choice_of
from model_src.comp_graph.networks.plan import LRN_DEFAULTS, Step
from model_src.comp_graph.sizes import Pads, Window, crops_of, factors_of, pairs_of, window_of
from model_src.runtime import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = import_tensorflow()
import keras  # after TensorFlow's settings

Function = Callable[[tf.Tensor], tf.Tensor]


class Apply(keras.layers.Layer):
    """A function of a map (N, H, W, C)."""

    def __init__(self, function: Function, name: str):
        super().__init__(name=name)
        self._function = function

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) to what the function gives."""
        return self._function(x)


class TransposedConv2D(keras.layers.Conv2DTranspose):
    """A transposed convolution that leaves out, or adds, so many pixels at each end of its full result."""

    def __init__(self, step: Step, name: str):
        window = window_of(step.node)
        if step.node.groups > 1 or (window.dilation != (1, 1) and window.stride != (1, 1)):
            raise step.error("TensorFlow has no transposed convolution in groups, or with both strides and dilation")
        super().__init__(
            step.node.resolution[5],
            window.kernel,
            window.stride,
            dilation_rate=window.dilation,
            use_bias=step.use_bias,
            kernel_initializer="he_uniform",
            name=name,
        )
        self._crops = crops_of(step.node)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C_in) to (N, ..., C_out)."""
        axes = zip(inputs.shape[1:3], self.kernel_size, self.strides, self.dilation_rate, self._crops, strict=True)
        full = [(size - 1) * s + (k - 1) * d + 1 + max(-after, 0) for size, k, s, d, (_, after) in axes]
        sizes = [tf.shape(inputs)[0], *full, self.filters]
        x = tf.nn.conv2d_transpose(inputs, self.kernel, sizes, self.strides, "VALID", dilations=self.dilation_rate)
        x = x + self.bias if self.use_bias else x
        (top, bottom), (left, right) = ((before, max(after, 0)) for before, after in self._crops)
        return x[:, top : full[0] - bottom, left : full[1] - right]

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, H, W, C_in) to (N, ..., C_out)."""
        axes = zip(input_shape[1:3], self.kernel_size, self.strides, self.dilation_rate, self._crops, strict=True)
        rows, columns = ((size - 1) * s + (k - 1) * d + 1 - sum(crop) for size, k, s, d, crop in axes)
        return input_shape[0], rows, columns, self.filters


def pooled(window: Window, is_max: bool) -> Function:
    """The maximum or average of the real pixels under a window that pads the map by itself."""

    def maximum(x: tf.Tensor) -> tf.Tensor:
        x = tf.pad(x, [(0, 0), *window.padding(*x.shape[1:3]), (0, 0)], constant_values=float("-inf"))
        return tf.nn.pool(x, window.kernel, "MAX", window.stride, "VALID", dilations=window.dilation)

    def average(x: tf.Tensor) -> tf.Tensor:
        pads = [(0, 0), *window.padding(*x.shape[1:3]), (0, 0)]
        sums, real = (
            tf.nn.avg_pool2d(tf.pad(one, pads), window.kernel, window.stride, "VALID")
            for one in (x, tf.ones_like(x[:1, :, :, :1]))
        )
        return sums / real

    return maximum if is_max else average


def padded(step: Step) -> Function:
    """A map with pixels around it, or without some of those at its ends."""
    pads = pairs_of(step.node, "pad_h", "pad_w")
    mode, value = choice_of(step.node, "mode"), step.number("value", 0.0)
    if mode == "constant":
        return lambda x: _constant(x, pads, value)
    if mode == "reflect":
        return lambda x: tf.pad(x, [(0, 0), *pads, (0, 0)], "REFLECT")
    return lambda x: _taken(_taken(x, 1, pads[0], mode), 2, pads[1], mode)


def _constant(x: tf.Tensor, pads: Pads, value: float) -> tf.Tensor:
    (top, bottom), (left, right) = ((max(before, 0), max(after, 0)) for before, after in pads)
    x = tf.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)], constant_values=value)
    (top, bottom), (left, right) = ((max(-before, 0), max(-after, 0)) for before, after in pads)
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _taken(x: tf.Tensor, axis: int, pads: tuple[int, int], mode: str) -> tf.Tensor:
    """A map whose rows or columns go on with those at its ends, or with those at the other end."""
    size = x.shape[axis]
    places = range(-pads[0], size + pads[1])
    return tf.gather(x, [min(max(at, 0), size - 1) if mode == "edge" else at % size for at in places], axis=axis)


def resized(step: Step) -> Function:
    """A map that is enlarged or made smaller.

    Raises:
        ValueError: TensorFlow has no such.
    """
    factors, mode = factors_of(step.node), choice_of(step.node, "mode")
    if mode == "bicubic":
        raise step.error("TensorFlow's cubic resize is another one")
    corners = mode == "bilinear" and choice_of(step.node, "corners")

    def function(x: tf.Tensor) -> tf.Tensor:
        size = [pixels * up // down for pixels, (up, down) in zip(x.shape[1:3], factors, strict=True)]
        if mode == "bilinear":
            options = {"align_corners": corners, "half_pixel_centers": not corners}
            return tf.raw_ops.ResizeBilinear(images=x, size=size, **options)
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size, half_pixel_centers=mode == "nearest-exact")

    return function


def in_blocks(step: Step) -> Function:
    """Channels that become blocks of pixels, or the other way round."""
    (b_h, b_w), channels_first = block_of(step.node), choice_of(step.node, "order") == "channels"

    def split(x: tf.Tensor) -> tf.Tensor:
        *_, h, w, c = x.shape
        kept = c // (b_h * b_w)
        parts, order = ((b_h, b_w, kept), (0, 1, 3, 2, 4, 5))
        if channels_first:
            parts, order = (kept, b_h, b_w), (0, 1, 4, 2, 5, 3)
        return tf.reshape(tf.transpose(tf.reshape(x, (-1, h, w, *parts)), order), (-1, h * b_h, w * b_w, kept))

    def joined(x: tf.Tensor) -> tf.Tensor:
        *_, h, w, c = x.shape
        order = (0, 1, 3, 5, 2, 4) if channels_first else (0, 1, 3, 2, 4, 5)
        x = tf.transpose(tf.reshape(x, (-1, h // b_h, b_h, w // b_w, b_w, c)), order)
        return tf.reshape(x, (-1, h // b_h, w // b_w, c * b_h * b_w))

    if b_h == b_w and not channels_first:
        native = tf.nn.depth_to_space if step.op == "depthtospacend" else tf.nn.space_to_depth
        return lambda x: native(x, b_h)
    return split if step.op == "depthtospacend" else joined


def normalised(step: Step) -> Function:
    """A map divided by what its neighbouring channels have in one place."""
    size, (alpha, beta, bias) = int(step.number("size", 5)), (step.number(*one) for one in LRN_DEFAULTS.items())
    return lambda x: tf.nn.local_response_normalization(x, size // 2, bias, alpha / size, beta)
