"""Small Keras models, and what becomes of them."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from model_src.comp_graph.importers.tensorflow import rebuild  # noqa: E402

L = keras.layers
LIMIT = 1e-4  # of the largest result


def between(body, size=16, end=None) -> keras.Model:
    """A model with something between two convolutions."""
    image = keras.Input((size, size, 3))
    x = body(L.Conv2D(8, 3, padding="same", name="before")(image))
    x = L.Conv2D(4, 3, padding="same", name="after")(x) if end is None else end(x)
    return randomised(keras.Model(image, x, name="net"))


def small() -> keras.Model:
    """A model of the layers that classifiers are made of."""
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, padding="same", strides=2, name="stem")(image)
    x = L.ReLU(6.0)(L.BatchNormalization(name="norm")(x))
    left = L.Activation("swish")(L.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    right = L.Activation("gelu")(L.AveragePooling2D(3, 1, "same")(x))
    x = L.Dropout(0.5)(L.Concatenate()([L.Add()([left, right]), right]))
    x = L.GlobalAveragePooling2D()(L.ZeroPadding2D(1)(x))
    return randomised(keras.Model(image, L.Dense(10, activation="softmax")(x), name="small"))


def randomised(model: keras.Model) -> keras.Model:
    """The model with biases, normalisations and slopes that are no zeros and ones."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) != 4 and weight.dtype == "float32":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def difference(model: keras.Model, found) -> float:
    """The largest difference between a model and what was read of it, as a part of the largest result."""
    import torch

    images = np.random.default_rng(1).standard_normal((2, *model.input_shape[1:])).astype(np.float32)
    wanted = np.asarray(model(images, training=False))
    with torch.inference_mode():
        got = rebuild(found)(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())
