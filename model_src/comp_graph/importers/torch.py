"""PyTorch module -> computation graph, through `torch.export` and ONNX; and back, with the weights."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from model_src.comp_graph.importers.check import check_module, check_rest, rebuild
from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.reader import from_onnx
from model_src.comp_graph.importers.torch_parts import TorchRest, cut_module
from model_src.comp_graph.importers.tracing import to_onnx, without_chatter
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
        ValueError: `torch.export` cannot trace the module, it has an operation that a graph cannot hold, the graph does
            not compute what it does, or the module cannot be cut there.
    """
    if output_node is not None:
        return _part(module, example, name or type(module).__name__, normalisers, check, output_node)
    with _as_inference(module), torch.no_grad(), without_collections():
        try:
            with without_chatter():
                model = to_onnx(module, example)
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"torch.export cannot trace the module: {_reason(error)}") from error
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
            raise ValueError(f"torch.export cannot trace the module: {_reason(error)}") from error
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


@contextmanager
def _as_inference(module: nn.Module) -> Iterator[None]:
    """Put a module into inference mode, and every part of it back into the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _reason(error: BaseException) -> str:
    """Why PyTorch's exporter gave up, in one line: its first sentence, and the line of code that it is about."""
    text = str(error.__cause__ or error).strip()
    first = re.split(r"\.\s|\n", text, maxsplit=1)[0]
    if "data-dependent" in text:
        first = f"what it does depends on the values in the image; take that out of its code ({first})"
    if found := re.findall(r'File "([^"]+)", line (\d+)', text):
        first = f"{first}, at {found[-1][0]}:{found[-1][1]}"
    return " ".join(first.split())
