"""Networks of a family that are too many for one file: a folder of Arrow files, read row by row through memory maps.

A row holds a network's name, accuracy (a fraction), FLOPs in millions, number of parameters, and as JSON text what it
was built from and its graph. `index.json`, which is written last, names the files; nothing else in the folder counts.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from model_src.comp_graph.node_pool import GraphPool
from model_src.comp_graph.validate import validate
from model_src.family_data.arrow_files import NO_ARROW, iter_table, pyarrow, write_table
from model_src.family_data.caches import (
    LabelledGraph,
    labelled,
    usable,
    with_own_names,
)
from model_src.files import InputError, load_json, save_json

MOST_IN_A_FILE = 20_000  # networks, unless shards are asked for
PER_SHARD, PER_BATCH = 1000, 100  # networks; a batch is compressed, and unpacked as a whole
INDEX = "index.json"
KINDS = {
    "name": "string",
    "accuracy": "float64",
    "flops": "float64",
    "n_params": "int64",
    "config": "large_string",
    "graph": "large_string",
}

T = TypeVar("T")

logger = logging.getLogger(__name__)


def shards_of(cache: Path) -> Path:
    """The folder of shards that stands for a cache file."""
    return cache.with_suffix(".shards")


def place_for(cache: Path, is_wanted: bool, number: int | None) -> tuple[Path, bool]:
    """Where so many networks are written (None: all of a family), and whether that is a folder of shards.

    Raises:
        InputError: Shards are wanted, but PyArrow is not installed, or the cache file would be read instead of them.
    """
    is_many = (number or 0) > MOST_IN_A_FILE
    if is_many and not is_wanted and find_spec("pyarrow") is None:
        logger.warning("%s: more than %d networks go into one file, for %s", cache, MOST_IN_A_FILE, NO_ARROW)
        return cache, False
    if not (is_wanted or is_many):
        return cache, False
    pyarrow()
    return folder_for(cache, "remove it or name another -output"), True


def folder_for(cache: Path, remedy: str = "remove it") -> Path:
    """The folder of shards that is to stand for a cache file.

    Raises:
        InputError: The file is there.
    """
    if cache.exists():
        raise InputError(f"{cache}: is there and would be read instead of shards; {remedy}")
    return shards_of(cache)


def save_shards(folder: Path, networks: Iterable[LabelledGraph]) -> int:
    """Write networks, one shard after the other, in place of what was in the folder; returns how many.

    Raises:
        InputError: PyArrow is not installed.
        OSError: A file cannot be written.
    """
    pyarrow()
    return write_folder(folder, ".arrow", in_parts(networks), _save)


def in_parts(networks: Iterable[T]) -> Iterator[list[T]]:
    """Lists of so many as a shard holds."""
    rest = iter(networks)
    while part := list(islice(rest, PER_SHARD)):
        yield part


def write_folder(folder: Path, suffix: str, parts: Iterable[T], save: Callable[[Path, T], int]) -> int:
    """Write a file for each part, in place of what was in the folder, and the index last.

    Args:
        folder: Where they go.
        suffix: Of the files.
        parts: What is to be written.
        save: Writes a part; returns how many networks it has.

    Returns:
        The number of networks.

    Raises:
        OSError: A file cannot be written.
    """
    (folder / INDEX).unlink(missing_ok=True)  # from now on there is nothing
    names, number = list[str](), 0
    for part in parts:
        names.append(f"{len(names):05}{suffix}")
        number += save(folder / names[-1], part)
    save_json({"shards": names}, folder / INDEX)
    for path in folder.glob(f"*{suffix}"):
        if path.name not in names:
            path.unlink()
    return number


def _save(path: Path, networks: Sequence[LabelledGraph]) -> int:
    parts = (networks[start : start + PER_BATCH] for start in range(0, len(networks), PER_BATCH))
    write_table(path, KINDS, (list(zip(*map(_row, part), strict=True)) for part in parts))
    return len(networks)


def _row(network: LabelledGraph) -> tuple[object, ...]:
    config, graph = json.dumps(network.config), json.dumps(network.graph.state_dict())
    return network.graph.name, network.accuracy, network.flops, network.n_params, config, graph


def shard_paths(folder: Path) -> list[Path]:
    """The shards in a folder, in order.

    Raises:
        InputError: The folder is not one of shards, or was not written to its end.
    """
    content = load_json(folder / INDEX)
    try:
        names = [Path(name).name for name in content["shards"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / INDEX}: not an index of shards") from error
    if not names:
        raise InputError(f"{folder / INDEX}: names no shards")
    return [folder / name for name in names]


def iter_shards(paths: Sequence[Path]) -> Iterator[LabelledGraph]:
    """Read the networks of shards, one by one; each is checked when it is read.

    Raises:
        InputError: A file is missing or damaged, a network is not usable, or two share a name; or PyArrow is not
            installed.
    """
    pool = GraphPool()

    def network(row: dict[str, Any]) -> LabelledGraph:
        graph = pool.graph_from_state(json.loads(row["graph"]))
        validate(graph, pool.fresh)
        return labelled(graph, row["accuracy"], row["flops"], row["n_params"], json.loads(row["config"]))

    rows = ((path, row) for path in paths for row in iter_table(path, KINDS))
    yield from with_own_names(paths[0].parent, (usable(path, row["name"], network, row) for path, row in rows))
