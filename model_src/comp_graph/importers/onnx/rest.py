"""What comes behind a tensor of an ONNX model, ready to be put behind another network for what is in front of it."""

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference, version_converter

from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.onnx_types import OPSET


def rest_behind(found: ImportedNetwork, model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """The rest of a network behind the graph of the part in front of it.

    Args:
        found: What was read of the part.
        model: The rest; its first input is the part's result as the original lays it out. It is changed.
        batch: Images at once; None for any number.

    Raises:
        ValueError: The part's result is laid out as no map, or ONNX cannot raise the rest to the version of its
            operations in which graphs are written.
    """
    groups = _groups(found.output_axes)
    if sorted("".join(groups)) not in (sorted("NCHW"), sorted("NC")):
        raise ValueError(f"what is to be searched ends in a tensor laid out as {found.output_axes}; name another one")
    h, w, c = found.graph.nodes[found.graph.output_index].out_shape
    tensor, count = model.graph.input[0].name, batch or "N"
    sizes = {"C": c, "H": h, "W": w}
    inner = [prod(sizes[axis] for axis in group if axis != "N") for group in groups]
    known = all(group == "N" or "N" not in group for group in groups)
    shape = [count if group == "N" else size for group, size in zip(groups, inner, strict=True)] if known else None
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape))
    model = _raised(model)
    graph, nodes = model.graph, [*_layout(found, groups, inner, model.graph), *model.graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)
    own = [count, c] if (h, w) == (1, 1) else [count, c, h, w]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(nodes[0].input[0], TensorProto.FLOAT, own))
    return shape_inference.infer_shapes(model)


def _groups(axes: str) -> list[str]:
    """The letters of each axis of a layout: N, HW and C of `N(HW)C`."""
    groups: list[str] = []
    is_open = False
    for letter in axes:
        if letter in "()":
            is_open = letter == "("
            groups += [""] * is_open
        elif is_open:
            groups[-1] += letter
        else:
            groups.append(letter)
    return groups


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in the version of ONNX's operations in which graphs are written, unless it has a newer one."""
    own = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=1)
    if own >= OPSET:
        return model
    try:
        return version_converter.convert_version(shape_inference.infer_shapes(model), OPSET)
    except Exception as error:  # of no class of its own
        reason = " ".join(str(error).split())
        raise ValueError(
            f"what comes behind is in version {own} of ONNX and cannot be raised to {OPSET}: {reason}"
        ) from error


def _layout(
    found: ImportedNetwork, groups: list[str], inner: list[int], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """What lays a result, (N, C) or (N, C, H, W), out as the original does; the last node gives its tensor."""
    tensor, letters = graph.input[0].name, "".join(groups)
    h, w, _ = found.graph.nodes[found.graph.output_index].out_shape
    steps: list[tuple[str, dict[str, Any], list[int]]] = []
    if (h, w) == (1, 1) and letters != "NC":
        steps.append(("Reshape", {}, [0, -1, 1, 1]))
    if letters not in ("NC", "NCHW"):
        steps.append(("Transpose", {"perm": ["NCHW".index(letter) for letter in letters]}, []))
    if len(groups) < len(letters):
        steps.append(("Reshape", {}, [-1 if "N" in group else size for group, size in zip(groups, inner, strict=True)]))
    if found.left_out is not None:
        steps.append((found.left_out.function, {"axis": found.left_out.axis}, []))
    names = [f"{tensor}/searched_{number}" for number in range(max(1, len(steps)))] + [tensor]
    nodes = []
    for number, (kind, attributes, target) in enumerate(steps or [("Identity", {}, [])]):
        inputs = [names[number]]
        if target:
            inputs.append(f"{names[number]}/shape")
            graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), inputs[1]))
        nodes.append(helper.make_node(kind, inputs, [names[number + 1]], f"{tensor}/layout_{number}", **attributes))
    return nodes
