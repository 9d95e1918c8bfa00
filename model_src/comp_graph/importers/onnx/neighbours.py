"""Local response normalisation as PyTorch spells it out: with an average of squares along the channels."""

from collections.abc import Mapping, Sequence

import numpy as np

from model_src.comp_graph.importers.onnx.op import OnnxOp


def with_lrn(
    ops: Sequence[OnnxOp], constants: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> list[OnnxOp]:
    """The operations with those that end such a normalisation replaced by it; what only it read is still there.

    Args:
        ops: In a topological order.
        constants: Tensors that do not depend on the image.
        shapes: Shape of every tensor.
    """
    producers = {name: op for op in ops for name in op.outputs}
    return [(op.type == "Div" and _as_lrn(op, producers, constants, shapes)) or op for op in ops]


def _as_lrn(
    op: OnnxOp,
    producers: Mapping[str, OnnxOp],
    constants: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> OnnxOp | None:
    """X / (bias + alpha mean(x x)) ^ beta as the operation that it is; None where it is something else."""
    x, name = op.inputs
    numbers: list[float] = []
    for kind in ("Pow", "Add", "Mul"):
        before = producers.get(name)
        if before is None or before.type != kind or len(before.inputs) != 2:
            return None
        number = constants.get(before.inputs[1])
        if number is None or number.size != 1:
            return None
        numbers.append(float(number.reshape(())))
        name = before.inputs[0]
    chain: list[OnnxOp] = []
    for kind in ("Reshape", "Squeeze", "AveragePool", "Pad", "Reshape", "Mul"):
        before = producers.get(name)
        if before is None or before.type != kind:
            return None
        chain.append(before)
        name = before.inputs[0]
    _, _, pool, pad, view, square = chain
    kernel = tuple(pool.attributes.get("kernel_shape", ()))
    size = kernel[0] if kernel else 0
    pads, wanted = constants.get(pad.inputs[1]), [0, 0, size // 2, 0, 0, 0, 0, size // 2, 0, 0]
    is_along_channels = kernel == (size, 1, 1) and size % 2 and pads is not None and pads.tolist() == wanted
    has_zeros = len(pad.inputs) == 2 and pad.attributes.get("mode", b"constant") == b"constant"
    shape = shapes.get(x, ())
    is_one_map = shapes.get(view.outputs[0]) == (*shape[:1], 1, *shape[1:]) and square.inputs == (x, x)
    if not (is_along_channels and has_zeros and is_one_map) or any(pool.attributes.get("pads", ())):
        return None
    beta, bias, alpha = numbers
    return OnnxOp(op.name, "LRN", (x,), op.outputs, {"size": size, "alpha": alpha, "beta": beta, "bias": bias})
