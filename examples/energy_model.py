"""A small model of the energy that a network takes per image, as an example of a program that a search asks.

    python autogo.py ... -objective "command:python examples/energy_model.py {onnx}" -objective_unit mJ

It reads an ONNX file and prints millijoules: so much for every multiply-accumulate, for every number of a map that is
written and read in on-chip memory, and for every weight that comes from DRAM, in float32. The figures are those of
M. Horowitz, "Computing's energy problem", ISSCC 2014 (45 nm): 4.6 pJ for a multiplication and an addition, 5 pJ for a
word from a small SRAM, 640 pJ for one from DRAM. A batch of unknown size is one image.
"""

import sys
from math import prod

import onnx

PJ_PER_MAC, PJ_PER_SRAM_WORD, PJ_PER_DRAM_WORD = 4.6, 5.0, 640.0


def shapes_of(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Name of every value -> its shape."""
    shapes = {one.name: list(one.dims) for one in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes.setdefault(value.name, [one.dim_value or 1 for one in value.type.tensor_type.shape.dim])
    return shapes


def macs_of(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    """Multiply-accumulates of a node: those of its kernel for every number of the result, or one each."""
    n_results = prod(shapes.get(node.output[0], [0]))
    if node.op_type == "Conv":
        return n_results * prod(shapes[node.input[1]][1:])
    if node.op_type in ("Gemm", "MatMul"):
        return n_results * shapes[node.input[0]][-1]
    return n_results


def picojoules(model: onnx.ModelProto) -> float:
    """Energy of one image."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes, weights = shapes_of(graph), {one.name for one in graph.initializer}
    macs = sum(macs_of(node, shapes) for node in graph.node)
    maps = [name for node in graph.node for name in (*node.input, *node.output) if name not in weights]
    moved = sum(prod(shapes.get(name, [0])) for name in maps)
    n_weights = sum(prod(shapes[name]) for name in weights)
    return PJ_PER_MAC * macs + PJ_PER_SRAM_WORD * moved + PJ_PER_DRAM_WORD * n_weights


if __name__ == "__main__":
    print(1e-9 * picojoules(onnx.load(sys.argv[1])))
