"""Converters of operations that change the sizes of maps, or look at more than the number in one place."""

from fractions import Fraction
from typing import Any

import numpy as np

from model_src.comp_graph.importers.onnx.activations import Converter
from model_src.comp_graph.importers.onnx.builder import Builder, Value
from model_src.comp_graph.importers.onnx.op import OnnxOp, shortest
from model_src.comp_graph.importers.onnx.windows import pad, pair, pool
from model_src.comp_graph.networks.plan import LRN_DEFAULTS
from model_src.comp_graph.sizes import Pads


def _transposed(builder: Builder, op: OnnxOp) -> Value:
    kernel, x, groups = builder.parameter(op, 1), builder.map(op), op.attributes.get("group", 1)
    if kernel.ndim != 4:
        raise op.error(f"a kernel of {kernel.ndim - 2} axes; only those of images can be read")
    h, w, c = builder.size(x)
    h_out, w_out = builder.shape(op.outputs[0])[2:]
    _, c_group, k_h, k_w = kernel.shape
    c_out = c_group * groups
    crops = _crops(op, (h, w), (k_h, k_w), (h_out, w_out))
    metadata: dict[str, Any] = {"data_format": "NHWC", "dilations": (1, *pair(op, "dilations"), 1)}
    metadata |= {"padding": "explicit", "crop_h": crops[0], "crop_w": crops[1]}
    if groups > 1:
        metadata["groups"] = groups
    fields: dict[str, Any] = {"strides": (1, *pair(op, "strides"), 1), "shape": (c, c_out, k_h, k_w)}
    value = builder.node("conv2d_transpose", op.name, [x], (h_out, w_out, c_out), metadata=metadata, **fields)
    builder.set_kernel(value, kernel, builder.bias(op, 2))
    return value


