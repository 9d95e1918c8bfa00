"""The folder of a search: the only place that knows the names of its files, writes them and reads them.

It can be moved, and has
    params.pkl, params.json              the flags; version, seed, and a hash of every file that was read
    input.pkl                            the network that the search started from
    iterations/0001.json.gz, ...         what every iteration brought, for going on with the search
    pareto.csv, mutation_result.txt      the results as a table and as the published text
    history.csv                          every network that was scored as a whole
    genealogy.json                       how every result came about, swap by swap
    rank_{i}.pkl, rank_{i}.json.gz       the results, best score first
    input.safetensors, rank_{i}.safetensors   their weights, where the input came with any; input.rest.onnx
    pareto.png, input_arch.png, rank_{i}.png, mutant_{i}.png, mutant_{i}_changes.svg; and an SVG for each drawing
    report.html                          all of it on one page
    rank_{i}.onnx, ...                   exports
    measured.csv, costs.csv              accuracies and costs of networks that were measured during the search
    train_result.json, train_result.txt  trainings of the results
    unfinished                           there while the search is not at its end
    weights/                             weights of every training, and while it runs what it goes on from
    search.log                           what was said and done, with times
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from model_src.csv_tables import load_rows, save_rows
from model_src.files import InputError, load_json, load_pickle, save_json, save_pickle, save_text
from model_src.places import make_folders

_PARAMS, _PARAMS_JSON, _INPUT = "params.pkl", "params.json", "input.pkl"
_TABLE, _HISTORY, _GENEALOGY, _TEXT = "pareto.csv", "history.csv", "genealogy.json", "mutation_result.txt"
_FRONT_PICTURE, _INPUT_PICTURE = "pareto.png", "input_arch.png"
_MEASURED, _COSTS, _UNFINISHED, _ITERATIONS = "measured.csv", "costs.csv", "unfinished", "iterations"
_TRAINED_JSON, _TRAINED_TEXT, _WEIGHTS = "train_result.json", "train_result.txt", "weights"
RESULTS = "rank_*"  # what the names of results' graphs are like


def rank_name(rank: int) -> str:
    """The file of a result's graph, as the table names it."""
    return f"rank_{rank}.pkl"


