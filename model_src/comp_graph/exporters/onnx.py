"""Computation graph -> ONNX, one ONNX node per graph node wherever ONNX has the operation."""

from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from model_src.comp_graph.exporters.names import layer_names
from model_src.comp_graph.exporters.onnx_forms import FORMS
from model_src.comp_graph.exporters.onnx_join import with_rest
from model_src.comp_graph.exporters.onnx_writer import Writer
from model_src.comp_graph.exporters.trace import trace
from model_src.comp_graph.onnx_types import OPSET
from model_src.comp_graph.rest import Rest
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.files import atomic_write

__all__ = ["FORMS", "save_onnx", "to_onnx"]

IR_VERSION = 9  # what came with that version of the operations


def save_onnx(cg: ComputeGraph, path: str | Path, network: TorchNetwork, rest: Rest | None = None) -> Path:
    """Write a network as ONNX: input `image` (N, C, H, W) of any batch size N, output `output`.

    With what comes behind it the outputs are those of the whole network, and N may be fixed.

    Returns:
        The path.

    Raises:
        ValueError: See `to_onnx` and `with_rest`.
    """
    path = Path(path)
    model = to_onnx(cg, network)
    content = (with_rest(model, rest) if rest else model).SerializeToString()
    with atomic_write(path) as file:
        file.write(content)
    return path


def to_onnx(cg: ComputeGraph, network: TorchNetwork) -> onnx.ModelProto:
    """The network in ONNX, accepted by ONNX's own checker.

    Several outputs are called `output_0`, `output_1`, ...; weights have the names that they have in PyTorch,
    in the network that they came from if that is known.

    Args:
        cg: The graph.
        network: Its network with the weights to write.

    Raises:
        ValueError: An operation has no form in ONNX, or a node gets fewer channels than it needs.
    """
    names, writer = layer_names(network.plan), Writer()
    steps = [one._replace(step=replace(one.step, name=names[one.step.name])) for one in trace(cg, network)]
    for position, traced in enumerate(steps):
        writer.write(position, traced)
    ends = network.plan.outputs
    titles = ["output"] if len(ends) == 1 else [f"output_{number}" for number in range(len(ends))]
    squeezed = len(ends) == 1 and network.squeeze_output
    outputs = []
    for name, position in zip(titles, ends, strict=True):
        value = writer.vector(position) if squeezed else writer.map(position)
        writer.add("Identity", [value], name)
        shape = steps[position].after[: 1 if squeezed else 3]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
    _, h, w, c = cg.input_shape
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", c, h, w])
    graph = helper.make_graph(writer.nodes, cg.name or "network", [image], outputs, list(writer.constants.values()))
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="AutoGO")
    onnx.checker.check_model(model, full_check=True)
    return model
