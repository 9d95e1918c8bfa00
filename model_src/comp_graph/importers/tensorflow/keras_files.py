"""Keras models and their files -> computation graphs with weights. No file runs code."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from constants import DOMAIN_NORMALISERS
from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.options import given_size
from model_src.comp_graph.importers.tensorflow.graph_def import freeze
from model_src.comp_graph.importers.tensorflow.limits import check_keras
from model_src.comp_graph.importers.tensorflow.strict import read_frozen
from model_src.comp_graph.rest import Rest
from model_src.comp_graph.tf_comp_graph import Shape
from model_src.files import InputError, regular_file
from model_src.runtime import import_tensorflow

_HDF5 = b"\x89HDF"
_GIVE = "give its height, width and channels (-input_h, -input_w and -input_c)"


def load_keras(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    normalisers: Mapping[str, int | None] | None = DOMAIN_NORMALISERS,
    check: bool = True,
    output_node: str | None = None,
) -> ImportedNetwork:
    """Read a `.keras` or `.h5` file; the graph is named after it. Arguments as for `load_pb` and `from_keras`.

    Raises:
        InputError: The file is missing, damaged, has layers that are not Keras' own or an operation that a graph cannot
            hold, the graph does not compute what the model does, or the model cannot be cut there.
    """
    path = Path(path)
    size = given_size(path, input_h, input_w, input_c)
    if not regular_file(path).exists():
        raise InputError(f"{path}: No such file")
    if not (zipfile.is_zipfile(path) if path.suffix == ".keras" else _begin(path) == _HDF5):
        raise InputError(f"{path}: not a Keras file, or cut short")
    try:
        import_tensorflow()
        import keras

        check_keras(path)
        try:
            with keras.StatelessScope(
                initialize_variables=False
            ):  # are its weights those of its layers? without memory
                _loaded(path)
        finally:
            keras.utils.clear_session(free_memory=False)  # or Keras would make these variables later
        return from_keras(_loaded(path), size, path.stem, normalisers, check, output_node)
    except (OSError, ValueError, RecursionError, ImportError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: {error}") from error


def _loaded(path: Path) -> Any:
    """The model; Keras' safe mode refuses what would run code: lambdas and classes of other packages."""
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of many kinds: whatever Keras meets in a damaged file
        raise ValueError(str(error) or type(error).__name__) from error


def _begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_HDF5))


def from_keras(
    model: Any,
    input_size: Shape | None = None,
    name: str | None = None,
    normalisers: Mapping[str, int | None] | None = None,
    check: bool = True,
    output_node: str | None = None,
) -> ImportedNetwork:
    """Build the graph of a Keras model as it runs at inference.

    Args:
        model: The model; it maps one batch of images (N, H, W, C) to one tensor.
        input_size: (H, W, C); None takes the model's own.
        name: Architecture name; None takes the model's.
        normalisers: Feature normalisers by name; those not given are derived from the graph.
        check: Whether to compare what was read with the model on random images.
        output_node: A layer with whose result the graph ends; what comes behind it becomes the `rest`. The model may
            have several outputs then.

    Raises:
        ValueError: The model has no fixed input size and none was given, it has an operation that a graph cannot hold,
            the graph does not compute what it does, or the model cannot be cut there.
    """
    if output_node is not None:
        return _part(model, output_node, input_size, name or model.name, normalisers, check)
    frozen = _frozen(model, input_size or _own_size(model))
    network = read_frozen(frozen, name or model.name, None, normalisers, _LayerNames(model))
    return network.checked(network.found) if check else network.found


def _own_size(model: Any) -> Shape:
    """(H, W, C) of the images that a model was made for.

    Raises:
        ValueError: It does not say that, or takes something else than one batch of images.
    """
    try:
        shape = tuple(model.input_shape)
    except (AttributeError, ValueError) as error:  # of its own class, or not built
        raise ValueError(f"the model does not say the size of its images; {_GIVE}") from error
    if len(shape) != 4 or any(size is not None and not isinstance(size, int) for size in shape):
        raise ValueError(f"the model's input {model.input_shape} is not one batch of images (N, H, W, C)")
    if None in shape[1:]:
        raise ValueError(f"the model's input {shape[1:]} is no fixed (H, W, C); {_GIVE}")
    return shape[1], shape[2], shape[3]


def _frozen(model: Any, size: Shape) -> Any:
    """The model as a frozen graph for images of (H, W, C).

    Raises:
        ValueError: It cannot be built for them.
    """
    try:
        # Of one image, Keras takes a map of one pixel for a bias.
        return freeze(partial(model, training=False), size, batch=2)
    except Exception as error:  # of many kinds: whatever a layer meets
        images = " x ".join(map(str, size))
        raise ValueError(f"the model cannot be built for images of {images} (H x W x C): {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What an error of a layer says, without the places in the code of Keras."""
    text = str(error)
    bold = re.search(r"\x1b\[1m(.+?)\x1b\[0m", text, re.DOTALL)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(bold[1].split()) if bold else lines[-1] if lines else type(error).__name__


def _part(
    model: Any,
    output_node: str,
    input_size: Shape | None,
    name: str,
    normalisers: Mapping[str, int | None] | None,
    check: bool,
) -> ImportedNetwork:
    """Build the graph of a model up to a layer; what comes behind goes along."""
    from model_src.comp_graph.importers.onnx.rest import rest_behind
    from model_src.comp_graph.importers.onnx.runtime import results_of
    from model_src.comp_graph.importers.tensorflow.keras_parts import cut_model, to_onnx

    front, behind = cut_model(model, output_node)
    found = from_keras(front, input_size, name, normalisers, check)
    rest = rest_behind(found, to_onnx(behind), None)
    if check:
        from model_src.comp_graph.importers.check import check_rest

        def original(images: np.ndarray) -> list[np.ndarray]:
            results = model(images.transpose(0, 2, 3, 1), training=False)
            return [np.asarray(one) for one in import_tensorflow().nest.flatten(results)]

        check_rest(found, partial(results_of, rest), original)
    return replace(found, rest=Rest(rest))


class _LayerNames:
    """What a node is called: its layer, and the last part of its own name.

    Keras opens the scope of a layer `conv` twice, the second time for its operations: they are `net_1/conv_1/Conv2D`.
    """

    def __init__(self, model: Any):
        self._names = {layer.name for layer in _layers(model)}

    def __call__(self, node: str) -> str:
        """`net_1/conv_1/Conv2D` -> `conv/Conv2D`."""
        *scopes, own = node.split("/")
        for scope in reversed(scopes):
            for name in (re.sub(r"_\d+$", "", scope), scope):
                if name in self._names:
                    return f"{name}/{own}"
        return node


def _layers(model: Any) -> list[Any]:
    layers = list(getattr(model, "layers", ()))
    return layers + [inner for layer in layers for inner in _layers(layer)]