class ResultFolder:
    """The files of one search.

    Args:
        path: The folder.
        copy: Of the same name in another place, for a copy of the parameters; None for none.
    """

    def __init__(self, path: str | Path, copy: Path | None = None):
        self.path = Path(path)
        self._copy = copy

    @classmethod
    def create(cls, parent: str | Path, name: str, logs_dir: str | Path | None = None) -> "ResultFolder":
        """Make a folder that nobody has, here and in `logs_dir`: `name`, or `name_2`, ... if that is taken.

        Raises:
            OSError: One cannot be made.
        """
        parents = dict.fromkeys(Path(each).resolve() for each in (parent, logs_dir or parent))
        number, own = 1, name
        while not make_folders([each / own for each in parents]):
            number += 1
            own = f"{name}_{number}"
        return cls(Path(parent) / own, Path(logs_dir) / own if logs_dir and len(parents) > 1 else None)

    def remove(self) -> None:
        """Delete the folder, and the one of the copy."""
        for folder in filter(None, (self.path, self._copy)):
            shutil.rmtree(folder, ignore_errors=True)

    # ---- what the search was asked for ----

    def save_params(self, flags: argparse.Namespace, details: Mapping[str, Any]) -> None:
        """Write the flags as a pickle, and readable with what else is known (JSON data).

        Raises:
            OSError: A file cannot be written.
        """
        save_pickle(flags, self.path / _PARAMS)
        text = json.dumps({**details, "flags": vars(flags)}, indent=1, default=str)
        save_text(f"{text}\n", self.path / _PARAMS_JSON)

    def load_details(self) -> Any:
        """The content of the readable parameters.

        Raises:
            InputError: They are missing or are not JSON.
        """
        return load_json(self.path / _PARAMS_JSON)

    def params_path(self, logs_dir: str | Path) -> Path:
        """The file of the flags; version 0.1 wrote it into a folder of the same name under `-logs_dir`."""
        own, elsewhere = self.path / _PARAMS, Path(logs_dir) / self.path.name / _PARAMS
        return elsewhere if elsewhere.exists() and not own.exists() else own

    def copy_params(self) -> None:
        """Copy both files of parameters to where a copy was asked for.

        Raises:
            OSError: A file cannot be written.
        """
        if self._copy:
            for name in (_PARAMS, _PARAMS_JSON):
                shutil.copyfile(self.path / name, self._copy / name)

    @staticmethod
    def load_params(path: Path) -> dict[str, Any]:
        """The flags of a search by name.

        Raises:
            InputError: The file is missing, damaged or holds something else.
        """
        kind = type("Stored", (argparse.Namespace,), {})  # a class of its own, for a pickle may change its class
        params = load_pickle(path, {("argparse", "Namespace"): kind})
        if not isinstance(params, kind):
            raise InputError(f"{path}: holds a {type(params).__name__}, not the flags of a search")
        return vars(params)

    # ---- networks and tables ----

    def save_input(self, graph: Any) -> None:
        """Write the network that the search starts from."""
        save_pickle(graph, self.path / _INPUT)

    @property
    def input_path(self) -> Path:
        """The network that the search started from; version 0.1 wrote none."""
        return self.path / _INPUT

    def save_graph(self, rank: int, graph: Any) -> None:
        """Write the graph of a result, as a pickle and as compressed JSON."""
        path = self.path / rank_name(rank)
        save_pickle(graph, path)
        save_json(graph.state_dict(), path.with_suffix(".json.gz"))

    def save_weights(self, rank: int | None, state: Mapping[str, Any]) -> None:
        """Write the weights (arrays by name) of a result, or of the input."""
        from model_src.comp_graph.weights import save_state

        save_state(state, self.path / (_INPUT if rank is None else rank_name(rank)))

    def save_table(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write the table of results, the input first."""
        save_rows(rows, self.path / _TABLE)

    def save_history(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write the table of all networks that were scored as a whole."""
        save_rows(rows, self.path / _HISTORY)

    def save_genealogy(self, content: Any) -> None:
        """Write how every result came about (JSON data)."""
        save_json(content, self.path / _GENEALOGY)

    def load_genealogy(self) -> Any:
        """How every result came about (JSON data); None where nothing says so.

        Raises:
            InputError: The file is not JSON.
        """
        return load_json(self.path / _GENEALOGY) if (self.path / _GENEALOGY).exists() else None

    def save_report(self, text: str) -> None:
        """Write the published text report."""
        save_text(text, self.path / _TEXT)

    def load_rows(self) -> list[dict[str, str]]:
        """The rows of the table of results, the input first.

        Raises:
            InputError: The table is missing or not one.
        """
        path = self.path / _TABLE
        if not path.exists():
            raise InputError(f"{path}: No such file or directory; is this the folder of a finished search?")
        rows = load_rows(path)
        if not rows or not {"rank", "file", "iteration", "hash"} <= rows[0].keys():
            raise InputError(f"{path}: not the table of a search")
        return rows

    def load_history(self) -> list[dict[str, str]]:
        """The rows of all networks that were scored as a whole, the input first; none where there is no such table.

        Raises:
            InputError: It is not one.
        """
        return load_rows(self.path / _HISTORY) if (self.path / _HISTORY).exists() else []

    def save_iteration(self, number: int, content: Any) -> None:
        """Write what an iteration (from 1) brought (JSON data)."""
        (self.path / _ITERATIONS).mkdir(exist_ok=True)
        save_json(content, self._iteration_path(number))

    def iterations(self) -> Iterator[tuple[Path, Any]]:
        """The file of every iteration so far, and what it brought (JSON data), in order.

        Raises:
            InputError: A file is not JSON.
        """
        number = 1
        while (path := self._iteration_path(number)).exists():
            yield path, load_json(path)
            number += 1

    @property
    def has_iterations(self) -> bool:
        """Whether an iteration of its search is over."""
        return self._iteration_path(1).exists()

    def _iteration_path(self, number: int) -> Path:
        return self.path / _ITERATIONS / f"{number:04}.json.gz"

    @property
    def front_picture(self) -> Path:
        """Where the picture of the front goes."""
        return self.path / _FRONT_PICTURE

    @property
    def input_picture(self) -> Path:
        """Where the drawing of the input goes."""
        return self.path / _INPUT_PICTURE

    def rank_picture(self, rank: int) -> Path:
        """Where the drawing of a result goes."""
        return self.path / f"rank_{rank}.png"

    def mutant_picture(self, rank: int) -> Path:
        """Where the drawing of what is new in a result goes."""
        return self.path / f"mutant_{rank}.png"

    def changes_picture(self, rank: int) -> Path:
        """Where the drawing of the changed regions of a result goes."""
        return self.path / f"mutant_{rank}_changes.svg"

    @property
    def report_path(self) -> Path:
        """Where the page about the search goes."""
        return self.path / "report.html"

    def export_stem(self, rank: int) -> Path:
        """What the names of a result's exports begin with."""
        return self.path / f"rank_{rank}"

    @property
    def log_path(self) -> Path:
        """Where messages go."""
        return self.path / "search.log"

    @property
    def trainings_path(self) -> Path:
        """The trainings' JSON file."""
        return self.path / _TRAINED_JSON

    def load_trainings(self) -> Any:
        """The content of the trainings' JSON file; None where there is none.

        Raises:
            InputError: It is not JSON.
        """
        return load_json(self.trainings_path) if self.trainings_path.exists() else None

    def save_trainings(self, content: Mapping[str, Any], text: str) -> None:
        """Write the trainings as JSON and as the published text."""
        save_text(json.dumps(content, indent=1) + "\n", self.trainings_path)
        save_text(text, self.path / _TRAINED_TEXT)

    @property
    def is_unfinished(self) -> bool:
        """Whether its search is one that can be gone on with, and not at its end."""
        return (self.path / _UNFINISHED).exists()

    def mark_unfinished(self, unfinished: bool) -> None:
        """Remember whether the search can be gone on with."""
        path = self.path / _UNFINISHED
        if unfinished:
            save_text("Go on by -resume.\n", path)
        else:
            path.unlink(missing_ok=True)

    @property
    def costs_path(self) -> Path:
        """The table of costs that were measured for the search."""
        return self.path / _COSTS

    @property
    def measured_path(self) -> Path:
        """The table of networks that were measured during the search."""
        return self.path / _MEASURED

    def state_path(self, graph_hash: str, recipe: Mapping[str, Any], seed: int) -> Path:
        """The weights of a training: its network, its recipe with a hash of all that belongs to it, and its seed."""
        digest = blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=4).hexdigest()
        return self.path / _WEIGHTS / f"{graph_hash[:16]}_{recipe['name']}_{digest}_{seed}.safetensors"
