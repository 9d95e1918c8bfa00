"""Networks of other packages."""

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import torch
from exactness import ACROSS, Found, check_module, judged, refused, run, timed
from torch import nn

from model_src.comp_graph.importers.onnx.reader import load_onnx
from model_src.comp_graph.importers.torch import rebuild
from model_src.comp_graph.load import load_network
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.runtime import one_thread, torch_seed

MOST_PIXELS = 400 * 400  # larger inputs are made smaller
# One network per family of pytorchcv.
PYTORCHCV = Path(__file__).with_name("pytorchcv_families.txt").read_text(encoding="utf-8").split()


def check(source: str, name: str) -> Found:
    """Import a network of a source and hold it against the original."""
    disabled = logging.root.manager.disable
    with one_thread(), torch_seed(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            return SOURCES[source][1](name)
        finally:
            logging.disable(disabled)


# ---- pytorchcv ----


def _pytorchcv(name: str) -> Found:
    with _instead_of_torchvision():
        from pytorchcv.model_provider import get_model
    options = {}
    module = get_model(name, pretrained=False)
    if getattr(module, "aux", False):  # what it gives beside its result, in training above all
        options["aux"] = False
        module = get_model(name, pretrained=False, **options)
    own = h, w = getattr(module, "in_size", (224, 224))
    c = min(3, next(value.shape[1] for value in module.parameters() if value.ndim == 4))  # more: pixels become channels
    while h * w > MOST_PIXELS:
        h, w = h // 2, w // 2
    try:
        found = check_module(module, torch.randn(2, c, h, w))
    except (AssertionError, RuntimeError, ValueError) as error:  # some run at their own size only
        if (h, w) == own:
            return Found("failed", reason=" ".join(str(error).split())[:300])
        found = check_module(get_model(name, pretrained=False, **options), torch.randn(2, c, *own))
    notes = filter(None, (found.note, "without its auxiliary output (aux=False)" if options else ""))
    return found._replace(note="; ".join(notes))


@contextmanager
def _instead_of_torchvision() -> Iterator[None]:
    """What one of pytorchcv's networks wants of torchvision, for the others to be imported without it."""
    if find_spec("torchvision"):
        yield
        return
    names = ("torchvision", "torchvision.ops")
    for name in names:
        sys.modules[name] = ModuleType(name)
    vars(sys.modules[names[1]])["DeformConv2d"] = nn.Module
    yield
    for name in names:
        del sys.modules[name]


# ---- keras.applications ----


def _keras_names() -> list[str]:
    if not find_spec("keras"):
        return []
    import keras

    own = vars(keras.applications)
    return sorted(name for name, one in own.items() if callable(one) and name[0].isupper())


def _keras(name: str) -> Found:
    """A deep network of strong normalisations makes all of rounding; then weaker ones are to tell."""
    result = _keras_with(name, 0.3)
    if result.outcome != "wrong":
        return result
    weaker = _keras_with(name, 0.05)
    return weaker._replace(note=f"with normalisations of 0.05; with 0.3 it is {result.difference:.1e} off")


def _keras_with(name: str, scale: float) -> Found:
    import keras

    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    model = make(weights=None)
    if None in model.input_shape[1:]:
        model = make(weights=None, input_shape=(224, 224, 3))
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    _randomise_keras(model, images, rng, scale)
    theirs = np.asarray(model(images, training=False))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.keras"
        model.save(path)
        with timed() as took:
            try:
                found = load_network(path, check=False)
            except ValueError as error:
                return refused(error)
    if found.weights is None:
        return Found("refused", blockers="without-weights", reason="it comes in without weights")
    network = TorchNetwork(found.graph, squeeze_output=theirs.ndim == 2).eval()
    network.load_state_dict({key: torch.from_numpy(value) for key, value in found.state().items()})
    maps, kinds = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), (torch.float32, torch.float64)
    outputs = (_before_softmax(run(network, maps, kind), theirs) for kind in kinds)
    return judged(found.graph, outputs, ACROSS, took[0])


