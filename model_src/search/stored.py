"""What the folder of a search tells about it, read back for trainings, drawings and the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.search.genealogy import Step
from model_src.search.result_folder import ResultFolder, rank_name

Cells = Mapping[str, str]


@dataclass(frozen=True)
class StoredNetwork:
    """A result as the table has it.

    Attributes:
        rank: 0 has the best score.
        iteration: When it was found.
        path: The file of its graph.
        row: Its row of the table.
    """

    rank: int
    iteration: int
    path: Path
    row: Cells = field(repr=False)

    def graph(self) -> ComputeGraph:
        """The network.

        Raises:
            InputError: Its file is missing or damaged.
        """
        return load_cg(self.path)


def stored_networks(folder: ResultFolder) -> tuple[Cells, list[StoredNetwork]]:
    """The row of the input, and the results in rank order.

    Raises:
        InputError: The table is missing or not one, or names a file that is not of this folder.
    """
    first, *rows = folder.load_rows()
    try:
        found = [StoredNetwork(int(row["rank"]), int(row["iteration"]), folder.path / row["file"], row) for row in rows]
    except ValueError as error:
        raise InputError(f"{folder.path}: not the table of a search ({error})") from error
    for one in found:
        if one.path.name != rank_name(one.rank) or one.path.parent != folder.path:
            raise InputError(f"{folder.path}: the file of rank {one.rank} is {one.path}, not {rank_name(one.rank)}")
    return first, found


@dataclass(frozen=True)
class StoredSearch:
    """A search as its folder has it.

    Attributes:
        folder: The folder.
        source_row: The row of the input in the table of results.
        results: The results, best score first.
        source: The input; None in folders of version 0.1, which hold no copy.
        steps: Per rank the swaps that led to a result; empty where they are not known.
    """

    folder: ResultFolder
    source_row: Cells
    results: list[StoredNetwork]
    source: ComputeGraph | None = None
    steps: Mapping[int, list[Step]] = field(default_factory=dict)


def read_search(folder: ResultFolder) -> StoredSearch:
    """Read the folder of a search.

    Raises:
        InputError: A file is missing or damaged.
    """
    source_row, results = stored_networks(folder)
    source = load_cg(folder.input_path) if folder.input_path.exists() else None
    return StoredSearch(folder, source_row, results, source, _steps(folder))


def _steps(folder: ResultFolder) -> dict[int, list[Step]]:
    content: Any = folder.load_genealogy()
    if content is None:
        return {}
    try:
        return {int(one["rank"]): [content["steps"][at] for at in one["steps"]] for one in content["results"]}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{folder.path}: not the genealogy of a search ({type(error).__name__}: {error})") from error
