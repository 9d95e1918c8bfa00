"""An imported network as a PyTorch module that computes the same, and whether it does: it is tried on random images."""

import logging
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils import _pytree as pytree

from model_src.comp_graph.importers.imported import ImportedNetwork
from model_src.comp_graph.importers.onnx.limits import check_trial
from model_src.comp_graph.importers.results import completed, laid_out
from model_src.comp_graph.memory import peak_activation_bytes
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.comp_graph.validate import validate

logger = logging.getLogger(__name__)

WITHIN_PYTORCH = 1e-6  # of the output's largest value
ACROSS_FRAMEWORKS = 1e-4

Run = Callable[[np.ndarray], np.ndarray]
Results = Callable[[np.ndarray], list[np.ndarray]]
_HINT = "-no_check or check=False reads it nevertheless"


def rebuild(imported: ImportedNetwork) -> TorchNetwork:
    """The network of an imported graph with its weights, ready for inference.

    It takes (N, C, H, W) and gives what the original gives, in the same shape: for a map of TensorFlow (N, H, W, C).

    Raises:
        ValueError: See `ImportedNetwork.state`.
    """
    axes, left_out = imported.output_axes, imported.left_out
    network = _network(imported, axes == "NC")
    if axes not in ("NC", "NCHW"):
        network.register_forward_hook(partial(_then, partial(laid_out, axes)))
    if left_out is not None:
        network.register_forward_hook(partial(_then, partial(completed, left_out)))
    return network


def _without_numbers(module: nn.Module, name: str, parameter: nn.Parameter) -> Any:  # PyTorch wrongly says None
    return nn.Parameter(parameter.to("meta"))


def _network(imported: ImportedNetwork, squeeze_output: bool) -> TorchNetwork:
    unmade = register_module_parameter_registration_hook(_without_numbers)
    try:  # no weights of chance are made, and those of regions leave no trace
        with torch.random.fork_rng(devices=[]):
            network = TorchNetwork(imported.graph, squeeze_output=squeeze_output)
    finally:
        unmade.remove()
    network.load_state_dict({name: torch.tensor(value) for name, value in imported.state().items()}, assign=True)
    return network.eval()


def _then(function: Callable[[Tensor], Tensor], network: nn.Module, images: tuple[Tensor], result: Tensor) -> Tensor:
    return function(result)


def check_same(imported: ImportedNetwork, original: Run, batch: int | None = None) -> None:
    """Check that the rebuilt network computes what a network of another framework does, on two random images.

    In deep networks rounding alone may go beyond the limit, so that the rebuilt network has a second try in float64.
    Weights that the graph's network cannot take, see `ImportedNetwork.state`, cannot be checked.

    Args:
        imported: What was read.
        original: Runs the original on (N, C, H, W), float32.
        batch: How many images it takes at once; None for any number.

    Raises:
        ValueError: The graph breaks a rule of `validate`; the results differ by more than 1e-4 of the largest value, or
            are no numbers; or running the images would take more memory than a network of so many weights may.
    """
    _check_size(imported, batch)
    if network := _checkable(imported):

        def tries() -> Iterator[tuple[Run, Run]]:
            yield original, _run(network, torch.float32)
            yield original, _run(network.double(), torch.float64)

        _settle(imported, batch, ACROSS_FRAMEWORKS, tries())


def check_module(imported: ImportedNetwork, module: nn.Module, example: Tensor) -> None:
    """Check likewise that the rebuilt network computes what a PyTorch module does.

    Where they are too far apart in float32, both are run in float64.

    Args:
        imported: What was read.
        module: It is in inference mode.
        example: A batch for it; only shape, type and device count.

    Raises:
        ValueError: The results differ by more than 1e-6 of the largest value, or are no numbers.
    """
    if network := _checkable(imported):

        def tries() -> Iterator[tuple[Run, Run]]:
            where = example.device
            yield _run(module, example.dtype, where), _run(network, torch.float32)
            yield _run(deepcopy(module).double(), torch.float64, where), _run(network.double(), torch.float64)

        _settle(imported, len(example), WITHIN_PYTORCH, tries())


