"""Run all benchmarks or those named, each in a fresh process, and append their rows to benchmarks/results.md."""

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from harness import ROOT, Row, table

SCRIPTS = (
    "startup",
    "search",
    "parent",
    "child",
    "targets",
    "milp",
    "psc_cache",
    "training",
    "scoring",
    "growth",
    "database",
    "train_cifar10",
    "pictures",
)
PACKAGES = ("torch", "numpy", "highspy", "rustworkx", "sentencepiece")
RESULTS = ROOT / "benchmarks" / "results.md"
HEAD = """# Measured times

Written by `make bench`, newest run last; one script of `benchmarks/` per group of rows. The median is held against the
target. Columns with * compare with the published code's figures, measured earlier on another machine of this kind
(2 cores, CPU only): these ratios are across machines.
"""


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.processor() or platform.machine()


def _memory() -> str:
    lines = Path("/proc/meminfo").read_text().split() if Path("/proc/meminfo").exists() else ["", "0"]
    return f"{int(lines[1]) / 1e6:.0f} GB"


def _rows(script: str, folder: Path) -> list[Row]:
    path, start = folder / f"{script}.json", time.perf_counter()
    done = subprocess.run([sys.executable, f"benchmarks/{script}.py", "-json", path], cwd=ROOT)
    print(f"{script}: {time.perf_counter() - start:.0f} s", flush=True)
    if done.returncode:
        return [Row(f"`{script}.py` failed", "", (math.nan,), math.nan)]
    return [Row(**row) for row in json.loads(path.read_text())]


def main() -> int:
    """Measure, print and append."""
    start, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for script in sys.argv[1:] or SCRIPTS for row in _rows(script, Path(folder))]
    judged = [row for row in rows if row.target is not None]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    words = (
        f"\n## {time.strftime('%Y-%m-%d %H:%M')}\n\n{_processor()}, {_memory()}, {platform.system()}; "
        f"Python {platform.python_version()}, {versions}. Load before: {load:.1f}. "
        f"All together {time.perf_counter() - start:.0f} s; "
        f"{sum(row.met for row in judged)} of {len(judged)} targets met.\n\n"
    )
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else HEAD
    RESULTS.write_text(f"{before}{words}{table(rows)}\n", encoding="utf-8")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
