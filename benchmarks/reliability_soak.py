"""A long search, and how much memory it holds after its iterations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from harness import ROOT
from reliability_jobs import search_flags
from reliability_kills import Run

from model_src.search.journal import Journal

FIRST = 20  # iteration that the others are held against
SMALL: dict[str, Any] = {
    **{"predictor_path": ROOT / "saved_models" / "psc_chkpt.pt", "rescore_per_iter": 0},
    **{"top_k": 2, "max_candidate_per_iter": 2, "max_target_per_iter": 6},
}


def soak(place: Path, iterations: int) -> Iterator[list[str]]:
    """Rows: iteration, memory in MB, and its share of that after iteration 20."""
    notes = place / "memory"

    def note() -> None:
        append = Journal.append

        def noting(self: Journal, turn: Any) -> None:
            append(self, turn)
            with notes.open("a") as file:
                file.write(f"{psutil.Process().memory_info().rss}\n")

        Journal.append = noting  # type: ignore[method-assign]

    done = Run(("autogo", search_flags(place, epoch=iterations, **SMALL)), place / "soak.log", note).wait(3600)
    if done.code:
        raise RuntimeError(f"the long search ended with {done.code}: {done.printed[-2000:]}")
    memory = [int(line) / 1e6 for line in notes.read_text().split()]
    for number in dict.fromkeys([FIRST, *range(iterations // 4, iterations, iterations // 4), len(memory)]):
        yield [str(number), f"{memory[number - 1]:.0f}", f"{memory[number - 1] / memory[FIRST - 1]:.2f}"]