def _randomise_keras(model: Any, images: np.ndarray, rng: np.random.Generator, scale: float) -> None:
    """As `randomise`: statistics near those that images have, or deep networks would give the same for all."""
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in model.layers:
        if layer not in norms and getattr(layer, "bias", None) is not None:
            layer.bias.assign(_near(rng, layer.bias.shape, 0.0))
    for layer in norms:
        layer.momentum = 0.0
        for value, middle in ((layer.gamma, 1.0), (layer.beta, 0.0)):  # as they are, rounding would grow in every layer
            if value is not None:
                value.assign(scale * _near(rng, value.shape, middle, 0.6))
    model(images, training=True)
    for layer in norms:
        mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
        variance = np.maximum(variance, max(0.1 * variance.mean(), 1e-4))
        layer.moving_mean.assign(mean + _near(rng, mean.shape, 0.0) * np.sqrt(variance))
        layer.moving_variance.assign(variance * _near(rng, variance.shape, 1.0))
    last = next(layer for layer in reversed(model.layers) if getattr(layer, "kernel", None) is not None)
    while not np.min(model(images, training=False)) > 1e-30:  # a softmax from which no logit could be told
        last.kernel.assign(0.1 * last.kernel)


def _near(rng: np.random.Generator, shape: tuple[int, ...], middle: float, spread: float = 0.2) -> np.ndarray:
    return middle + rng.uniform(-spread, spread, shape).astype(np.float32)


def _before_softmax(*outputs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Outputs of a model that ends in a softmax, which may be left out, up to a number that all classes share."""
    if not any(np.allclose(one.sum(1), 1, atol=1e-3) and one.min() >= 0 for one in outputs):
        return outputs
    logits = [np.log(one) if np.allclose(one.sum(1), 1, atol=1e-3) else one for one in outputs]
    return tuple(one - one.mean(1, keepdims=True) for one in logits)


# ---- the light models of the onnx package ----


def _light_folder() -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def _light(name: str) -> Found:
    import onnxruntime

    model = onnx.load(_light_folder() / f"light_{name}.onnx")
    _give_weights(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        onnx.save(model, path)
        with timed() as took:
            try:
                found = load_onnx(path, check=False)
            except ValueError as error:
                return refused(error)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    images = np.random.default_rng(1).normal(size=(2, *image.shape[1:])).astype(np.float32)
    images[1] *= 4  # random weights see little but the contrast of noise
    theirs = np.concatenate([session.run(None, {image.name: one[None]})[0] for one in images])
    network, kinds = rebuild(found), (torch.float32, torch.float64)
    maps = torch.from_numpy(images).split(1)
    outputs = ((np.concatenate([run(network, one, kind) for one in maps]), theirs) for kind in kinds)
    return judged(found.graph, outputs, ACROSS, took[0])


def _give_weights(model: onnx.ModelProto) -> None:
    """Random weights for a model that makes them of one number; no softmax at its end, where all would be 0 or 1."""
    rng = np.random.default_rng(0)
    shapes = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    products = {name for node in model.graph.node if node.op_type == "Mul" for name in node.input}
    factors = {node.input[0] for node in model.graph.node if node.op_type == "Unsqueeze" and node.output[0] in products}
    near_one = factors.union(products, *((node.input[1], node.input[4]) for node in norms))
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        shape = tuple(int(size) for size in shapes[node.input[0]])
        if len(shape) > 1:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            value = rng.uniform(0.5, 1.5, shape) if node.output[0] in near_one else rng.normal(0, 0.1, shape)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), node.output[0]))
    if kept[-1].op_type == "Softmax":
        model.graph.output[0].name = kept.pop().input[0]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def names_of(source: str) -> list[str]:
    """The networks of a source that can be tried here."""
    return SOURCES[source][0]()


# Source -> its networks, and the check of one.
SOURCES: dict[str, tuple[Callable[[], list[str]], Callable[[str], Found]]] = {
    "light": (lambda: sorted(path.stem.removeprefix("light_") for path in _light_folder().glob("*.onnx")), _light),
    "pytorchcv": (lambda: PYTORCHCV if find_spec("pytorchcv") else [], _pytorchcv),
    "keras.applications": (_keras_names, _keras),
}
