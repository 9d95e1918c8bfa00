"""The labelled networks of a family: the published cache files, read and written, and splits by network name.

Units: accuracies are fractions, FLOPs are millions.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import constants
from model_src.comp_graph.load import CG_CLASSES
from model_src.comp_graph.node_pool import GraphPool
from model_src.comp_graph.tf_comp_graph import OP2I, ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.families import find, with_networks
from model_src.files import InputError, atomic_write, iter_json_object, load_pickle, save_pickle
from model_src.runtime import made_by

# Stored FLOPs above this are single operations; the unit of smaller ones is unknown.
_LEAST_RAW_FLOPS = 1e6
_SMALLEST_RATIO = 1e-5


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


def family_path(family: str, data_dir: str | Path = constants.DATA_DIR) -> Path:
    """The cache file of a family.

    Raises:
        InputError: There is no such family.
    """
    return Path(data_dir) / find(family, with_networks()).cache


def load_family(family: str, data_dir: str | Path = constants.DATA_DIR) -> list[LabelledGraph]:
    """Read all networks of a family; see `iter_family`."""
    return list(iter_family(family, data_dir))


def iter_family(family: str, data_dir: str | Path = constants.DATA_DIR) -> Iterator[LabelledGraph]:
    """Read a family's networks in file order, from a published cache or one of ours (computation graph, 3.2 and 3.3).

    Networks come one at a time: a JSON file is never in memory as a whole, and of a pickle, which is, the networks
    that were handed out are dropped. Where a subset such as that of NB-101 has no file of its own it is picked from the
    full cache by a list of names.

    Raises:
        InputError: The file is missing (the text says what makes it), damaged or of another kind, or two of its
            networks share a name; it may come after the networks before the fault.
    """
    path = family_path(family, data_dir)
    with made_by(f"python gen_families.py -family {family}", path):
        subset = find(family).subset
        if subset and not path.exists() and path.with_name(subset.cache).exists():
            names = read_names(path.with_name(subset.names))
            networks = iter_list_cache(path.with_name(subset.cache))
            yield from (network for network in networks if network.graph.name in names)
        elif path.suffix == ".json":
            yield from _with_own_names(path, _read_state_cache(path))
        else:
            yield from iter_list_cache(path)


def read_names(path: str | Path) -> frozenset[str]:
    """Read a pickled list of network names, such as the published NB-101 subset.

    Raises:
        InputError: The file is missing, damaged or holds something else.
    """
    names = load_pickle(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: not a list of network names")
    return frozenset(names)


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


def _read_state_cache(path: Path) -> Iterator[LabelledGraph]:
    op2i, pool = OP2I().build_from_file(), GraphPool()

    def network(entry: Any) -> LabelledGraph:
        graph = pool.graph_from_state(entry["cg"])
        flops = entry.get("flops") or 0
        return LabelledGraph(
            graph,
            _fraction(entry["max_perf"], unit=100),
            flops / 1e6 if flops > _LEAST_RAW_FLOPS else compute_cg_flops(graph, op2i),
            entry.get("n_params"),
            entry.get("original config"),
        )

    return (_usable(path, key, network, entry) for key, entry in iter_json_object(path))


def iter_list_cache(path: str | Path) -> Iterator[LabelledGraph]:
    """Read the networks of a file in the NB-101 / NB-201 form one by one; each is dropped when the next is asked for.

    Raises:
        InputError: See `iter_family`.
    """
    entries = load_pickle(path, {**CG_CLASSES, **_NUMPY_CLASSES})
    if not isinstance(entries, list):
        raise InputError(f"{path}: holds a {type(entries).__name__}, not a list of networks")
    pool = GraphPool()

    def network(entry: Any) -> LabelledGraph:
        graph = entry["compute graph"]
        if not isinstance(graph, ComputeGraph):
            raise TypeError(f"it holds a {type(graph).__name__} where the graph belongs")
        return LabelledGraph(
            pool.shared(graph),
            _fraction(entry["acc"]),
            float(entry["flops"]),
            entry.get("n_params"),
            entry.get("original config"),
        )

    entries.reverse()
    numbers = range(len(entries))
    yield from _with_own_names(path, (_usable(path, number, network, entries.pop()) for number in numbers))


def _usable(path: str | Path, key: str | int, read: Callable[[Any], LabelledGraph], entry: Any) -> LabelledGraph:
    try:
        return read(entry)
    except KeyError as error:
        raise InputError(f"{path}: network {key!r} has no {error}") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: network {key!r} is not usable: {error}") from error


def _fraction(accuracy: float | None, unit: int = 1) -> float | None:
    if accuracy is None:
        return None
    if not 0 <= accuracy <= unit:
        raise ValueError(f"its accuracy is {accuracy}, which does not lie between 0 and {unit}")
    return float(accuracy) / unit


def _with_own_names(path: str | Path, networks: Iterable[LabelledGraph]) -> Iterator[LabelledGraph]:
    seen = set()
    for network in networks:
        if network.graph.name in seen:
            raise InputError(f"{path}: two networks are named {network.graph.name}")
        seen.add(network.graph.name)
        yield network


class _PickledDtype:
    """Stands for numpy.dtype in a pickle; remembers what the dtype was made from and does nothing with it."""

    def __init__(self, code: str, *_: Any):
        self.code = code
        self.byte_order = "="

    def __setstate__(self, state: tuple) -> None:
        self.byte_order = state[1] if state[1] in ("<", ">") else "="


def _numbers(dtype: _PickledDtype, data: bytes) -> np.ndarray:
    kind = np.dtype(f"{dtype.byte_order}{dtype.code}")
    if kind.kind not in "biuf":
        raise ValueError(f"numbers of type {kind}")
    return np.frombuffer(data, kind)


def _scalar(dtype: _PickledDtype, data: bytes) -> int | float | bool:
    return _numbers(dtype, data)[0].item()


class _PickledArray(list):
    """Stands for numpy.ndarray in a pickle and becomes a nested list."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran_order, data = state
        self.extend(_numbers(dtype, data).reshape(shape, order="F" if fortran_order else "C").tolist())


