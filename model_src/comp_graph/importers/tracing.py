"""PyTorch module -> ONNX model, by one trace where that is enough.

`torch.onnx.export` traces a module twice: the second time takes operations apart for which it has no form, and lets
none change a tensor in place. Most networks need neither, once two more operations have a form.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from typing import Any

import numpy as np
import onnx
import torch
from onnx_ir.passes.common import InlinePass
from onnxscript import opset18 as op
from torch import Tensor, fx, nn

_aten = torch.ops.aten
# Operations whose result is a tensor of its own, never a part of what they read.
_RANDOM = {
    _aten.dropout.default,
    _aten.alpha_dropout.default,
    _aten.feature_dropout.default,
    _aten.feature_alpha_dropout.default,
}
_NEW = {
    _aten.add.Tensor,
    _aten.avg_pool2d.default,
    _aten.batch_norm.default,
    _aten.cat.default,
    _aten.conv2d.default,
    _aten.conv_transpose2d.input,
    _aten.linear.default,
    _aten.max_pool2d.default,
    _aten.mul.Tensor,
}


class Misread(ValueError):
    """An operation that PyTorch's exporter writes as another one; the text has its place in the module."""


def to_onnx(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    """The ONNX model of a module that is in inference mode.

    Args:
        module: It maps one batch of images to one tensor.
        example: A batch.

    Raises:
        Misread: It has an operation that would become another one.
        torch.onnx.errors.OnnxExporterError: It cannot be traced or has an operation that ONNX cannot express.
        RuntimeError, TypeError, ValueError: Likewise.
    """
    try:
        return _by_one_trace(module, example)
    except Misread:
        raise
    except Exception:  # of any kind; the usual way may manage, and says what is wrong if it does not
        return _exported(module, example)


def exported(module: nn.Module, example: Tensor) -> tuple[onnx.ModelProto, int | None]:
    """The ONNX model of a module with any number of results, and how many images it takes at once; None for any number.

    Raises:
        ValueError: It cannot be exported.
    """
    several = torch.cat([example, example]) if len(example) == 1 else example
    try:
        with without_chatter():
            return _exported(module, several, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), None
    except Exception:  # of any kind; it has the number of images in it, perhaps
        pass
    try:
        with without_chatter():
            return _exported(module, example), len(example)
    except Exception as error:  # likewise
        raise ValueError(f"what comes behind cannot be exported to ONNX: {reason(error)}") from error


def _exported(module: Any, example: Tensor, forms: Any = None, **options: Any) -> onnx.ModelProto:
    options["custom_translation_table"] = forms or _CORRECTED
    program = torch.onnx.export(module, (example,), dynamo=True, optimize=False, verbose=False, **options)
    assert program is not None  # which it is only without `dynamo`
    return program.model_proto


def _by_one_trace(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    from torch.fx._lazy_graph_module import _use_lazy_graph_module  # of no public name; see `_translated`

    with _use_lazy_graph_module(True):  # no Python is written of what is traced, and compiled, for none is run
        program = torch.export.export(module, (example,), strict=False)
    _check_known(program.graph)
    _write_elsewhere(program.graph)
    if all(_is_single(node.meta.get("val")) for node in program.graph.nodes if node.users):
        return _translated(program)
    program.run_decompositions = lambda *_: program  # what would trace again
    return _exported(program, example, _FORMS)


def _check_known(graph: fx.Graph) -> None:
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


def _is_single(value: Any) -> bool:
    """Whether a result of an operation is a tensor of float32, or no tensor at all."""
    return not isinstance(value, Tensor) or value.dtype == torch.float32


def _translated(program: torch.export.ExportedProgram) -> onnx.ModelProto:
    """What `torch.onnx.export` makes of a program in which no number changes its type, without looking for such."""
    from torch.onnx._internal.exporter import _core  # of no public name; if it is not there, the usual way is taken

    found = _core._exported_program_to_onnx_program(program, registry=_registry())
    InlinePass()(found.model)
    return found.model_proto


@cache
def _registry() -> Any:
    """How PyTorch writes operations in ONNX; making it takes as long as tracing fifty layers."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    registry = ONNXRegistry.from_torchlib()
    for operation, form in _FORMS.items():
        registry.register_op(operation, form)  # type: ignore[arg-type]
    return registry


def _write_elsewhere(graph: fx.Graph) -> None:
    """Let operations that change a tensor in place make a new one, which is read instead from then on.

    Raises:
        ValueError: Others may see the change.
    """
    new: set[fx.Node] = set()
    for node in graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
            continue
        changed = node.args[0]
        is_hidden = changed.target in _NEW or changed in new
        if not is_hidden or any(reader < node for reader in changed.users):
            raise ValueError(f"{node.target} changes a tensor that others read")
        node.target = _elsewhere(node.target)
        changed.replace_all_uses_with(node, delete_user_cb=lambda reader, own=node: reader is not own)
        new.add(node)


def _elsewhere(operation: Any) -> Any:
    """The operation that makes a new tensor of what the given one, `relu_`, writes into the old one."""
    packet = getattr(_aten, operation._schema.name.removeprefix("aten::").removesuffix("_"))
    return getattr(packet, operation._overloadname)


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


_CORRECTED = {_aten.avg_pool2d.default: _mean, _aten.log_sigmoid.default: _log_sigmoid}  # wrong in PyTorch's own form
_FORMS = {
    **_CORRECTED,
    _aten.conv2d.default: _conv,
    _aten.batch_norm.default: _batchnorm,
    _aten.adaptive_avg_pool2d.default: _adaptive_mean,
    _aten._upsample_nearest_exact2d.vec: _nearest_exact,
}


@contextmanager
def without_chatter() -> Iterator[None]:
    """Silence what PyTorch's exporter says about itself, and let it not write down where every operation comes from."""
    disabled, without_places = logging.root.manager.disable, fx.config.do_not_emit_stack_traces
    logging.disable(logging.CRITICAL)
    fx.config.do_not_emit_stack_traces = True
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        fx.config.do_not_emit_stack_traces = without_places
        logging.disable(disabled)


def reason(error: BaseException) -> str:
    """Why PyTorch's exporter gave up, in one line: its first sentence, and the line of code that it is about."""
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error.__cause__ or error)).strip()
    first = re.split(r"\.\s|\n", text, maxsplit=1)[0]
    if "data-dependent" in text:
        first = f"what it does depends on the values in the image; take that out of its code ({first})"
    if found := re.findall(r'File "([^"]+)", line (\d+)', text):
        first = f"{first}, at {found[-1][0]}:{found[-1][1]}"
    return " ".join(first.split())
