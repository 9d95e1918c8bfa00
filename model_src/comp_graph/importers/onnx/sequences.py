"""Lists of tensors, as PyTorch writes `chunk`, `split` and `unbind`: what is taken out of them is a slice."""

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper


def without_sequences(graph: GraphProto, constants: dict[str, np.ndarray]) -> bool:
    """Replace what takes a part out of a list of parts of a tensor by what takes it out of the tensor.

    Args:
        graph: It is changed.
        constants: Tensors that do not depend on the image; those that the new operations read are added.

    Returns:
        Whether anything was replaced.
    """
    lists = {node.output[0]: node for node in graph.node if node.op_type == "SplitToSequence"}
    found = False
    for node in graph.node:
        if node.op_type != "SequenceAt" or node.input[0] not in lists or node.input[1] not in constants:
            continue
        inputs = _part(lists[node.input[0]], int(constants[node.input[1]]), constants)
        if inputs is None:
            continue
        (kind, tensor, axis), numbers = inputs
        names = [f"{node.output[0]}/{name}" for name in numbers]
        new = {name: np.array(value, np.int64) for name, value in zip(names, numbers.values(), strict=True)}
        constants |= new
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in new.items())
        replacement = helper.make_node(kind, [tensor, *names], node.output, node.name)
        if kind == "Gather":
            replacement.attribute.append(helper.make_attribute("axis", axis))
        replacement.metadata_props.extend(node.metadata_props)
        node.CopyFrom(replacement)
        found = True
    return found


def _part(
    split: NodeProto, at: int, constants: Mapping[str, np.ndarray]
) -> tuple[tuple[str, str, int], dict[str, int | list[int]]] | None:
    """The type, input and axis of the operation that gives a part, and its further inputs; None where it is unknown."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in split.attribute}
    axis = attributes.get("axis", 0)
    is_sized = len(split.input) > 1 and split.input[1]
    if not is_sized and not attributes.get("keepdims", 1):
        return ("Gather", split.input[0], axis), {"index": at}
    if at < 0 or (is_sized and split.input[1] not in constants):
        return None
    if not is_sized:
        start, stop = at, at + 1
    else:
        sizes = constants[split.input[1]]
        each = int(sizes) if sizes.ndim == 0 else int(sizes[at])
        start = at * each if sizes.ndim == 0 else int(sizes[:at].sum())
        stop = start + each
    return ("Slice", split.input[0], axis), {"starts": [start], "ends": [stop], "axes": [axis]}
