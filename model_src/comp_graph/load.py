"""One door for every file that holds a computation graph."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from model_src.comp_graph.rest import Rest
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode
from model_src.comp_graph.validate import validate
from model_src.comp_graph.weights import WeightedGraph, load_weights
from model_src.files import InputError, load_json, load_pickle, naming, regular_file

if TYPE_CHECKING:
    from model_src.comp_graph.importers.imported import ImportedNetwork

logger = logging.getLogger(__name__)

_HOME = "model_src.comp_graph.tf_comp_graph"
CG_CLASSES: dict[tuple[str, str], Any] = {
    (_HOME, "ComputeGraph"): ComputeGraph,
    (_HOME, "RegularNode"): RegularNode,
    (_HOME, "WeightedNode"): WeightedNode,
}
Size = tuple[int | None, int | None, int | None]


class Choices(NamedTuple):
    """How foreign files are read, see `load_network`."""

    check: bool = True
    lenient_pb: bool = False


Reader = Callable[[Path, Size, Choices], WeightedGraph]


def load_cg(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    check: bool = True,
    lenient_pb: bool = False,
) -> ComputeGraph:
    """Read a network as a computation graph.

    Args:
        path: A `.pkl` (ours or published), `.json` or `.json.gz` graph, a frozen TensorFlow `.pb`, a `.keras` or `.h5`
            file, a SavedModel folder, or an `.onnx` model.
        input_h: Input height in pixels, for foreign files; likewise `input_w`. It is needed where the file leaves it
            open, and wins where not.
        input_w: Input width in pixels.
        input_c: Input channels.
        check: Whether to run what was read from a foreign file with its weights, and the original, on random images.
        lenient_pb: Whether to read a `.pb` as the published importer did: the graph alone, passing over what it cannot
            hold.

    Raises:
        InputError: (a ValueError) The file is missing, of another kind or damaged, names a foreign class, has an
            operation that a graph cannot hold, computes something else than what was read, or its graph breaks a rule
            of `validate`.
    """
    return load_network(path, input_h, input_w, input_c, check, lenient_pb).graph


def load_network(
    path: str | Path,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    check: bool = True,
    lenient_pb: bool = False,
) -> WeightedGraph:
    """Read a network as a computation graph with its weights, if it has any.

    ONNX, Keras and TensorFlow models have, and a graph in one of our files with a `.safetensors` file of the same name
    beside it.

    Args:
        path: As for `load_cg`; likewise all others.
        input_h: Input height in pixels.
        input_w: Input width in pixels.
        input_c: Input channels.
        check: Whether to compare what was read with the original.
        lenient_pb: Whether to read a `.pb` as the published importer did.

    Raises:
        InputError: As for `load_cg`; or the weights are damaged or of another graph.
    """
    path = Path(path)
    reader = _load_saved_model if path.is_dir() else _READERS.get(_kind(regular_file(path)))
    if reader is None:
        kinds = ", ".join(_READERS)
        raise InputError(f"{path}: unknown kind of file {_kind(path)!r}; expected {kinds} or a SavedModel folder")
    found = reader(path, (input_h, input_w, input_c), Choices(check, lenient_pb))
    with naming(path):
        validate(found.graph)
    return found


def load_part(
    path: str | Path,
    output_node: str,
    input_h: int | None = None,
    input_w: int | None = None,
    input_c: int | None = None,
    check: bool = True,
) -> tuple[WeightedGraph, Rest]:
    """Read the part of a network from its input to a tensor, and what comes behind, which may have several outputs.

    Args:
        path: An `.onnx` model, a `.keras` or `.h5` file, a frozen TensorFlow `.pb`, or a SavedModel folder.
        output_node: The tensor, or the operation that gives it; of a Keras file the layer.
        input_h: As for `load_network`; likewise all others.
        input_w: Input width in pixels.
        input_c: Input channels.
        check: Whether to compare both parts with the original.

    Raises:
        InputError: As for `load_network`; or the file is of another kind, or the network cannot be cut there.
    """
    path = Path(path)
    reader = _saved_model_reader if path.is_dir() else _PART_READERS.get(regular_file(path).suffix)
    if reader is None:
        kinds = f"{', '.join(_PART_READERS)} files and SavedModel folders"
        raise InputError(f"{path}: -output_node is for {kinds}; PyTorch modules: from_torch(..., output_node=...)")
    found = reader()(path, input_h, input_w, input_c, check=check, output_node=output_node)
    with naming(path):
        validate(found.graph)
    return _weighted(path, found), found.rest


def _kind(path: Path) -> str:
    """The end of a file's name, with what a compressed one is."""
    return "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])


def _load_pkl(path: Path, *_: Any) -> WeightedGraph:
    graph = load_pickle(path, CG_CLASSES)
    if not isinstance(graph, ComputeGraph):
        raise InputError(f"{path}: holds a {type(graph).__name__}, not a computation graph")
    return WeightedGraph(graph, load_weights(path, graph))


def _load_json(path: Path, *_: Any) -> WeightedGraph:
    state = load_json(path)
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds a {type(state).__name__}, not a computation graph")
    with naming(path):
        graph = ComputeGraph.from_state_dict(state)
    return WeightedGraph(graph, load_weights(path, graph))


# What follows needs TensorFlow or ONNX, which are imported only then.


def _load_pb(path: Path, size: Size, choices: Choices) -> WeightedGraph:
    from model_src.comp_graph.importers.tensorflow import frozen

    if choices.lenient_pb:
        logger.warning("%s: read as published: weights are missing, and what a graph cannot hold may be", path)
        return WeightedGraph(frozen.load_pb(path, *size))
    return _weighted(path, _pb_reader()(path, *size, check=choices.check))


def _load_keras(path: Path, size: Size, choices: Choices) -> WeightedGraph:
    return _weighted(path, _keras_reader()(path, *size, check=choices.check))


def _load_saved_model(path: Path, size: Size, choices: Choices) -> WeightedGraph:
    return _weighted(path, _saved_model_reader()(path, *size, check=choices.check))


def _load_onnx(path: Path, size: Size, choices: Choices) -> WeightedGraph:
    return _weighted(path, _onnx_reader()(path, *size, check=choices.check))


def _weighted(path: Path, found: "ImportedNetwork") -> WeightedGraph:
    try:
        return found.weighted()
    except ValueError as error:
        logger.warning("%s: its weights are left behind: %s", path, error)
        return WeightedGraph(found.graph)


def _onnx_reader() -> Callable[..., Any]:
    from model_src.comp_graph.importers.onnx.reader import load_onnx

    return load_onnx


def _keras_reader() -> Callable[..., Any]:
    from model_src.comp_graph.importers.tensorflow import load_keras

    return load_keras


def _pb_reader() -> Callable[..., Any]:
    from model_src.comp_graph.importers.tensorflow import load_pb

    return load_pb


def _saved_model_reader() -> Callable[..., Any]:
    from model_src.comp_graph.importers.tensorflow import load_saved_model

    return load_saved_model


_PART_READERS = {".onnx": _onnx_reader, ".keras": _keras_reader, ".h5": _keras_reader, ".pb": _pb_reader}
_READERS: dict[str, Reader] = {
    ".pkl": _load_pkl,
    ".json": _load_json,
    ".json.gz": _load_json,
    ".pb": _load_pb,
    ".keras": _load_keras,
    ".h5": _load_keras,
    ".onnx": _load_onnx,
}
