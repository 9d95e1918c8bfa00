"""Converters of operations that lay a tensor out in another way: its numbers stay, only what its axes are changes."""

from collections.abc import Mapping

from model_src.comp_graph.importers.onnx.activations import Converter
from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.op import OnnxOp


def _transpose(builder: Builder, op: OnnxOp) -> Value:
    x = builder.value(op)
    perm = op.attributes.get("perm")
    if perm is None or "(" in x.axes or perm[0] != 0:
        raise op.error(f"it reorders {x.axes} by {perm}; only the axes of one image can be")
    return x._replace(axes="".join(x.axes[axis] for axis in perm))


def _reshape(builder: Builder, op: OnnxOp) -> Value:
    """Flattening, axes of one pixel that come and go, and pixels as a batch of vectors."""
    x = builder.value(op)
    before, after = builder.shape(op.inputs[0]), builder.shape(op.outputs[0])
    h, w, c = builder.size(x)
    if before == after:
        return x
    if (x.axes, after) == ("NHWC", (before[0] * h * w, c)) and (h, w) != (1, 1):
        return x._replace(axes="(NHW)C")
    if x.axes == "(NHW)C" and after == (before[0] // (h * w), h, w, c):
        return x._replace(axes="NHWC")
    if after[0] == before[0] and "(" not in x.axes:
        if len(after) == 2:
            gone = "".join(letter for letter in "CHW" if letter not in x.axes)  # axes of one pixel
            return x._replace(axes="NC" if (h, w) == (1, 1) else f"N({x.axes[1:]}{gone})")
        axes = _with_unit_axes(x.axes, {"H": h, "W": w, "C": c}, after)
        if axes is not None:
            return x._replace(axes=axes)
    raise op.error(f"it turns {before} into {after}; only flattening can be represented")


def _with_unit_axes(axes: str, sizes: Mapping[str, int], after: tuple[int, ...]) -> str | None:
    """What the axes are where some of size 1 came or went; None where it changed otherwise."""
    kept = [axis for axis in axes[1:] if sizes[axis] > 1]
    if len(after) > 4 or [size for size in after[1:] if size > 1] != [sizes[axis] for axis in kept]:
        return None
    units = (axis for axis in "CHW" if sizes[axis] == 1)
    others = iter(kept)
    return "N" + "".join(next(others if size > 1 else units) for size in after[1:])


def _expand(builder: Builder, op: OnnxOp) -> Value:
    """Repeating a single channel, row or column; a factor of a product is repeated there."""
    x = builder.value(op)
    before, after = builder.shape(op.inputs[0]), builder.shape(op.outputs[0])
    reader = builder.only_reader(op.outputs[0])
    is_factor = reader is not None and reader.type == "Mul" and not any(map(builder.is_constant, reader.inputs))
    if before == after or (is_factor and len(before) == len(after) and before[0] == after[0]):
        return x
    if len(before) != len(after) or before[0] != after[0] or "(" in x.axes:
        raise op.error(f"it repeats {before} to {after}; only single channels, rows and columns can be repeated")
    sizes = dict(zip("HWC", builder.size(x), strict=True)) | dict(zip(x.axes, after, strict=True))
    return builder.broadcast(op.name, x, (sizes["H"], sizes["W"], sizes["C"]))


# Names of the operations that may be made of a type of ONNX operation, the type, and what makes them.
VIEWS: tuple[tuple[tuple[str, ...], str, Converter], ...] = (
    ((), "Transpose", _transpose),
    *(((), kind, _reshape) for kind in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")),
    (("broadcast",), "Expand", _expand),
)
