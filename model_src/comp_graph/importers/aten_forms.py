"""PyTorch operations in ONNX, where its exporter would take them apart or write others; and those that are refused."""

from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import opset18 as op
from torch import fx

_aten = torch.ops.aten
_RANDOM = {
    _aten.dropout.default,
    _aten.alpha_dropout.default,
    _aten.feature_dropout.default,
    _aten.feature_alpha_dropout.default,
}


class Misread(ValueError):
    """An operation that PyTorch's exporter writes as another one; the text has its place in the module."""


def check_known(graph: fx.Graph) -> None:
    """Refuse what PyTorch's exporter would write as another operation.

    Raises:
        Misread: There is such an operation.
    """
    found = [f"{_place(node)}: {reason}" for node in graph.nodes if (reason := _not_known(node)) is not None]
    if found:
        raise Misread("; ".join(found))


def _not_known(node: fx.Node) -> str | None:
    """What is wrong with an operation; None where nothing is."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return None
    names = (argument.name for argument in node.target._schema.arguments)
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    if node.target in _RANDOM and given.get("train"):
        return "it drops numbers by chance, also at inference; let its `training` be that of the module"
    if node.target is _aten.avg_pool2d.default and given.get("divisor_override") and given.get("ceil_mode"):
        return "an average with ceil_mode and a divisor of its own cannot be represented"
    if node.target is _aten._upsample_nearest_exact2d.vec and given.get("scale_factors"):
        sizes = zip(given["input"].meta["val"].shape[2:], given["scale_factors"], strict=True)
        if any(_nearest(size, factor) != _nearest(size, int(size * factor) / size) for size, factor in sizes):
            return "it resizes by factors that leave no whole number of pixels; give it sizes"
    return None


def _nearest(size: int, factor: float) -> list[int]:
    """The pixels of an axis that are nearest to the middles of the new ones."""
    return [min(int((at + 0.5) / factor), size - 1) for at in range(int(size * factor))]


def _place(node: fx.Node) -> str:
    """Where an operation is in its module."""
    *_, (path, _kind) = (node.meta.get("nn_module_stack") or {"": ("", "")}).values()
    return f"{path or 'the module'} ({node.target})"


def _conv(x, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):  # type: ignore[no-untyped-def]
    """Convolution in ONNX; PyTorch's own form computes a bias of zeros where there is none."""
    if len(x.shape) != 4:
        raise ValueError("it takes single images")
    strides, pads, dilations = ([*sizes] * (2 // len(sizes)) for sizes in (stride, padding, dilation))
    return op.Conv(x, weight, bias, strides=strides, pads=pads * 2, dilations=dilations, group=groups)


def _batchnorm(x, weight, bias, mean, variance, training, momentum, eps, cudnn_enabled):  # type: ignore[no-untyped-def]
    """Batch normalisation at inference, in ONNX."""
    if training or weight is None:
        raise ValueError("it normalises by the batch, or without a scale")
    return op.BatchNormalization(x, weight, bias, mean, variance, epsilon=eps)


def _adaptive_mean(x, output_size):  # type: ignore[no-untyped-def]
    """Means of windows that cover the map and may overlap, in ONNX."""
    before, after = [int(size) for size in x.shape[-2:]], [int(size) for size in output_size]
    if after == [1, 1]:
        return op.ReduceMean(x, [-1, -2], keepdims=1)  # type: ignore[arg-type]
    if all(new % old == 0 for old, new in zip(before, after, strict=True)):
        return _nearest_exact(x, after)  # type: ignore[no-untyped-call]
    if not any(old % new for old, new in zip(before, after, strict=True)):
        steps = [old // new for old, new in zip(before, after, strict=True)]
        return op.AveragePool(x, kernel_shape=steps, strides=steps)
    rows, columns = (_windows(old, new) for old, new in zip(before, after, strict=True))
    return op.MatMul(op.MatMul(op.Constant(value=_tensor(rows)), x), op.Constant(value=_tensor(columns.T)))


def _mean(x, kernel_size, stride=(), padding=(0, 0), ceil_mode=False, count_include_pad=True, divisor_override=None):  # type: ignore[no-untyped-def]
    """Means under windows in ONNX, whose divisor may be another number than that of their pixels."""
    kernel, strides, pads = ([*sizes] * (2 // len(sizes)) for sizes in (kernel_size, stride or kernel_size, padding))
    is_sum = divisor_override is not None
    found = op.AveragePool(
        x, kernel_shape=kernel, strides=strides, pads=pads * 2, ceil_mode=int(ceil_mode),
        count_include_pad=int(is_sum or count_include_pad),
    )  # fmt: skip
    return op.Mul(found, op.Constant(value_float=kernel[0] * kernel[1] / divisor_override)) if is_sum else found


def _log_sigmoid(x):  # type: ignore[no-untyped-def]
    """The logarithm of the sigmoid, in ONNX: PyTorch's own form takes it of zero."""
    return op.Neg(op.Softplus(op.Neg(x)))


def _windows(before: int, after: int) -> np.ndarray:
    """What every result of an adaptive mean along an axis takes of each pixel: an after x before matrix."""
    found = np.zeros((after, before), np.float32)
    for at in range(after):
        start, stop = at * before // after, -(-(at + 1) * before // after)
        found[at, start:stop] = 1 / (stop - start)
    return found


def _tensor(value: np.ndarray) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(value))


def _nearest_exact(x, output_size, scale_factors=None):  # type: ignore[no-untyped-def]
    """The pixel nearest to the middle of the new one, in ONNX."""
    before = [int(size) for size in x.shape]
    if output_size is None:
        output_size = [int(size * factor) for size, factor in zip(before[2:], scale_factors, strict=True)]
    sizes: Any = op.Constant(value_ints=[*before[:2], *(int(size) for size in output_size)])
    places, rounding = "half_pixel", "round_prefer_ceil"
    return op.Resize(x, None, None, sizes, mode="nearest", coordinate_transformation_mode=places, nearest_mode=rounding)


CORRECTED = {_aten.avg_pool2d.default: _mean, _aten.log_sigmoid.default: _log_sigmoid}  # wrong in PyTorch's own form
FORMS = {
    **CORRECTED,
    _aten.conv2d.default: _conv,
    _aten.batch_norm.default: _batchnorm,
    _aten.adaptive_avg_pool2d.default: _adaptive_mean,
    _aten._upsample_nearest_exact2d.vec: _nearest_exact,
}