def _crops(op: OnnxOp, before: tuple[int, int], kernel: tuple[int, int], after: tuple[int, int]) -> Pads:
    """Pixels that a transposed convolution leaves out at each end of its full result."""
    stride, dilation = pair(op, "strides"), pair(op, "dilations")
    given, mode = op.attributes.get("pads") or (0, 0, 0, 0), op.attributes.get("auto_pad", b"NOTSET")
    crops: list[tuple[int, int]] = []
    for axis in range(2):
        full = (before[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        total = full - after[axis]
        first = given[axis]
        if mode.startswith(b"SAME") or "output_shape" in op.attributes:
            first = max(total + (mode != b"SAME_UPPER"), 0) // 2
        crops.append((first, total - first))
        if total - first <= -max(stride[axis], dilation[axis]):
            raise op.error(f"it adds {first - total} pixels, as many as it has strides or more")
    return crops[0], crops[1]


def _resize(builder: Builder, op: OnnxOp) -> Value:
    x = builder.map(op)
    before, after = builder.shape(op.inputs[0]), builder.shape(op.outputs[0])
    if before[:2] != after[:2]:
        raise op.error(f"it turns {before} into {after}; only pixels can be resized")
    factors = [Fraction(new, old) for old, new in zip(before[2:], after[2:], strict=True)]
    scales = builder.constant(op, 1 if len(op.inputs) == 2 else 2)
    if (scales is not None and scales.size and op.type != "Upsample") or op.type == "Upsample":
        numbers = [float(scale) for scale in (op.attributes.get("scales", ()) if scales is None else scales)]
        by_axis = dict(zip((int(axis) % 4 for axis in op.attributes.get("axes", range(4))), numbers, strict=False))
        given = [by_axis.get(axis, 1.0) for axis in (2, 3)]
        if not np.allclose(given, [float(factor) for factor in factors], rtol=1e-6):
            raise op.error(f"by factors of {given} it cuts pixels; give it sizes, or whole factors")
    elif op.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch" and factors[0] != factors[1]:
        raise op.error("it keeps the aspect ratio up to parts of pixels; give it the sizes that it results in")
    metadata: dict[str, Any] = _resizing(op, before[2:], after[2:], builder.from_torch)
    metadata |= {f"factor_{axis}": factor.as_integer_ratio() for axis, factor in zip("hw", factors, strict=True)}
    size = (after[2], after[3], builder.size(x)[2])
    positive = builder.is_positive(x) and metadata["mode"] != "bicubic"
    return builder.node("resize", op.name, [x], size, positive=positive, metadata=metadata)


def _resizing(op: OnnxOp, before: tuple[int, ...], after: tuple[int, ...], from_torch: bool) -> dict[str, Any]:
    """The mode of a resize as PyTorch calls it.

    Raises:
        ValueError: PyTorch has no such.
    """
    default = "asymmetric" if op.type == "Upsample" or len(op.inputs) == 2 else "half_pixel"
    found = {name: value.decode() for name, value in op.attributes.items() if isinstance(value, bytes)}
    mode, places = found.get("mode", "nearest"), found.get("coordinate_transformation_mode", default)
    sizes = list(zip(before, after, strict=True))
    if mode == "nearest":
        rounding = found.get("nearest_mode", "floor" if default == "asymmetric" else "round_prefer_floor")
        read = [_nearest(places, rounding, *pair_) for pair_ in sizes]
        for name, offset in (("nearest", 0.0), ("nearest-exact", 0.5)):
            own = [np.floor((np.arange(new) + offset) * old / new) for old, new in sizes]
            if all(one is not None and np.array_equal(one, other) for one, other in zip(read, own, strict=True)):
                return {"mode": name}
    is_smooth = mode == "linear" or (mode == "cubic" and op.attributes.get("cubic_coeff_a", -0.75) == -0.75)
    is_plain = not any(op.attributes.get(name) for name in ("antialias", "exclude_outside"))
    is_half = places == "half_pixel" or (
        places == "pytorch_half_pixel" and (from_torch or all(new > 1 or old == 1 for old, new in sizes))
    )
    if is_smooth and is_plain and (is_half or places == "align_corners"):
        kind = {"linear": "bilinear", "cubic": "bicubic"}[mode]
        return {"mode": kind} if is_half else {"mode": kind, "corners": True}
    details = ", ".join(f"{name} {value}" for name, value in {**found, **_telling(op)}.items())
    raise op.error(f"a resize that PyTorch does not have ({details}) cannot be represented")


def _telling(op: OnnxOp) -> dict[str, Any]:
    return {name: value for name, value in op.attributes.items() if isinstance(value, int | float) and value}


def _nearest(places: str, rounding: str, old: int, new: int) -> np.ndarray | None:
    """Which pixels a resize takes along an axis, by ONNX's rules; None where they are not known."""
    at = np.arange(new) * old / new
    if places in ("half_pixel", "pytorch_half_pixel"):
        at = (np.arange(new) + 0.5) * old / new - 0.5
    elif places == "tf_half_pixel_for_nn":
        at = (np.arange(new) + 0.5) * old / new
    elif places == "align_corners":
        at = np.arange(new) * (old - 1) / max(new - 1, 1)
    elif places != "asymmetric":
        return None
    at = np.round(at, 9)
    rules = {
        "floor": np.floor(at),
        "ceil": np.ceil(at),
        "round_prefer_ceil": np.floor(at + 0.5),
        "round_prefer_floor": np.ceil(at - 0.5),
    }
    return np.clip(rules[rounding], 0, old - 1) if rounding in rules else None


def _to_pixels(builder: Builder, op: OnnxOp) -> Value:
    x, after = builder.map(op), builder.shape(op.outputs[0])
    metadata = {"order": "channels"} if op.attributes.get("mode") == b"CRD" else None
    return builder.node("depthtospacend", op.name, [x], (after[2], after[3], after[1]), metadata=metadata)


def _to_channels(builder: Builder, op: OnnxOp) -> Value:
    x, after = builder.map(op), builder.shape(op.outputs[0])
    metadata = {"order": "channels"} if op.attributes.get("mode") == b"CRD" else None
    return builder.node("spacetodepthnd", op.name, [x], (after[2], after[3], after[1]), metadata=metadata)


def _global_max(builder: Builder, op: OnnxOp) -> Value:
    x = builder.map(op)
    return _maximum(builder, op, x, x.axes)


def _reduce_max(builder: Builder, op: OnnxOp) -> Value:
    x, operand = builder.value(op), builder.constant(op, 1)
    axes = [int(axis) for axis in (op.attributes.get("axes", ()) if operand is None else operand.ravel())]
    letters = {x.axes[axis] for axis in axes} if "(" not in x.axes else set()
    left = {letter for letter, size in zip("HW", builder.size(x), strict=False) if size > 1} - letters
    if not letters or left or letters - set("HW"):
        raise op.error(f"it takes the maximum over axes {axes} of {x.axes}; only that of all pixels can be held")
    kept = "".join(letter for letter in x.axes if letter not in letters)
    return _maximum(builder, op, x, x.axes if op.attributes.get("keepdims", 1) else kept)


def _maximum(builder: Builder, op: OnnxOp, x: Value, axes: str) -> Value:
    size = (1, 1, builder.size(x)[2])
    return builder.node("globalmax", op.name, [x], size, axes, positive=builder.is_positive(x))


def _lrn(builder: Builder, op: OnnxOp) -> Value:
    x, size = builder.map(op), op.attributes["size"]
    if size % 2 == 0:
        raise op.error(f"it looks at {size} channels, not the same number on both sides; only that can be represented")
    numbers = {name: shortest(op.attributes.get(name, default)) for name, default in LRN_DEFAULTS.items()}
    metadata = {"size": size, **numbers}
    return builder.node("lrn", op.name, [x], builder.size(x), positive=builder.is_positive(x), metadata=metadata)


# Names of the operations that may be made of a type of ONNX operation, the type, and what makes them.
MAPS: tuple[tuple[tuple[str, ...], str, Converter], ...] = (
    (("paddings", "pad_channels"), "Pad", pad),
    (("maxpool", "paddings"), "MaxPool", pool),
    (("avgpool", "paddings"), "AveragePool", pool),
    (("conv2d_transpose",), "ConvTranspose", _transposed),
    (("resize",), "Resize", _resize),
    (("resize",), "Upsample", _resize),
    (("depthtospacend",), "DepthToSpace", _to_pixels),
    (("spacetodepthnd",), "SpaceToDepth", _to_channels),
    (("globalmax",), "GlobalMaxPool", _global_max),
    (("globalmax",), "ReduceMax", _reduce_max),
    (("lrn",), "LRN", _lrn),
)
