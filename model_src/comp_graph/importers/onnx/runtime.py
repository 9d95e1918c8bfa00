"""Runs an ONNX model: with onnxruntime where it is installed, otherwise with ONNX's own, slow evaluator."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
from onnx import helper, reference

from model_src.comp_graph.importers.onnx.model import image_of, is_channels_last
from model_src.comp_graph.tf_comp_graph import Shape


class OnnxRun:
    """A model that can be run on (N, C, H, W), whatever it takes.

    Attributes:
        batch: How many images it takes at once; None for any number.

    Args:
        model: The model; it is changed.
        size: (H, W, C) of the images.

    Raises:
        ValueError: It cannot be run.
    """

    def __init__(self, model: onnx.ModelProto, size: Shape):
        image = image_of(model.graph)
        self._name, dims = image.name, image.type.tensor_type.shape.dim
        self._kind = _kind(image)
        self._channels_last = is_channels_last(model.graph, image.name)
        self.batch = dims[0].dim_value or None
        h, w, c = size
        for dim, value in zip(list(dims)[1:], size if self._channels_last else (c, h, w), strict=True):
            dim.dim_value = value
        model.graph.ClearField("value_info")  # sizes of the image that it was exported for
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        with _one_kind_of_error():
            self._session = _session(model)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W), float32, to the first result.

        Raises:
            ValueError: It cannot be run.
        """
        return self.results(images)[0]

    def results(self, images: np.ndarray) -> list[np.ndarray]:
        """(N, C, H, W), float32, to all results.

        Raises:
            ValueError: It cannot be run.
        """
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if self._channels_last else images
        return _run(self._session, {self._name: images.astype(self._kind, copy=False)})


def _kind(image: onnx.ValueInfoProto) -> np.dtype:
    """The type of the numbers of an image.

    Raises:
        ValueError: They are no real numbers.
    """
    kind = helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type)
    if kind not in (np.float32, np.float64):
        raise ValueError(
            f"its input {image.name!r} is of type {kind}, so that it cannot be run on random images to check what was "
            "read; -no_check reads it nevertheless"
        )
    return kind


def results_of(model: onnx.ModelProto, tensor: np.ndarray) -> list[np.ndarray]:
    """Run a model on its first input; all its results.

    Raises:
        ValueError: It cannot be run.
    """
    with _one_kind_of_error():
        session = _session(model)
    return _run(session, {model.graph.input[0].name: tensor})


def _session(model: onnx.ModelProto) -> Any:
    return _onnxruntime(model) if find_spec("onnxruntime") else reference.ReferenceEvaluator(model)


def _run(session: Any, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    with _one_kind_of_error():
        return [np.asarray(result) for result in session.run(None, values)]


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Whatever a runtime says that it cannot run; their errors have no class in common but `Exception`."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"it cannot be run to check what was read: {error}; -no_check reads it nevertheless"
        ) from error


def _onnxruntime(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    content, providers = model.SerializeToString(), ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)  # which it prints
