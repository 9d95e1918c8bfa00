"""How operations that slide a window over a map, or change its size, are written in ONNX."""

from typing import Any

import numpy as np

from model_src.comp_graph.exporters.onnx_writer import FORMS, Writer
from model_src.comp_graph.exporters.trace import TracedStep
from model_src.comp_graph.moves import added_channels_of
from model_src.comp_graph.sizes import UNPADDED, pairs_of, window_of

__all__ = ["FORMS"]


@FORMS.register("conv", "depthwise", "grouped_conv")
def _conv(writer: Writer, traced: TracedStep, x: str) -> str:
    operands = writer.weights(traced, "weight", *(["bias"] if traced.layer.bias is not None else []))
    attributes = {**_window(traced), "dilations": window_of(traced.step.node).dilation, "group": traced.layer.groups}
    return writer.add("Conv", [x, *operands], traced.step.name, **attributes)


@FORMS.register("maxpool")
def _maxpool(writer: Writer, traced: TracedStep, x: str) -> str:
    dilations = window_of(traced.step.node).dilation
    return writer.add("MaxPool", [x], traced.step.name, **_window(traced), dilations=dilations)


@FORMS.register("avgpool")
def _avgpool(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("AveragePool", [x], traced.step.name, **_window(traced), count_include_pad=0)


def _window(traced: TracedStep) -> dict[str, tuple[int, ...]]:
    window = window_of(traced.step.node)
    (top, bottom), (left, right) = window.padding(*traced.before[1:])
    return {"kernel_shape": window.kernel, "strides": window.stride, "pads": (top, left, bottom, right)}


@FORMS.register("paddings")
def _paddings(writer: Writer, traced: TracedStep, x: str) -> str:
    name, step = traced.step.name, traced.step
    (top, bottom), (left, right) = pairs_of(step.node, "pad_h", "pad_w")
    operands = [writer.constant(f"{name}/pads", np.array([0, 0, top, left, 0, 0, bottom, right]))]
    if value := step.number("value", 0.0):
        operands.append(writer.constant(f"{name}/value", np.array(value, np.float32)))
    mode = (step.node.metadata or {}).get("mode", "constant")
    return writer.add("Pad", [x, *operands], name, **({} if mode == "constant" else {"mode": mode}))


@FORMS.register("pad_channels")
def _pad_channels(writer: Writer, traced: TracedStep, x: str) -> str:
    before, after = added_channels_of(traced.step.node)
    pads = writer.constant(f"{traced.step.name}/pads", np.array([0, before, 0, 0, 0, after, 0, 0]))
    return writer.add("Pad", [x, pads], traced.step.name)


@FORMS.register("conv2d_transpose")
def _transposed(writer: Writer, traced: TracedStep, x: str) -> str:
    """A transposed convolution of ONNX, which leaves nothing out if the layer does so itself."""
    name, layer = traced.step.name, traced.layer
    operands = writer.weights(traced, "weight", *(["bias"] if layer.bias is not None else []))
    attributes = {
        "kernel_shape": layer.kernel_size,
        "strides": layer.stride,
        "pads": layer.padding * 2,
        "output_padding": layer.output_padding,
        "dilations": layer.dilation,
        "group": layer.groups,
    }
    if layer.left_out != UNPADDED:
        (top, bottom), (left, right) = layer.left_out
        attributes["pads"] = (top, left, bottom, right)
    return writer.add("ConvTranspose", [x, *operands], name, **attributes)


@FORMS.register("resize")
def _resize(writer: Writer, traced: TracedStep, x: str) -> str:
    name, layer = traced.step.name, traced.layer
    modes = {"nearest": "nearest", "nearest-exact": "nearest", "bilinear": "linear", "bicubic": "cubic"}
    attributes: dict[str, Any] = {"mode": modes[layer.mode], "coordinate_transformation_mode": "half_pixel"}
    if layer.mode == "nearest":
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    elif layer.mode == "nearest-exact":
        attributes["nearest_mode"] = "round_prefer_ceil"
    elif layer.align_corners:
        attributes["coordinate_transformation_mode"] = "align_corners"
    if layer.mode == "bicubic":
        attributes["cubic_coeff_a"] = -0.75
    if layer.whole:
        scales = writer.constant(f"{name}/scales", np.array([1, 1, *layer.whole], np.float32))
        return writer.add("Resize", [x, "", scales], name, **attributes)
    sizes = writer.constant(f"{name}/sizes", np.array(traced.after[1:]))
    return writer.add("Resize", [x, "", "", sizes], name, **attributes, axes=(2, 3))


@FORMS.register("depthtospacend", "spacetodepthnd")
def _blocks(writer: Writer, traced: TracedStep, x: str) -> str:
    name, layer = traced.step.name, traced.layer
    b_h, b_w = layer.size
    if b_h == b_w and layer.is_split:
        mode = "CRD" if layer.channels_first else "DCR"
        return writer.add("DepthToSpace", [x], name, blocksize=b_h, mode=mode)
    if b_h == b_w and not layer.channels_first:
        return writer.add("SpaceToDepth", [x], name, blocksize=b_h)
    parts, order = layer.view(*traced.before)
    x = writer.add("Reshape", [x, writer.constant(f"{name}/parts", np.array([0, *parts]))], f"{name}/parted")
    x = writer.add("Transpose", [x], f"{name}/ordered", perm=order)
    return writer.add("Reshape", [x, writer.constant(f"{name}/size", np.array([0, *traced.after]))], name)


@FORMS.register("globalmax")
def _globalmax(writer: Writer, traced: TracedStep, x: str) -> str:
    return writer.add("GlobalMaxPool", [x], traced.step.name)


@FORMS.register("lrn")
def _lrn(writer: Writer, traced: TracedStep, x: str) -> str:
    layer = traced.layer
    numbers = {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "bias": layer.k}
    return writer.add("LRN", [x], traced.step.name, **numbers)
