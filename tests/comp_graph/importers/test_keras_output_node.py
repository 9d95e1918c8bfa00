"""Keras models of which only the part in front of a layer's result is read."""

import warnings

import numpy as np
import onnx
import pytest

from model_src.comp_graph.exporters.files import export_network, network_of
from model_src.comp_graph.importers.onnx.runtime import OnnxRun
from model_src.comp_graph.inheritance import all_of
from model_src.comp_graph.load import load_part
from model_src.files import InputError

keras = pytest.importorskip("keras")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    keras.utils.set_random_seed(0)
    layers, image = keras.layers, keras.Input((16, 16, 3), name="image")
    features = layers.ReLU(name="features")(layers.Conv2D(8, 3, 2, "same", name="stem")(image))
    joined = layers.Add(name="sum")([features, layers.Conv2D(8, 3, padding="same", name="neck")(features)])
    mean = layers.GlobalAveragePooling2D(name="mean")(joined)
    outputs = {"mask": layers.Conv2D(2, 1, name="mask")(joined), "classes": layers.Dense(4, name="classes")(mean)}
    model = keras.Model(image, outputs)
    path = tmp_path_factory.mktemp("keras") / "detector.keras"
    with warnings.catch_warnings():  # Keras' own
        warnings.simplefilter("ignore")
        model.save(path)
    return path, model


def test_a_model_goes_on_behind_its_part(saved, tmp_path):
    path, model = saved
    (graph, weights), rest = load_part(path, "features")
    assert graph.n_nodes < 6
    network = network_of(graph, inherited=all_of(weights))
    (file,) = export_network(graph, tmp_path / "whole", ["onnx"], network, rest)
    whole, images = onnx.load(file), np.random.default_rng(0).standard_normal((3, 3, 16, 16), np.float32)
    given = zip([value.name for value in whole.graph.output], OnnxRun(whole, (16, 16, 3)).results(images), strict=True)
    wanted = model(images.transpose(0, 2, 3, 1))
    for name, one in given:
        np.testing.assert_allclose(one, np.asarray(wanted[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("neck", "what comes behind it also needs 'features'"),
        ("mean", "what comes behind it also needs 'mask'"),
        ("feature", "the model has no layer of this name; close are 'features'"),
    ],
)
def test_what_a_model_cannot_be_cut_at_is_refused(saved, layer, reason):
    with pytest.raises(InputError, match=f"-output_node {layer}: {reason}"):
        load_part(saved[0], layer)