def check_rest(imported: ImportedNetwork, rest: Results, original: Results, batch: int | None = None) -> None:
    """Check that the graph's network with the rest behind it gives all that the original does, on two random images.

    Args:
        imported: What was read of the part in front.
        rest: Runs the rest on the result of the graph's network, (N, C) of one pixel, otherwise (N, C, H, W).
        original: Runs the whole original on (N, C, H, W), float32.
        batch: How many images both take at once; None for any number.

    Raises:
        ValueError: A result differs by more than 1e-4 of its largest value, or one of whole numbers, such as the
            channels of the largest values, in more than 1e-4 of its numbers; or they are too large, see `check_same`.
    """
    _check_size(imported, batch)
    if _checkable(imported) is None:
        return
    graph = imported.graph
    network = _network(imported, graph.nodes[graph.output_index].out_shape[:2] == (1, 1))
    h, w, c = graph.input_shape[1:]
    images = np.random.default_rng(0).standard_normal((max(2, batch or 2), c, h, w), np.float32)
    run = _run(network, torch.float32)
    for few in np.split(images, len(images)) if batch == 1 else [images]:
        for number, (wanted, found) in enumerate(zip(original(few), rest(run(few)), strict=True)):
            if wanted.shape != found.shape or not _agree(wanted, found):
                raise ValueError(f"with what comes behind it, result {number} is another than the original's; {_HINT}")


def _check_size(imported: ImportedNetwork, batch: int | None) -> None:
    validate(imported.graph)
    count = max(2, batch or 2)
    weights = (value for own in imported.weights.values() for value in own.values())
    try:
        check_trial(count * peak_activation_bytes(imported.graph), weights)
    except ValueError as error:
        raise ValueError(f"{error}; {_HINT}") from error


def _agree(wanted: np.ndarray, found: np.ndarray) -> bool:
    if not np.issubdtype(wanted.dtype, np.inexact):  # where two values are close, rounding may decide
        return bool(np.count_nonzero(wanted != found) <= ACROSS_FRAMEWORKS * wanted.size)
    return np.allclose(found, wanted, 0, ACROSS_FRAMEWORKS * float(np.abs(wanted).max(initial=0)), True)


def _checkable(imported: ImportedNetwork) -> TorchNetwork | None:
    try:
        return rebuild(imported)
    except ValueError as error:
        logger.warning("%s: not compared with the original: %s", imported.graph.name, error)
        return None


def _settle(imported: ImportedNetwork, batch: int | None, limit: float, tries: Iterator[tuple[Run, Run]]) -> None:
    """Compare an original and a rebuilt network in float32, and in float64 only where that finds them too far apart.

    Raises:
        ValueError: They differ in both.
    """
    share = _difference(imported, *next(tries), batch)
    if share <= limit:
        return
    try:
        exact = _difference(imported, *next(tries), batch)
    except (RuntimeError, TypeError):  # it has parts that only take float32
        exact = share
    if not exact <= limit:
        raise ValueError(
            f"it was read wrongly: on random images its graph differs by {exact:.1e} of the largest result "
            f"({limit:.0e} is allowed); {_HINT}"
        )
    text = "%s: it differs by %.1e of the largest result in float32 and by %.1e in float64, so that is rounding"
    logger.info(text, imported.graph.name, share, exact)


def _difference(imported: ImportedNetwork, original: Run, rebuilt: Run, batch: int | None) -> float:
    """The largest difference of results for random images, as a share of the largest one."""
    h, w, c = imported.graph.input_shape[1:]
    count = max(2, batch or 2)
    images = np.random.default_rng(0).standard_normal((count, c, h, w), np.float32)
    wanted = np.concatenate([original(part) for part in (np.split(images, count) if batch == 1 else [images])])
    found = rebuilt(images)
    if found.shape != wanted.shape:
        raise ValueError(f"it was read wrongly: its result is {wanted.shape}, that of its graph {found.shape}; {_HINT}")
    largest, difference = (float(np.abs(one).max(initial=0)) for one in (wanted, wanted - found))
    if not np.isfinite(largest):
        raise ValueError(f"its result on random images is no number, so that it cannot be checked; {_HINT}")
    return difference / largest if largest else np.inf if difference else 0.0


def _run(module: nn.Module, dtype: torch.dtype, device: torch.device | None = None) -> Run:
    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            results = pytree.tree_leaves(module(torch.from_numpy(images).to(device, dtype)))
        (result,) = (one for one in results if isinstance(one, Tensor))  # perhaps in a list or dictionary
        return result.cpu().numpy()

    return run
