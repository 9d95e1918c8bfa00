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

import onnx
import torch
from onnx_ir.passes.common import InlinePass
from torch import Tensor, fx, nn

from model_src.comp_graph.importers.aten_forms import CORRECTED, FORMS, Misread, check_known

_aten = torch.ops.aten
# Operations whose result is a tensor of its own, never a part of what they read.
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
    options["custom_translation_table"] = forms or CORRECTED
    program = torch.onnx.export(module, (example,), dynamo=True, optimize=False, verbose=False, **options)
    assert program is not None  # which it is only without `dynamo`
    return program.model_proto


def _by_one_trace(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    from torch.fx._lazy_graph_module import _use_lazy_graph_module  # of no public name; see `_translated`

    with _use_lazy_graph_module(True):  # no Python is written of what is traced, and compiled, for none is run
        program = torch.export.export(module, (example,), strict=False)
    check_known(program.graph)
    _write_elsewhere(program.graph)
    if all(_is_single(node.meta.get("val")) for node in program.graph.nodes if node.users):
        return _translated(program)
    program.run_decompositions = lambda *_: program  # what would trace again
    return _exported(program, example, FORMS)


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
    for operation, form in FORMS.items():
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
