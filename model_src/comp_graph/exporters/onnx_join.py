"""Puts what comes behind a part of a network back behind the part's own network, in ONNX."""

import onnx
from onnx import version_converter

from model_src.comp_graph.rest import Rest


def with_rest(front: onnx.ModelProto, rest: Rest) -> onnx.ModelProto:
    """One model of two: input `image`, and the results of the rest under their own names.

    Args:
        front: A part's network as `to_onnx` writes it; it is changed.
        rest: What comes behind; it goes in as it is.

    Raises:
        ValueError: The rest takes another tensor than the part gives, or ONNX does not accept the whole.
    """
    model = onnx.ModelProto()
    model.CopyFrom(rest.model)
    _check_fit(front.graph.output[0], model.graph.input[0])
    own, other = (_version(one) for one in (front, model))
    if other > own:
        front = version_converter.convert_version(front, other)
    _rename(front.graph, model.graph)
    graph, behind = front.graph, model.graph
    batch = behind.input[0].type.tensor_type.shape.dim[0]
    graph.input[0].type.tensor_type.shape.dim[0].CopyFrom(batch)
    nodes, inputs = [*graph.node, *behind.node], [*graph.input, *list(behind.input)[1:]]
    for field, values in (("node", nodes), ("input", inputs)):
        behind.ClearField(field)
        getattr(behind, field).extend(values)
    behind.initializer.extend(graph.initializer)
    behind.name = graph.name
    model.ir_version = max(model.ir_version, front.ir_version)
    model.producer_name = front.producer_name
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"ONNX does not accept the rest behind it: {' '.join(str(error).split())}") from error
    return model


def _check_fit(given: onnx.ValueInfoProto, wanted: onnx.ValueInfoProto) -> None:
    ours, theirs = ([dim.dim_value for dim in value.type.tensor_type.shape.dim][1:] for value in (given, wanted))
    if ours != theirs:
        sizes = " and ".join("x".join(map(str, one)) for one in (ours, theirs))
        raise ValueError(f"it gives another tensor than the one that the rest takes: {sizes}")


def _version(model: onnx.ModelProto) -> int:
    return max(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))


def _rename(front: onnx.GraphProto, rest: onnx.GraphProto) -> None:
    """Let the front give what the rest reads, and give other names to what both have."""
    taken = {one for node in rest.node for one in (node.name, *node.input, *node.output)}
    taken |= {tensor.name for tensor in rest.initializer} | {value.name for value in (*rest.input, *rest.output)}
    names = {front.output[0].name: rest.input[0].name}

    def new(name: str) -> str:
        if name not in names and name in taken:
            names[name] = f"{name}/searched"
        return names.get(name, name)

    for node in front.node:
        node.name = new(node.name)
        for field in (node.input, node.output):
            renamed = [new(name) for name in field]
            del field[:]
            field.extend(renamed)
    for tensor in front.initializer:
        tensor.name = new(tensor.name)
    for value in front.input:
        value.name = new(value.name)
