"""Files of labelled networks in the two published forms, read and written.

Units: accuracies are fractions, FLOPs are millions.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_src.comp_graph.load import CG_CLASSES
from model_src.comp_graph.node_pool import GraphPool
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.comp_graph.validate import validate
from model_src.family_data.numpy_values import NUMPY_CLASSES
from model_src.files import InputError, atomic_write, iter_json_object, load_pickle, save_pickle

# Stored FLOPs above this are single operations; the unit of smaller ones is unknown.
_LEAST_RAW_FLOPS = 1e6
_MOST = 1e18  # FLOPs or parameters


@dataclass(frozen=True)
class LabelledGraph:
    """A network and what is known about it.

    Attributes:
        graph: The network.
        accuracy: Fraction of test images that are classified rightly; None if it was not measured.
        flops: FLOPs in millions.
        n_params: Number of parameters; None if the file does not say.
        config: What the network was built from, as plain JSON data; None if the file does not say.
    """

    graph: ComputeGraph
    accuracy: float | None
    flops: float
    n_params: int | None = None
    config: Any = None


def save_family(path: str | Path, networks: Iterable[LabelledGraph]) -> None:
    """Write networks in the published form that the suffix calls for (`.json` or `.pkl`)."""
    save = save_state_cache if Path(path).suffix == ".json" else save_list_cache
    save(path, networks)


def save_list_cache(path: str | Path, graphs: Iterable[LabelledGraph]) -> None:
    """Write the published NB-101 / NB-201 form: a pickled list of dictionaries."""
    entries = [
        {
            "compute graph": network.graph,
            "acc": network.accuracy,
            "flops": network.flops,
            "n_params": network.n_params,
            "original config": network.config,
        }
        for network in graphs
    ]
    save_pickle(entries, path)


def save_state_cache(path: str | Path, networks: Iterable[LabelledGraph]) -> None:
    """Write the published JSON form, one network at a time.

    Accuracies are stored in percent and FLOPs as single operations, as in the published files.
    """
    with atomic_write(path, "w") as file:
        separator = "{"
        for network in networks:
            entry = {
                "cg": network.graph.state_dict(),
                "max_perf": None if network.accuracy is None else 100 * network.accuracy,
                "flops": round(network.flops * 1e6),
                "n_params": network.n_params,
                "original config": network.config,
            }
            file.write(f"{separator}\n{json.dumps(network.graph.name)}: {json.dumps(entry)}")
            separator = ","
        file.write("\n}\n" if separator == "," else "{}\n")


def iter_state_cache(path: str | Path) -> Iterator[LabelledGraph]:
    """Read the networks of a file in the JSON form one by one; the file is never in memory as a whole.

    Raises:
        InputError: See `reading.iter_family`.
    """
    op2i, pool = OP2I().build_from_file(), GraphPool()

    def network(entry: Any) -> LabelledGraph:
        graph = pool.graph_from_state(entry["cg"])
        validate(graph, pool.fresh)
        flops = _count(entry.get("flops"), "flops") or 0
        return LabelledGraph(
            graph,
            _fraction(entry["max_perf"], unit=100),
            flops / 1e6 if flops > _LEAST_RAW_FLOPS else compute_cg_flops(graph, op2i),
            _count(entry.get("n_params"), "n_params"),
            entry.get("original config"),
        )

    yield from with_own_names(path, (usable(path, key, network, entry) for key, entry in iter_json_object(path)))


def iter_list_cache(path: str | Path) -> Iterator[LabelledGraph]:
    """Read the networks of a file in the NB-101 / NB-201 form one by one; each is dropped when the next is asked for.

    Raises:
        InputError: See `reading.iter_family`.
    """
    entries = load_pickle(path, {**CG_CLASSES, **NUMPY_CLASSES})
    if not isinstance(entries, list):
        raise InputError(f"{path}: holds a {type(entries).__name__}, not a list of networks")
    pool = GraphPool()

    def network(entry: Any) -> LabelledGraph:
        graph = entry["compute graph"]
        if not isinstance(graph, ComputeGraph):
            raise TypeError(f"it holds a {type(graph).__name__} where the graph belongs")
        graph = _pooled(graph, pool)
        return labelled(graph, entry["acc"], entry["flops"], entry.get("n_params"), entry.get("original config"))

    entries.reverse()
    numbers = range(len(entries))
    yield from with_own_names(path, (usable(path, number, network, entries.pop()) for number in numbers))


def _pooled(graph: ComputeGraph, pool: GraphPool) -> ComputeGraph:
    """A graph of a pickle, checked, with nodes of the pool.

    Raises:
        ValueError: It is no whole network.
    """
    try:
        shared = pool.shared(graph)
    except (AttributeError, TypeError, ValueError):  # something else in the place of numbers
        validate(graph)
        raise
    validate(shared, pool.fresh)
    return shared


def labelled(
    graph: ComputeGraph, accuracy: float | None, flops: float, n_params: int | None, config: Any
) -> LabelledGraph:
    """What a file says of a network (see `LabelledGraph`), where that is possible.

    Raises:
        ValueError: A number cannot be what it should be.
    """
    flops, n_params = float(_count(flops, "flops")), _count(n_params, "n_params")
    return LabelledGraph(graph, _fraction(accuracy), flops, n_params, config)


def accuracy_rank(accuracy: float | None) -> float:
    """What networks are sorted by; those without an accuracy come last."""
    return -math.inf if accuracy is None else accuracy


def usable(path: str | Path, key: str | int, read: Callable[[Any], LabelledGraph], entry: Any) -> LabelledGraph:
    """What `read` makes of an entry.

    Raises:
        InputError: It is not usable; the text names the file and the entry.
    """
    try:
        return read(entry)
    except KeyError as error:
        raise InputError(f"{path}: network {key!r} has no {error}") from error
    except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise InputError(f"{path}: network {key!r} is not usable: {error}") from error


def _count(value: Any, name: str) -> Any:
    if value is not None and not 0 <= value < _MOST:
        raise ValueError(f"its {name} are no number from 0 on")
    return value


def _fraction(accuracy: float | None, unit: int = 1) -> float | None:
    if accuracy is None:
        return None
    if not 0 <= accuracy <= unit:
        raise ValueError(f"its accuracy is {accuracy}, which does not lie between 0 and {unit}")
    return float(accuracy) / unit


def with_own_names(path: str | Path, networks: Iterable[LabelledGraph]) -> Iterator[LabelledGraph]:
    """Networks as they are.

    Raises:
        InputError: Two share a name.
    """
    seen = set()
    for network in networks:
        if network.graph.name in seen:
            raise InputError(f"{path}: two networks are named {network.graph.name}")
        seen.add(network.graph.name)
        yield network
