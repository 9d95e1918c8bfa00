"""The search of the README with two worker processes: wall time of the whole command, and its memory."""

import re
import subprocess
import sys
import tempfile
import time

import psutil
from harness import ROOT, Row, run

REPEATS = 3
FLAGS = """-model_path architectures/nb201_best.pkl -model_family nb201
    -predictor_path saved_models/psc_chkpt.pt -predictor_type PSC_predictor
    -input_h 32 -input_w 32 -input_c 3 -epoch 10 -top_k 10
    -max_candidate_per_iter 10 -max_target_per_iter 100 -num_train_cgs 0
    -min_flops_decrease_percent -10 -max_flops_decrease_percent 100 -mutation_unit segment""".split()


def _memory(process: psutil.Process) -> int:
    """Bytes of a process and its descendants; what they share counts once."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:  # one of them has just ended
        return 0
    return total


def _search(jobs: int) -> tuple[float, float, float]:
    """Seconds of the command and of the search in it, and the largest memory that was seen in GB."""
    with tempfile.TemporaryDirectory() as folder:
        flags = [*FLAGS, "-n_jobs", str(jobs), "-output_dir", folder, "-logs_dir", folder]
        start, peak = time.perf_counter(), 0
        command = [sys.executable, "autogo.py", *flags]
        with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            process = psutil.Process(child.pid)
            while child.poll() is None:
                peak = max(peak, _memory(process))
                time.sleep(0.2)
            seconds, output = time.perf_counter() - start, child.stdout.read()
    searched = re.search(r"networks scored in (\d+) s", output)
    return seconds, float(searched[1]), peak / 1e9


def measure() -> list[Row]:
    """Wall time and memory of the whole command, drawings included."""
    seconds, searched, memory = zip(*(_search(jobs=2) for _ in range(REPEATS)), strict=True)
    _, _, alone = _search(jobs=1)
    return [
        Row("README search on `nb201_best`, `-n_jobs 2`: the whole command", "s", seconds, 120, published=90 * 69.3),
        Row("the same: the search itself", "s", searched),
        Row("the same: peak memory of all processes", "GB", memory, 1.5),
        Row("README search with `-n_jobs 1`: peak memory", "GB", (alone,), 1.5, published=1.40),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