# Numpy values become plain numbers and lists, without numpy's own unpickling code.
_NUMPY_CLASSES: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _PickledDtype,
    ("numpy", "ndarray"): _PickledArray,
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("scalar", _scalar), ("_reconstruct", lambda *_: _PickledArray()))
    },
}


def split_names(names: Iterable[str], dev_ratio: float, test_ratio: float, seed: int) -> dict[str, list[str]]:
    """Divide network names into `train`, `dev` and `test`, each sorted.

    Names are ranked by a hash of the seed and the name, so the split depends neither on the order of the names nor on
    any other random draw, and everybody who splits the same names gets the same split. `dev` and `test` get the
    ratio of the names, rounded down but at least one; with a ratio below 1e-5 that part stays in `train` as well.

    Raises:
        InputError: So few names that none is left to train on.
    """
    ranked = sorted(set(names), key=lambda name: blake2b(f"{seed}:{name}".encode()).digest())
    n_dev = max(math.floor(dev_ratio * len(ranked)), 1)
    n_test = max(math.floor(test_ratio * len(ranked)), 1)
    dev, test, train = ranked[:n_dev], ranked[n_dev : n_dev + n_test], ranked[n_dev + n_test :]
    train += [*(dev if dev_ratio < _SMALLEST_RATIO else ()), *(test if test_ratio < _SMALLEST_RATIO else ())]
    if not train or not test:
        raise InputError(
            f"{len(ranked)} networks cannot be divided into {dev_ratio:g} for dev, {test_ratio:g} for test and the rest"
        )
    return {"train": sorted(train), "dev": sorted(dev), "test": sorted(test)}
