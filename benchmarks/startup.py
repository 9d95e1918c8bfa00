"""How long the command line and the graph module take to answer, each in a fresh process."""

import subprocess
import sys

from harness import ROOT, Row, run, seconds_of

REPEATS = 7


def _seconds(*command: str) -> float:
    return seconds_of(lambda: subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True))


def measure() -> list[Row]:
    """Wall times of whole processes; of the import, without the interpreter's own start."""
    import_module = "from model_src.comp_graph import tf_comp_graph"
    timed = f"import time; start = time.perf_counter(); {import_module}; print(time.perf_counter() - start)"
    imports = [subprocess.check_output([sys.executable, "-c", timed], cwd=ROOT) for _ in range(REPEATS)]
    load = "from benchmarks.harness import shipped_mutator; shipped_mutator()"
    return [
        Row(
            "`python autogo.py -h`", "s", tuple(_seconds("autogo.py", "-h") for _ in range(REPEATS)), 0.5, published=8.9
        ),
        Row("import of `model_src.comp_graph.tf_comp_graph`", "s", tuple(map(float, imports)), 0.3),
        Row(
            "all that a worker loads (PyTorch, predictor, database)", "s", tuple(_seconds("-c", load) for _ in range(3))
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
