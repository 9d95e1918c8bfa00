"""A finished search, read from its folder."""

import csv
from pathlib import Path

from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError
from model_src.training.frontier import FrontierNetwork

TABLE_NAME = "pareto.csv"


def read_results(folder: str | Path, source: ComputeGraph) -> list[FrontierNetwork]:
    """The results of a search.

    Args:
        folder: Of the search.
        source: Its input, as it is now.

    Raises:
        InputError: A file is missing or damaged, or `source` is not what the search started from.
    """
    path = Path(folder) / TABLE_NAME
    try:
        with path.open(encoding="utf-8", newline="") as file:
            (first, *rows) = csv.DictReader(file)
        source_hash = first["hash"]
        results = [(int(row["rank"]), path.parent / row["file"], int(row["iteration"])) for row in rows]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; is this the folder of a finished search?") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: not the table of a search ({type(error).__name__}: {error})") from error
    if canonical_hash(source) != source_hash:
        raise InputError(f"{path}: its search started from another network than -model_path is now")
    return [FrontierNetwork(rank, load_cg(file), iteration) for rank, file, iteration in results]
