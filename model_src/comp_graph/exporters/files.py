"""A computation graph leaves as ONNX, as a PyTorch module of its own and for TensorFlow, all with the same weights."""

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from model_src.comp_graph.exporters.trace import check_network
from model_src.comp_graph.inheritance import Inheritance
from model_src.comp_graph.networks.initial import initial_network
from model_src.comp_graph.networks.statistics import noise, take_statistics
from model_src.comp_graph.rest import Rest
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork
from model_src.files import InputError, one_line
from model_src.runtime import NO_TENSORFLOW

logger = logging.getLogger(__name__)

_FEW = 4  # images of noise


def network_of(
    cg: ComputeGraph, seed: int = 0, inherited: Inheritance | None = None, images: Tensor | None = None
) -> TorchNetwork:
    """The network of a graph, ready for inference; it gives (N, C) where the result is a 1x1 map.

    Args:
        cg: The graph.
        seed: Of the weights that are drawn.
        inherited: Weights that it has from elsewhere; None draws all.
        images: What batch normalisations take their statistics from, (n, C, H, W). None: those that are new take them
            from noise, so that a fresh network passes on what it sees.

    Raises:
        ValueError: See `TorchNetwork`.
    """
    results = [node for node, readers in zip(cg.nodes, cg.successors, strict=True) if not readers]
    squeeze = len(results) == 1 and results[0].out_shape[:2] == (1, 1)
    network = initial_network(cg, seed, inherited, squeeze_output=squeeze)
    if images is not None:
        take_statistics(network, images)
    else:
        take_statistics(network, noise(cg, _FEW, seed), inherited.new if inherited else None)
    return network


def _onnx(cg: ComputeGraph, stem: Path, network: TorchNetwork, rest: Rest | None) -> list[Path]:
    from model_src.comp_graph.exporters.onnx import save_onnx

    return [save_onnx(cg, stem.with_name(f"{stem.name}.onnx"), network, rest)]


def _torch(cg: ComputeGraph, stem: Path, network: TorchNetwork, rest: Rest | None) -> list[Path]:
    from model_src.comp_graph.exporters.torch import save_finetuning, save_module, save_weights

    paths = [
        save_module(cg, stem.with_name(f"{stem.name}.py"), network),
        save_weights(network, stem.with_name(f"{stem.name}.pt")),
    ]
    return paths if rest else [*paths, save_finetuning(stem.with_name("finetune.py"))]


def _tf(cg: ComputeGraph, stem: Path, network: TorchNetwork, rest: Rest | None) -> list[Path]:
    from model_src.comp_graph.exporters.tensorflow import save_saved_model, tf_twin
    from model_src.comp_graph.tf_comp_graph_output import write_frozen_graph

    _ = cg.output_index  # raises unless there is one, as a frozen graph must have
    twin = tf_twin(cg, network)
    return [
        write_frozen_graph(cg, stem.with_name(f"{stem.name}.pb"), twin),
        save_saved_model(twin, stem.with_name(f"{stem.name}_savedmodel")),
    ]


EXPORTERS: dict[str, Callable[[ComputeGraph, Path, TorchNetwork, Rest | None], list[Path]]] = {
    "onnx": _onnx,
    "torch": _torch,
    "tf": _tf,
}


def check_formats(formats: Sequence[str]) -> None:
    """Check that networks can be written in these formats here.

    Raises:
        InputError: A format is unknown, or TensorFlow, which it needs, is not installed.
    """
    for name in formats:
        if name not in EXPORTERS:
            raise InputError(f"unknown export format {name!r}; choose from {', '.join(EXPORTERS)}")
        if name == "tf" and find_spec("tensorflow") is None:
            raise InputError(f"export format 'tf': {NO_TENSORFLOW}")


class ExportError(InputError):
    """Formats that a network could not be written in; it is written in the others.

    Args:
        stem: What the files' names begin with.
        failed: Per format, why.
        written: What is written.

    Attributes:
        failed: Per format, why.
        reasons: The same in one line each.
        written: What is written.
    """

    def __init__(self, stem: Path, failed: Mapping[str, Exception], written: list[Path]):
        self.failed, self.written = failed, written
        self.reasons = {name: _reason(error) for name, error in failed.items()}
        super().__init__(f"{stem}: not exported as {', '.join(failed)}: {'; '.join(self.reasons.values())}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return one_line(f"{error.filename}: {error.strerror or error}" if error.filename else error)
    return one_line(error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")


def export_network(
    cg: ComputeGraph,
    stem: str | Path,
    formats: Sequence[str],
    network: TorchNetwork | None = None,
    rest: Rest | None = None,
) -> list[Path]:
    """Write a graph's network in several formats; files of these names are replaced.

    Args:
        cg: The graph; for `tf` it must have one output.
        stem: Path without a suffix, as `outputs/rank_0`.
        formats: `onnx` writes `{stem}.onnx`; `torch` a standalone module `{stem}.py`, its weights `{stem}.pt`, and
            beside them `finetune.py`, which trains such modules; `tf` a frozen graph `{stem}.pb` and the folder
            `{stem}_savedmodel`.
        network: The graph's network with the weights to write; None takes `network_of`.
        rest: What comes behind it, where it is a part of a network; only `onnx` puts it there, the others write the
            part.

    Returns:
        The paths written.

    Raises:
        InputError: See `check_formats`; nothing is written then.
        ExportError: (a ValueError) Some formats could not be written, the others are: one does not have an operation of
            the graph, the rest does not fit, a write failed, or something that is no SavedModel has the folder's name.
        ValueError: The graph has a cycle, an unknown operation or a node whose sizes contradict each other, or the
            network is one of another graph.
    """
    check_formats(formats)
    network = network or network_of(cg)
    check_network(cg, network)
    if rest and set(formats) != {"onnx"}:
        logger.warning("%s: only ONNX files have what comes behind the part that was searched", stem)
    paths: list[Path] = []
    failed: dict[str, Exception] = {}
    for name in formats:
        try:
            paths += EXPORTERS[name](cg, Path(stem), network, rest)
        except Exception as error:  # of many kinds: whatever TensorFlow and ONNX meet in a network
            failed[name] = error
    if failed:
        raise ExportError(Path(stem), failed, paths) from next(iter(failed.values()))
    return paths
