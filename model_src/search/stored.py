"""What the folder of a search tells about it, read back for trainings, drawings and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg, load_network
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import InputError
from model_src.search.children import Swap
from model_src.search.genealogy import Step
from model_src.search.journal import Journal, Turn
from model_src.search.objectives import FLOPS, UNIT, Objective, objective_of
from model_src.search.pareto import Individual
from model_src.search.result_folder import ResultFolder, rank_name

Cells = Mapping[str, str]

_NAMES = frozenset({"rank", "file", "hash", "parent"})  # columns that hold no numbers
_WHOLE = frozenset({"iteration", "nodes_change"})


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

    def network(self) -> WeightedGraph:
        """The network, with its weights if there are any.

        Raises:
            InputError: Its file is missing or damaged, or holds another network than the table says.
        """
        found = load_network(self.path)
        if canonical_hash(found.graph) != self.row["hash"]:
            raise InputError(f"{self.path}: not the network of rank {self.rank} in the table of its search")
        return found

    def graph(self) -> ComputeGraph:
        """The network alone; see `network`."""
        return self.network().graph


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
        history: Rows of all networks that were scored as a whole, the input first; none where none was.
        source: The input; None in folders of version 0.1, which hold no copy.
        steps: Per rank the swaps that led to a result; empty where they are not known.
        flags: What the search was asked for.
        details: What else is known of it: version, revision, files.
        trainings: The content of the trainings' file; None where there is none.
    """

    folder: ResultFolder
    source_row: Cells
    results: list[StoredNetwork]
    history: Sequence[Cells]
    source: ComputeGraph | None
    steps: Mapping[int, list[Step]]
    flags: Mapping[str, Any]
    details: Mapping[str, Any]
    trainings: Any

    @cached_property
    def objectives(self) -> list[Objective]:
        """What the search made smaller; FLOPs where flags do not say, or are of another version."""
        named, unit = self.flags.get("objective"), str(self.flags.get("objective_unit", UNIT))
        names = named if isinstance(named, list | tuple) and named else [named]
        return [_objective(str(name), unit) for name in names]

    @cached_property
    def turns(self) -> list[Turn]:
        """What every iteration brought; nothing in folders of version 0.1.

        Raises:
            InputError: A file is damaged.
        """
        if self.source is None:
            return []
        row, graph = self.source_row, self.source
        score, mflops = float(row["score"]), float(row["mflops"])
        costs = (mflops,) * len(self.objectives)  # so many, which nobody asks for
        source = Individual(lambda: graph, row["hash"], score, score, costs, mflops, 0, score)
        return list(Journal(self.folder).turns(source))


def _objective(name: str, unit: str) -> Objective:
    try:
        return objective_of(name, unit)
    except InputError:
        return FLOPS


def read_search(folder: ResultFolder) -> StoredSearch:
    """Read the folder of a search.

    Raises:
        InputError: A file is missing or damaged.
    """
    source_row, results = stored_networks(folder)
    history = folder.load_history()
    try:
        _check_cells([source_row, *(one.row for one in results)], ("mflops", "score"))
        _check_cells(history, ("hash", "iteration", "score"))
    except ValueError as error:
        raise InputError(f"{folder.path}: not the tables of a search ({error})") from error
    source = load_cg(folder.input_path) if folder.input_path.exists() else None
    details = read_details(folder)
    return StoredSearch(
        folder,
        source_row,
        results,
        history,
        source,
        _steps(folder),
        details.pop("flags", {}),
        details,
        folder.load_trainings(),
    )


def _check_cells(rows: Sequence[Cells], needed: Sequence[str]) -> None:
    """Cells are numbers or empty, other than names; those that are needed are there.

    Raises:
        ValueError: One is not.
    """
    if missing := [name for name in needed if rows and name not in rows[0]]:
        raise ValueError(f"without {' and '.join(missing)}")
    for row in rows:
        for name, cell in row.items():
            if name not in _NAMES and (cell or name in needed):
                number = int(cell) if name in _WHOLE else float(cell)
                if name in needed and not isfinite(number):
                    raise ValueError(f"{name} {cell}")


def read_details(folder: ResultFolder) -> dict[str, Any]:
    """What is known of a search's parameters; version 0.1 wrote the flags alone, and perhaps elsewhere.

    Raises:
        InputError: They are damaged.
    """
    path = folder.params_path(folder.path.parent)
    try:
        details = folder.load_details()
    except InputError:
        return {"flags": folder.load_params(path)} if path.exists() else {}
    check_details(folder, details)
    found: dict[str, Any] = details
    return found


def check_details(folder: ResultFolder, details: Any) -> None:
    """Check the content of the readable parameters, as far as it is read.

    Raises:
        InputError: It is not that of a search.
    """
    if not isinstance(details, dict) or not isinstance(details.get("flags"), dict) or not _are_named(details):
        raise InputError(f"{folder.path}: not the parameters of a search")


def _are_named(details: Mapping[str, Any]) -> bool:
    """Whether libraries, files and what measured, where they are told, go by their names."""
    libraries, files = details.get("libraries", {}), details.get("files", {})
    return (
        isinstance(libraries, dict)
        and isinstance(files, dict)
        and isinstance(details.get("measured_by", {}), dict)
        and all(isinstance(one, dict) and _is_text(one.get("path"), one.get("sha256")) for one in files.values())
    )


def _is_text(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _steps(folder: ResultFolder) -> dict[int, list[Step]]:
    content: Any = folder.load_genealogy()
    if content is None:
        return {}
    try:
        steps = [_checked(step) for step in content["steps"]]
        return {int(one["rank"]): [steps[at] for at in one["steps"]] for one in content["results"]}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{folder.path}: not the genealogy of a search ({type(error).__name__}: {error})") from error


def _checked(step: Step) -> Step:
    """The step; an error of some kind if it lacks what is told of it."""
    Swap.from_state_dict(step["swap"])
    if not all(isinstance(step[name], str) for name in ("child", "prefix")):
        raise TypeError("a step without names")
    if not all(isinstance(step[name], int | float) for name in ("iteration", "parent_score", "score")):
        raise TypeError("a step without numbers")
    for _, label in step["removed"]:
        if not isinstance(label, str):
            raise TypeError(f"{label!r} is no operation")
    return step
