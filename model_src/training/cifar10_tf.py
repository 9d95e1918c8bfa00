"""The network of a graph in training with TensorFlow (Keras 3): weights, images and order are those of PyTorch."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from model_src.comp_graph.exporters.tensorflow import tf_twin
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.files import InputError
from model_src.runtime import import_tensorflow
from model_src.training.image_data import ImageData
from model_src.training.recipe import CPU_TEST_BATCH, GPU_TEST_BATCH, Execution, Recipe, TrainConfig
from model_src.training.state import NETWORK

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = import_tensorflow()
import keras  # after TensorFlow's settings


class KerasLearner:
    """A network, its optimiser and its images; see `model_src.training.loop.Learner`.

    The penalty on convolution kernels is part of the Keras network.
    """

    _order: tf.Tensor  # the plan of the epoch
    _scales: tf.Tensor

    def __init__(self, cg: ComputeGraph, network: TorchNetwork, config: Recipe, data: ImageData, how: Execution):
        assert isinstance(config, TrainConfig)  # see `check_execution`
        self._device, self.device_name = choose_tf_device(how.device)
        with self._running():
            self._network = tf_twin(cg, network)
            _check_output(self._network, data.n_classes)
            self._optimiser = keras.optimizers.RMSprop(config.learning_rate, momentum=config.momentum, centered=True)
            self._optimiser.build(self._network.trainable_variables)
            nhwc = (part.transpose(0, 2, 3, 1) if part.ndim == 4 else part for part in data.arrays)
            self._data = [tf.constant(part) for part in nhwc]
        self._gradients: list[tf.Tensor] = []
        self.n_train, self.n_test = len(data.train_images), len(data.test_images)
        self.test_batch_size = CPU_TEST_BATCH if self.device_name == "cpu" else GPU_TEST_BATCH
        # One compiled function each, for any number of images.
        number, pair = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None, 2), tf.float32)
        self._learn_graph = tf.function(self._learn, [number, pair, tf.TensorSpec((), tf.float32)])
        self._apply_graph, self._test_graph = tf.function(self._apply), tf.function(self._test, [number])

    def start_epoch(self, order: np.ndarray, scales: np.ndarray) -> None:
        """Take the plan of an epoch."""
        with self._running():
            self._order, self._scales = tf.constant(order), tf.constant(scales)

    def add_gradients(self, start: int, stop: int, share: float) -> tuple[tf.Tensor, tf.Tensor]:
        """Add the gradients of these positions of the plan; returns sums of loss and of right answers."""
        with self._running():
            part = self._order[start:stop], self._scales[start:stop], tf.constant(share, tf.float32)
            loss, right, gradients = self._learn_graph(*part)
            self._gradients = [old + new for old, new in zip(self._gradients, gradients, strict=False)] or gradients
            return loss, right

    def apply_gradients(self, rate: float) -> None:
        """Do a step at this learning rate."""
        with self._running():
            self._optimiser.learning_rate.assign(rate)
            self._apply_graph(self._gradients)
            self._gradients = []

    def drop_gradients(self) -> None:
        """Forget the gradients."""
        self._gradients = []

    def test(self, start: int, stop: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Sums of loss and of right answers of these test images."""
        with self._running():
            return self._test_graph(tf.range(start, stop, dtype=tf.int64))

    def state(self) -> dict[str, np.ndarray]:
        """All that training has changed, by name: weights and running statistics, and what the optimiser keeps."""
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def load_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of the same network and recipe."""
        for name, variable in self._variables().items():
            variable.assign(tensors[name])

    def _variables(self) -> dict[str, keras.Variable]:
        own = {f"{NETWORK}{variable.path}": variable for variable in self._network.variables}
        return own | {f"optimiser.{n}": variable for n, variable in enumerate(self._optimiser.variables)}

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Run on the device; used up memory is a MemoryError, every other error of TensorFlow a RuntimeError."""
        try:
            with tf.device(self._device):
                yield
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message) from None
        except tf.errors.OpError as error:
            raise RuntimeError(error.message) from error

    def _learn(
        self, chosen: tf.Tensor, scales: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        images, labels = (tf.gather(part, chosen) for part in self._data[:2])
        images = zoom(tf.cast(images, tf.float32) / 255, scales)
        with tf.GradientTape() as tape:
            logits = self._network(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            goal = share * (tf.reduce_mean(losses) + sum(self._network.losses))
        gradients = tape.gradient(goal, self._network.trainable_variables)
        return tf.reduce_sum(losses), _n_right(logits, labels), gradients

    def _apply(self, gradients: list[tf.Tensor]) -> None:
        self._optimiser.apply(gradients, self._network.trainable_variables)

    def _test(self, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = (tf.gather(part, chosen) for part in self._data[2:])
        logits = self._network(tf.cast(images, tf.float32) / 255, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses), _n_right(logits, labels)


def choose_tf_device(name: str | None) -> tuple[str, str]:
    """TensorFlow's name of a device that PyTorch calls `cpu`, `cuda` or `cuda:1`, and the name for people.

    None takes the GPU if there is one. Of a GPU only as much memory as is needed is taken.

    Raises:
        InputError: TensorFlow has no such device.
    """
    gpus = tf.config.list_physical_devices("GPU")
    kind, _, number = (name or ("cuda" if gpus else "cpu")).partition(":")
    if kind == "cpu":
        return "/CPU:0", "cpu"
    if kind != "cuda" or int(number or 0) >= len(gpus):
        raise InputError(f"-device_str {name}: TensorFlow sees {len(gpus)} GPUs")
    gpu = gpus[int(number or 0)]
    with contextlib.suppress(RuntimeError):  # in use already: it can only be set before
        tf.config.experimental.set_memory_growth(gpu, True)
    return f"/GPU:{number or 0}", tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")


def _check_output(network: keras.Model, n_classes: int) -> None:
    outputs = network.output if isinstance(network.output, list) else [network.output]
    shapes = [tuple(output.shape[1:]) for output in outputs]
    if len(shapes) > 1 or len(shapes[0]) > 1 or shapes[0][0] < n_classes:
        raise ValueError(f"the network ends in {shapes} per image, not in one vector of {n_classes} classes")


def _n_right(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(tf.argmax(logits, 1) == labels)


def zoom(images: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
    """Scale the distance of every sampled point to the image's centre; outside, the border repeats.

    Args:
        images: (n, H, W, C).
        scales: (n, 2), horizontal and vertical; above 1 shrinks the content, below 0 mirrors it.
    """
    h, w = images.shape[1:3]
    (x, y), zero = tf.unstack(scales, axis=1), tf.zeros_like(scales[:, 0])
    maps = tf.stack([x, zero, (1 - x) * (w - 1) / 2, zero, y, (1 - y) * (h - 1) / 2, zero, zero], 1)
    return keras.ops.image.affine_transform(
        images, maps, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
    )
