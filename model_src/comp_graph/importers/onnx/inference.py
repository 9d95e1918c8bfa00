"""The sizes of a model's tensors, where ONNX's own inference needs help."""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from model_src.comp_graph.importers.onnx.limits import array, check_joined

_AS_LARGE = frozenset({"GroupNormalization"})  # as its input, which inference does not know
MOST_FACTORS = 64  # of a resize
_UP = "/rounded up"


def with_sizes(model: onnx.ModelProto, image: onnx.ValueInfoProto) -> onnx.ModelProto:
    """The model with the sizes of its tensors.

    Args:
        model: It is changed: sizes that it was exported with are forgotten.
        image: Its input.

    Raises:
        ValueError: ONNX does not accept it.
    """
    model.graph.ClearField("value_info")  # sizes of the image that it was exported for, or what was known before
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    check_joined(model.graph)
    unknown = {place: node for place, node in enumerate(model.graph.node) if _is_as_large(node)}
    own = {place: node.SerializeToString() for place, node in unknown.items()}
    for node in unknown.values():
        node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output[:1]))
    try:
        model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError as error:
        size = " x ".join(str(dim.dim_value) for dim in image.type.tensor_type.shape.dim)
        reason = " ".join(str(error).split())
        raise ValueError(f"ONNX does not accept the model for an input of {size}: {reason}") from error
    for place, text in own.items():
        model.graph.node[place].ParseFromString(text)
    return model


def _is_as_large(node: onnx.NodeProto) -> bool:
    return node.op_type in _AS_LARGE and node.domain in ("", "ai.onnx") and len(node.input) == 3


def with_factors_up(graph: onnx.GraphProto, constants: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Make the factors of resizes larger by the least that there is.

    Most are quotients of sizes that were rounded to float32, so that 14 pixels times 9 / 14 may be less than 9, of
    which inference makes 8.

    Args:
        graph: It is changed: resizes read new constants.
        constants: Tensors by name.

    Returns:
        The new constants.
    """
    known = dict(_literals(graph)) | dict(constants)
    new: dict[str, np.ndarray] = {}
    for node in graph.node:
        place = _place_of_factors(node)
        name = node.input[place] if place < len(node.input) else ""
        factors = known.get(name)
        if factors is None or name.endswith(_UP) or factors.dtype != np.float32 or factors.size > MOST_FACTORS:
            continue
        if not np.array_equal(larger := _up(factors), factors):
            node.input[place], new[name + _UP] = name + _UP, larger
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in new.items())
    return new


def _literals(graph: onnx.GraphProto) -> Iterator[tuple[str, np.ndarray]]:
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            yield node.output[0], array(node.attribute[0].t)


def _place_of_factors(node: onnx.NodeProto) -> int:
    if node.op_type not in ("Resize", "Upsample"):
        return len(node.input)
    return 2 if node.op_type == "Resize" and len(node.input) > 2 else 1


def _up(factors: np.ndarray) -> np.ndarray:
    """The next numbers for those that are no whole factors and no reciprocals of such."""
    with np.errstate(all="ignore"):
        is_exact = (factors == np.round(factors)) | (1 / factors == np.round(1 / factors))
    larger: np.ndarray = np.where(is_exact, factors, np.nextafter(factors, np.float32(np.inf)))
    return larger
