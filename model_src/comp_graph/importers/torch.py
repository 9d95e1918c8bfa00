"""PyTorch module -> computation graph, through `torch.export` and ONNX; and back, with the weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from model_src.comp_graph.importers.aten_forms import Misread
from model_src.comp_graph.importers.check import check_module, check_rest, rebuild
from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.reader import from_onnx
from model_src.comp_graph.importers.torch_parts import TorchRest, cut_module
from model_src.comp_graph.importers.tracing import reason, to_onnx, without_chatter
from model_src.runtime import without_collections

__all__ = ["from_torch", "rebuild"]


def from_torch(
    module: nn.Module,
    example: Tensor,
    name: str | None = None,
    normalisers: Mapping[str, int | None] | None = None,
    check: bool = True,
    output_node: str | None = None,
) -> ImportedNetwork:
    """Build the graph of a module as it runs at inference.

    Args:
        module: It maps one batch of images to one tensor, or with `output_node` to whatever it likes.
        example: A batch (N, C, H, W); only its shape counts.
        name: Architecture name; None takes the class's.
        normalisers: Feature normalisers by name; those not given are derived from the graph.
        check: Whether to compare what was read with the module on random images.
        output_node: A submodule (`layer3.0`) or node of `torch.fx` that gives a tensor at which the graph ends; what
            comes behind it becomes the `rest`.

    Raises:
        ValueError: They are no module and no such batch, `torch.export` cannot trace the module, it has an operation
            that a graph cannot hold, the graph does not compute what it does, or the module cannot be cut there.
    """
    _check_given(module, example)
    if output_node is not None:
        return _part(module, example, name or type(module).__name__, normalisers, check, output_node)
    with _as_inference(module), torch.no_grad(), without_collections():
        try:
            with without_chatter():
                model = to_onnx(module, example)
        except Misread:
            raise
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"torch.export cannot trace the module: {reason(error)}") from error
        found = from_onnx(model, name or type(module).__name__, None, normalisers)
        if check:
            check_module(found, module, example)
    return found


def _part(
    module: nn.Module,
    example: Tensor,
    name: str,
    normalisers: Mapping[str, int | None] | None,
    check: bool,
    output_node: str,
) -> ImportedNetwork:
    """Build the graph of a module up to a tensor; what comes behind goes along."""
    with _as_inference(module), torch.no_grad():
        try:
            with without_chatter():
                halves = cut_module(module, example, output_node)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"torch.export cannot trace the module: {reason(error)}") from error
        found = from_torch(halves.front, example, name, normalisers, check)
        rest = TorchRest(deepcopy(halves.rest).eval(), found, halves.front(example))
        if check:
            where = example.device
            check_rest(
                found,
                lambda result: _leaves(rest.after(torch.from_numpy(result).to(where))),
                lambda images: _leaves(module(torch.from_numpy(images).to(where, example.dtype))),
                len(example),
            )
    return replace(found, rest=rest)


def _leaves(results: Any) -> list[np.ndarray]:
    """The tensors in whatever a module gives."""
    return [leaf.cpu().numpy() for leaf in pytree.tree_leaves(results) if isinstance(leaf, Tensor)]


def _check_given(module: Any, example: Any) -> None:
    """Refuse what is no module with weights, or no batch of images.

    Raises:
        ValueError: It is so.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"from_torch reads a torch.nn.Module, not a {type(module).__name__}")
    if not isinstance(example, Tensor) or example.ndim != 4:
        found = f"of shape {tuple(example.shape)}" if isinstance(example, Tensor) else f"a {type(example).__name__}"
        raise ValueError(f"from_torch needs a batch of images (N, C, H, W) as its example; it is {found}")
    if any(one.is_meta for one in (*module.parameters(), *module.buffers())):
        raise ValueError("the module's weights are on the device `meta`, which holds no numbers")


@contextmanager
def _as_inference(module: nn.Module) -> Iterator[None]:
    """Put a module into inference mode, and every part of it back into the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
    except NotImplementedError as error:
        raise ValueError("it is the module of an exported program; give the one that was exported") from error
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
