"""The graphs for which there are published numbers."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph

FAMILIES = ("hiaml", "inception", "nb101", "nb201", "two_path")


@dataclass(frozen=True, eq=False)
class Case:
    """A graph and the published numbers on it (`numbers` in the README of the reference)."""

    name: str
    graph: ComputeGraph
    numbers: dict[str, Any]


def read_lines(path: Path) -> Iterator[Any]:
    """The objects of a `.jsonl` or `.jsonl.gz` file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def read_cases(reference: Path) -> list[Case]:
    """15 published files and 37 members of the five families."""
    cases = [
        Case(numbers["file"], load_cg(reference / "published" / numbers["file"]), numbers)
        for numbers in read_lines(reference / "numbers" / "published.jsonl")
    ]
    for family in FAMILIES:
        states = [line["graph"] for line in read_lines(reference / "families" / f"{family}.jsonl.gz")]
        for numbers in read_lines(reference / "numbers" / f"{family}.jsonl"):
            graph = ComputeGraph.from_state_dict(states[numbers["index"]])
            cases.append(Case(f"{family} {numbers['index']}", graph, numbers))
    return cases
