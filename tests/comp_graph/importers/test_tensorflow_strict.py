"""What was once read wrongly from Keras comes in exactly, or is refused with the name of its layer."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")
import keras

from model_src.comp_graph.importers.tensorflow import from_keras
from tests.comp_graph.importers.keras_models import LIMIT, L, between, difference, small

ops = keras.ops
CONSTANT = np.random.default_rng(0).standard_normal((16, 16, 8)).astype(np.float32)


def conv(x, **options):
    return L.Conv2D(8, 3, padding="same", **options)(x)


def dense_head(x):
    return L.Dense(5, name="head")(L.Flatten()(x))


# Layers between two convolutions, and the name that stands in a refusal.
ROWS = {
    "leaky relu": (L.LeakyReLU(0.2), "leaky_re_lu"),
    "prelu of channels": (L.PReLU(shared_axes=[1, 2], name="odd"), "odd"),
    "prelu of every number": (L.PReLU(name="odd"), "odd"),
    "hard silu": (L.Activation("hard_silu", name="odd"), "odd"),
    "hard swish": (L.Activation("hard_swish", name="odd"), "odd"),
    "hard sigmoid": (L.Activation("hard_sigmoid", name="odd"), "odd"),
    "elu": (L.ELU(name="odd"), "odd"),
    "scaled branch": (lambda x: x + 0.17 * conv(x), ""),
    "average": (lambda x: L.Average(name="odd")([x, conv(x)]), "odd"),
    "maximum": (lambda x: L.Maximum(name="odd")([x, conv(x)]), "odd"),
    "offset": (lambda x: x + 3.0, ""),
    "negative": (lambda x: -x, ""),
    "factor": (lambda x: x * 2.0, ""),
    "offset of every number": (lambda x: ops.add(x, CONSTANT), ""),
    "subtract": (lambda x: L.Subtract(name="odd")([x, conv(x)]), "odd"),
    "quotient": (lambda x: x / (2.5 + ops.tanh(conv(x))), ""),
    "cropping": (L.Cropping2D(4, name="odd"), "odd"),
    "every other pixel": (lambda x: x[:, ::2, ::2], ""),
    "some channels": (lambda x: x[..., 4:], ""),
    "split": (lambda x: (lambda a, b: a * ops.sigmoid(b))(*ops.split(x, 2, -1)), ""),
    "softmax": (L.Softmax(name="odd"), "odd"),
    "mean of channels": (lambda x: x * ops.mean(x, -1, keepdims=True), ""),
    "mean of rows": (lambda x: x * ops.mean(x, 1, keepdims=True), ""),
    "concatenated rows": (lambda x: L.Concatenate(axis=1, name="odd")([x, conv(x)]), "odd"),
    "reflected border": (lambda x: ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "reflect"), ""),
    "border of ones": (lambda x: ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1.0), ""),
    "rescaling": (L.Rescaling(1 / 127.5, -1.0, name="odd"), "odd"),
    "normalisation": (L.Normalization(mean=np.arange(8.0), variance=np.arange(1.0, 9.0), name="odd"), "odd"),
    "dilated": (L.Conv2D(8, 3, dilation_rate=2, padding="same", name="odd"), "odd"),
    "dilated without padding": (L.Conv2D(8, 3, dilation_rate=2, name="odd"), "odd"),
    "dilated depthwise": (L.DepthwiseConv2D(3, dilation_rate=2, padding="same", name="odd"), "odd"),
    "transposed": (L.Conv2DTranspose(8, 3, strides=2, padding="same", name="odd"), "odd"),
    "channel multiplier": (L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="odd"), "odd"),
    "grouped": (L.Conv2D(8, 3, groups=2, padding="same", name="odd"), "odd"),
    "upsampling": (L.UpSampling2D(2, name="odd"), "odd"),
    "bilinear upsampling": (L.UpSampling2D(2, interpolation="bilinear", name="odd"), "odd"),
    "layer norm": (L.LayerNormalization(name="odd"), "odd"),
    "group norm": (L.GroupNormalization(2, name="odd"), "odd"),
    "unit norm": (L.UnitNormalization(name="odd"), "odd"),
    "batch norm": (lambda x: L.BatchNormalization()(L.Add()([x, conv(x)])), ""),
    "separable": (L.SeparableConv2D(6, 3, padding="same", depth_multiplier=2, name="odd"), "odd"),
    "global maximum": (lambda x: x * L.GlobalMaxPooling2D(keepdims=True, name="odd")(x), "odd"),
    "squeeze and excite": (
        lambda x: x * L.Dense(8, activation="sigmoid")(L.Reshape((1, 1, 8))(L.GlobalAveragePooling2D()(x))),
        "",
    ),
    "dense on pixels": (L.Dense(6, name="odd"), "odd"),
    "permuted": (L.Permute((2, 1, 3), name="odd"), "after"),
    "pixel shuffle": (lambda x: ops.reshape(x, (-1, 32, 32, 2)), ""),
}
MAY_BE_REFUSED = frozenset({
    "bilinear upsampling", "border of ones", "concatenated rows", "cropping", "every other pixel", "global maximum",
    "group norm", "layer norm", "maximum", "mean of channels", "mean of rows", "offset of every number", "permuted",
    "pixel shuffle", "prelu of every number", "reflected border", "softmax", "some channels", "split", "transposed",
    "unit norm", "upsampling",
})  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_nothing_is_read_wrongly(name):
    body, layer = ROWS[name]
    model = between(body)
    try:
        found = from_keras(model, check=False)
    except ValueError as refusal:
        text = str(refusal)
    else:
        assert difference(model, found) <= LIMIT
        return
    assert name in MAY_BE_REFUSED
    assert "\n" not in text
    assert f"'{layer}" in text


@pytest.mark.parametrize("head", [dense_head, L.GlobalAveragePooling2D(), L.Flatten()])
def test_results_have_the_shape_of_the_model(head):
    model = between(L.ReLU(), 8, end=head)
    assert difference(model, from_keras(model)) <= LIMIT


def test_a_softmax_at_the_end_is_left_out_of_the_graph_only(caplog):
    model = small()
    found = from_keras(model)
    assert "(Softmax): left out" in caplog.text
    assert [node.operation.name for node in found.graph.nodes][-2:] == ["mean", "output"]
    assert difference(model, found) <= LIMIT
    assert found.graph.name == "small"
    assert {"stem", "norm"} <= {node.str_id.split("|")[1].split("/")[0] for node in found.graph.nodes}
