"""The search of the README in turn with that of the project's first version: whole commands, without drawings.

Both score 57,000 networks; ours scores 2,000 of them as whole networks besides. The first version is checked out from
the repository's history beside this one and runs with the same Python. On a machine with other work, the processor
seconds of all processes say more than those of the clock. It is no part of `make bench`.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import ROOT, Row, run

COMMIT = "c62f6a8"
REPEATS = 3
TARGET = 0.9  # of the first version's wall time
PREDICTORS = {"first": "saved_models/psc_chkpt.pt", "ours": "saved_models/ensemble"}
FLAGS = (
    "-model_path architectures/nb201_best.pkl -model_family nb201 -predictor_type PSC_predictor -input_h 32 -input_w 32"
    " -input_c 3 -epoch 10 -top_k 10 -max_candidate_per_iter 10 -max_target_per_iter 100 -num_train_cgs 0"
    " -min_flops_decrease_percent -10 -max_flops_decrease_percent 100 -mutation_unit segment -n_jobs 2 -no_drawings"
)


@contextmanager
def first_version() -> Iterator[Path]:
    """A folder with the files of the first version."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield Path(folder)


def seconds_of_search(folder: Path, predictor: str) -> tuple[float, float]:
    """Wall seconds of the command, and processor seconds of all its processes."""
    with tempfile.TemporaryDirectory() as outputs:
        command = [sys.executable, "autogo.py", *FLAGS.split(), "-predictor_path", predictor, "-output_dir", outputs]
        began, before = time.perf_counter(), os.times()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        wall, after = time.perf_counter() - began, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def measure() -> list[Row]:
    """Wall and processor times, in turn, and ours as shares of the first version's."""
    with first_version() as folder:
        folders = {"first": folder, "ours": ROOT}
        times = [
            {name: seconds_of_search(folders[name], predictor) for name, predictor in PREDICTORS.items()}
            for _ in range(REPEATS)
        ]
    rows = []
    for kind, what in enumerate(("wall", "processor")):
        first, ours = (tuple(both[name][kind] for both in times) for name in PREDICTORS)
        rows += [Row(f"README search, first version: {what} time", "s", first)]
        rows += [Row(f"README search: {what} time", "s", ours)]
        shares = tuple(own / other for own, other in zip(ours, first, strict=True))
        rows += [Row(f"README search: {what} time as a share", "×", shares, TARGET if what == "wall" else None)]
    return rows


if __name__ == "__main__":
    run(measure, __doc__)
