"""One door for every file that holds a computation graph."""

from pathlib import Path
from typing import Any

from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode
from model_src.files import InputError, load_json, load_pickle

_HOME = "model_src.comp_graph.tf_comp_graph"
CG_CLASSES: dict[tuple[str, str], Any] = {
    (_HOME, "ComputeGraph"): ComputeGraph,
    (_HOME, "RegularNode"): RegularNode,
    (_HOME, "WeightedNode"): WeightedNode,
}


def load_cg(
    path: str | Path, input_h: int | None = None, input_w: int | None = None, input_c: int | None = None
) -> ComputeGraph:
    """Read a computation graph from a `.pkl` (ours or published), a `.json` state or a frozen TensorFlow `.pb`.

    Args:
        path: The file.
        input_h: Input height in pixels, for files that do not carry it (`.pb`); likewise `input_w`.
        input_w: Input width in pixels.
        input_c: Input channels.

    Raises:
        InputError: (a ValueError) The file is missing, of another kind, damaged, or names a foreign class.
    """
    path = Path(path)
    readers = {".pkl": _load_pkl, ".json": _load_json}
    if path.suffix == ".pb":
        from model_src.comp_graph.tf_import import load_pb  # needs TensorFlow

        return load_pb(path, input_h, input_w, input_c)
    if path.suffix not in readers:
        raise InputError(f"{path}: unknown kind of file {path.suffix!r}; expected .pkl, .json or .pb")
    return readers[path.suffix](path)


def _load_pkl(path: Path) -> ComputeGraph:
    graph = load_pickle(path, CG_CLASSES)
    if not isinstance(graph, ComputeGraph):
        raise InputError(f"{path}: holds a {type(graph).__name__}, not a computation graph")
    return graph


def _load_json(path: Path) -> ComputeGraph:
    state = load_json(path)
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds a {type(state).__name__}, not a computation graph")
    try:
        return ComputeGraph.from_state_dict(state)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
