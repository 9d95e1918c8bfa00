"""The check that an import of a network computes the same."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model_src.comp_graph.importers.onnx.op import Refusal
from model_src.comp_graph.importers.torch import from_torch, rebuild
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import graph_macs

WITHIN, ACROSS = 1e-6, 1e-4  # of the output's largest value: within PyTorch, across frameworks


class Found(NamedTuple):
    """What came of a network.

    Attributes:
        outcome: exact, wrong, refused, or `blind`: two images give the same, so nothing is told.
        difference: The largest difference of outputs, over the largest output.
        opaque_share: Share of multiply-accumulates in opaque nodes.
        flops_ratio: FLOPs of convolutions, dense layers and opaque nodes over PyTorch's own count of the network.
        seconds: Of the import.
        blockers: Types of operations that cannot be held.
        reason: Why it is refused.
        precision: In which the outputs are within the tolerance: float32, or float64 where rounding alone goes beyond.
        note: What else there is to know.
    """

    outcome: str
    difference: float | str = ""
    opaque_share: float | str = ""
    flops_ratio: float | str = ""
    seconds: float | str = ""
    blockers: str = ""
    reason: str = ""
    precision: str = ""
    note: str = ""


def check_module(module: nn.Module, images: torch.Tensor) -> Found:
    """Import a PyTorch module, as it is after its numbers were made to differ.

    Args:
        module: It is changed.
        images: Two or more, of which each should give something else.
    """
    randomise(module, images)
    from_torch(nn.Conv2d(3, 4, 1), images[:1, :1].expand(-1, 3, -1, -1))  # the first import also loads the exporter
    with timed() as took:
        try:
            found = from_torch(module, images[:1], check=False)
        except ValueError as error:
            return refused(error)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images[:1])
    network, kinds = rebuild(found), (torch.float32, torch.float64)
    outputs = ((run(network, images, kind), run(module, images, kind)) for kind in kinds)
    return judged(found.graph, outputs, WITHIN, took[0], counter.get_total_flops())


def run(module: nn.Module, images: torch.Tensor, kind: torch.dtype) -> np.ndarray:
    """The result of a network in a precision."""
    with torch.no_grad():
        result: torch.Tensor = module.to(kind)(images.to(kind))
    return result.numpy()


def randomise(module: nn.Module, images: torch.Tensor) -> None:
    """Give normalisations statistics near those that images have, and them and biases numbers of their own."""
    norms = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    biases = [value for name, value in module.named_parameters() if name.endswith("bias")]
    with torch.no_grad():
        for value in biases:
            value.add_(0.1 * torch.randn_like(value))
        module.eval()
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        module(images)
        for norm in filter(lambda one: one.running_var is not None, norms):
            norm.running_mean.add_(0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt())
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4)).clamp_(min=1e-4)
            if norm.affine:
                norm.weight.mul_(torch.empty_like(norm.weight).uniform_(0.7, 1.3))
    module.eval()


def judged(
    graph: ComputeGraph,
    outputs: Iterable[tuple[np.ndarray, np.ndarray]],
    tolerance: float,
    seconds: float,
    flops: float | None = None,
) -> Found:
    """What the outputs of an imported network and its original say.

    Args:
        graph: What was imported.
        outputs: Of both, for two or more images: in float32, then in float64 if that is asked for.
        tolerance: Largest difference that is exact.
        seconds: That the import took.
        flops: Of the original, for one image.
    """
    outputs = iter(outputs)
    ours, theirs = next(outputs)
    if ours.shape != theirs.shape:
        return Found("wrong", seconds=seconds, reason=f"the output is {ours.shape}, the original's {theirs.shape}")
    difference, precision, note = _apart(ours, theirs), "float32", ""
    if not difference <= tolerance:
        note, single = f"{difference:.0e} in float32", theirs
        ours, theirs = next(outputs)
        difference, precision, own = _apart(ours, theirs), "float64", _apart(single, theirs)
        note += f", where the original itself is {own:.0e} off" if own else ""
    told = _apart(theirs[:1], theirs[1:2]) > 100 * tolerance
    outcome = "wrong" if not difference <= tolerance else "exact" if told else "blind"
    ours_flops, hidden = counted(graph)
    ratio = ours_flops / flops if flops else ""
    return Found(outcome, difference, hidden / max(graph_macs(graph), 1), ratio, seconds, "", "", precision, note)


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest number of the second."""
    return float(np.abs(ours - theirs).max() / (np.abs(theirs).max() or 1.0))


def counted(graph: ComputeGraph) -> tuple[int, int]:
    """FLOPs of convolutions, dense layers and opaque nodes, without biases; multiply-accumulates of opaque nodes."""
    weighted = [node for node in graph.nodes if node.type_idx or node.op_name == "opaque"]
    bias = sum(node.out_shape[0] * node.out_shape[1] * node.out_shape[2] * node.use_bias for node in weighted)
    hidden = sum(node.operation.macs(node) for node in graph.nodes if node.op_name == "opaque")
    return 2 * (sum(node.operation.macs(node) for node in weighted) - bias), hidden


def refused(error: Exception) -> Found:
    """A refusal, with the types of operations that are in the way."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Refusal):
        cause = cause.__cause__
    reason = " ".join(str(error).split())[:300]
    others = {"expected one output": "several-outputs", "cannot trace": "not-traceable"}
    types = [name for text, name in others.items() if text in reason] or ["other"]
    if isinstance(cause, Refusal):
        types = sorted({blocker.type for blocker in cause.blockers})
    return Found("refused", blockers=" ".join(types), reason=reason)


@contextmanager
def timed() -> Iterator[list[float]]:
    """The seconds that a block takes, in a list."""
    took, start = [0.0], time.perf_counter()
    try:
        yield took
    finally:
        took[0] = round(time.perf_counter() - start, 2)
