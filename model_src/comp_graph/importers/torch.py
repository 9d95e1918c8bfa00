"""PyTorch module -> computation graph, through `torch.export` and ONNX; and back, with the weights."""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn

from model_src.comp_graph.importers.check import check_module, rebuild
from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.reader import from_onnx
from model_src.comp_graph.importers.tracing import to_onnx

__all__ = ["from_torch", "rebuild"]


def from_torch(
    module: nn.Module,
    example: Tensor,
    name: str | None = None,
    normalisers: Mapping[str, int | None] | None = None,
    check: bool = True,
) -> ImportedNetwork:
    """Build the graph of a module as it runs at inference.

    Args:
        module: It maps one batch of images to one tensor.
        example: A batch (N, C, H, W); only its shape counts.
        name: Architecture name; None takes the class's.
        normalisers: Feature normalisers by name; those not given are derived from the graph.
        check: Whether to compare what was read with the module on random images.

    Raises:
        ValueError: `torch.export` cannot trace the module, it has an operation that a graph cannot hold, or the graph
            does not compute what it does.
    """
    with _as_inference(module):
        try:
            with _without_chatter():
                model = to_onnx(module, example)
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"torch.export cannot trace the module: {_reason(error)}") from error
        found = from_onnx(model, name or type(module).__name__, None, normalisers)
        if check:
            check_module(found, module, example)
    return found


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


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silence what PyTorch's exporter says about itself."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
