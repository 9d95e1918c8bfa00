"""The first iteration of a search (one parent) with published predictor and vocabulary and the reference database."""

import sys

import numpy as np
from harness import REFERENCE, Row, has_reference, open_goal, reference_mutator, run, seconds_of

REPEATS = 3
PUBLISHED_SECONDS = {"hiaml": 21.6, "nb201": 69.3}  # the reference's baseline.md


def _first_iteration(family: str) -> float:
    from model_src.comp_graph.load import load_cg
    from model_src.search.run import with_run_normalisers

    cg = with_run_normalisers(load_cg(REFERENCE / "published" / "architectures" / f"{family}_best.pkl"))
    mutator, rng = reference_mutator(family), np.random.default_rng(0)  # anew: nothing is remembered

    def work() -> None:
        goal = open_goal(cg, mutator.baseline(cg, rng))  # every better child is taken
        sys.stderr.write(f"{family}: {mutator.mutate(cg, goal, rng).n_scored} children scored\n")

    return seconds_of(work)


def measure() -> list[Row]:
    """Baseline and mutation, files loaded before; one process."""
    if not has_reference():
        return []
    return [
        Row(
            f"one parent, `{family}_best`, reference database",
            "s",
            tuple(_first_iteration(family) for _ in range(REPEATS)),
            seconds / 50,
            published=seconds,
        )
        for family, seconds in PUBLISHED_SECONDS.items()
    ]


if __name__ == "__main__":
    run(measure, __doc__)
