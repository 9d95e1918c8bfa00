"""The networks of a family, by its name."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

import constants
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.families import find, with_networks
from model_src.family_data.caches import LabelledGraph, accuracy_rank, iter_list_cache, iter_state_cache
from model_src.family_data.shards import iter_shards, shard_paths, shards_of
from model_src.family_data.subset import read_names
from model_src.files import InputError
from model_src.runtime import made_by


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
    """Read a family's networks in file order, from a published cache or one of ours.

    Networks come one at a time: a JSON file is never in memory as a whole, and of a pickle, which is, the networks
    that were handed out are dropped. Where a subset such as that of NB-101 has no file of its own it is picked from the
    full cache by a list of names.

    Raises:
        InputError: The file is missing (the text says what makes it), damaged or of another kind, or two of its
            networks share a name; it may come after the networks before the fault.
    """
    if folder := sharded(family, data_dir):
        yield from iter_shards(shard_paths(folder))
        return
    path = family_path(family, data_dir)
    with made_by(f"python gen_families.py -family {family}", path):
        subset = find(family).subset
        if subset and not path.exists() and path.with_name(subset.cache).exists():
            names = read_names(path.with_name(subset.names))
            networks = iter_list_cache(path.with_name(subset.cache))
            yield from (network for network in networks if network.graph.name in names)
        else:
            yield from (iter_state_cache if path.suffix == ".json" else iter_list_cache)(path)


def cache_files(families: Iterable[str], data_dir: str | Path) -> dict[str, Path]:
    """What `iter_family` reads of families: `data_dir FAMILY` -> file."""
    files = {}
    for family in families:
        path, subset = family_path(family, data_dir), find(family).subset
        files[f"data_dir {family}"] = folder = sharded(family, data_dir) or path
        if folder is path and subset and not path.exists():
            files |= {f"data_dir {name}": path.with_name(name) for name in (subset.cache, subset.names)}
    return files


def load_measured(family: str, data_dir: str | Path = constants.DATA_DIR) -> list[tuple[ComputeGraph, float]]:
    """Read all networks of a family that have an accuracy; see `iter_measured`."""
    return list(iter_measured(family, data_dir))


def iter_measured(family: str, data_dir: str | Path = constants.DATA_DIR) -> Iterator[tuple[ComputeGraph, float]]:
    """Read the networks of a family that have an accuracy (a fraction), with it; see `iter_family`.

    Raises:
        InputError: None of them has one, or the file cannot be read; it may come after the networks before the fault.
    """
    is_measured = False
    for network in iter_family(family, data_dir):
        if network.accuracy is not None:
            is_measured = True
            yield network.graph, network.accuracy
    if not is_measured:
        raise InputError(f"{family_path(family, data_dir)}: none of the networks of {family} has an accuracy")


def iter_graphs(families: Iterable[str], data_dir: str | Path) -> Iterator[ComputeGraph]:
    """The networks of families, one family after the other and in file order, with a progress bar for each.

    Args:
        families: Names, in order.
        data_dir: Folder of their caches.

    Raises:
        InputError: See `iter_family`.
    """
    for family in families:
        yield from (graph for graph, _ in iter_ranked(family, data_dir))


def iter_ranked(family: str, data_dir: str | Path) -> Iterator[tuple[ComputeGraph, float]]:
    """A family's networks in file order, each with what they are sorted by: accuracy; without one they come last.

    Raises:
        InputError: See `iter_family`.
    """
    for network in tqdm(iter_family(family, data_dir), family, unit="network"):
        yield network.graph, accuracy_rank(network.accuracy)


def sharded(family: str, data_dir: str | Path) -> Path | None:
    """The folder of a family's shards, if it is in one; None where there is a cache file.

    Raises:
        InputError: There is no such family.
    """
    path = family_path(family, data_dir)
    folder = shards_of(path)
    return folder if folder.exists() and not path.exists() else None


def cache_for(family: str, path: Path | None = None) -> Path:
    """Where to write a family's networks: into its cache, or another file of that kind.

    Raises:
        InputError: There is no such family, or `path` is of another kind.
    """
    default = family_path(family)
    if path and path.suffix != default.suffix:
        raise InputError(f"{path}: a cache of {family} is a {default.suffix} file")
    return path or default
