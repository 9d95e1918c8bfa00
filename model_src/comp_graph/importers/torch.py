"""PyTorch module -> computation graph, through `torch.export` and ONNX; and back, with the weights."""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial

import torch
from torch import Tensor, nn

from model_src.comp_graph.importers.onnx.reader import ImportedNetwork, from_onnx
from model_src.comp_graph.importers.tracing import to_onnx
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork


def from_torch(
    module: nn.Module,
    example: Tensor,
    name: str | None = None,
    normalisers: Mapping[str, int | None] | None = None,
) -> ImportedNetwork:
    """Build the graph of a module as it runs at inference.

    Args:
        module: It maps one batch of images to one tensor.
        example: A batch (N, C, H, W); only its shape counts.
        name: Architecture name; None takes the class's.
        normalisers: Feature normalisers by name; those not given are derived from the graph.

    Raises:
        ValueError: `torch.export` cannot trace the module, or it has an operation that a graph cannot hold.
    """
    with _as_inference(module), _without_chatter():
        try:
            model = to_onnx(module, example)
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"torch.export cannot trace the module: {_reason(error)}") from error
    return from_onnx(model, name or type(module).__name__, None, normalisers)


def rebuild(imported: ImportedNetwork) -> TorchNetwork:
    """The network of an imported graph with its weights, ready for inference; its result has the original's shape.

    Raises:
        ValueError: See `ImportedNetwork.state`.
    """
    axes = imported.output_axes
    network = TorchNetwork(imported.graph, squeeze_output=axes == "NC")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in imported.state().items()})
    if axes not in ("NC", "NCHW"):
        network.register_forward_hook(partial(_laid_out, axes))
    return network.eval()


def _laid_out(axes: str, network: nn.Module, images: tuple[Tensor], result: Tensor) -> Tensor:
    """A map (N, C, H, W) with its axes in another order, and those in brackets as one."""
    letters = axes.replace("(", "").replace(")", "")
    ordered = result.permute(["NCHW".index(letter) for letter in letters])
    return ordered.flatten(axes.index("(")) if "(" in axes else ordered


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
