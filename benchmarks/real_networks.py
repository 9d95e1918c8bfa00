"""Which networks that people have come in, and whether what comes in computes the same.

    python benchmarks/real_networks.py results.csv            # hours; goes on where results.csv ends
    python benchmarks/real_networks.py results.csv -sources light -names squeezenet
    python benchmarks/real_networks.py results.csv -table     # the tables of docs/real_networks.md, without running

Each network has a process of its own, random weights, and statistics of batch normalisations and biases that differ
from layer to layer. pytorchcv comes with the extra `[zoo]`, keras.applications with TensorFlow, light models with onnx.
"""

import csv
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from harness import FlagParser, run_script
from zoo import SOURCES, Found, check, names_of

COLUMNS = ("source", "name", *Found._fields)
LARGEST_SHARE = 0.1  # of multiply-accumulates in opaque nodes


def run_one(source: str, name: str, limit: int) -> dict[str, object]:
    """The result of a network, from a process of its own."""
    command = [sys.executable, __file__, "-", "-one", source, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"outcome": "out of time", "reason": f"more than {limit} s"}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"outcome": "failed", "reason": lines[-1][:300]}


def run_all(path: Path, sources: Sequence[str], only: Sequence[str], limit: int) -> None:
    """Append a line per network that the table does not have."""
    known = {(row["source"], row["name"]) for row in read(path)}
    for source in sources:
        for name in names_of(source):
            if (source, name) in known or (only and name not in only):
                continue
            row = {"source": source, "name": name, **run_one(source, name, limit)}
            is_new = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if is_new:
                    writer.writeheader()
                writer.writerow(row)
            sys.stdout.write(f"{source} {name}: {row['outcome']} {row.get('reason', '')}"[:160] + "\n")


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a table; none where there is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{**dict.fromkeys(COLUMNS, ""), **row} for row in csv.DictReader(file, restval="")]


def tables(rows: Sequence[dict[str, str]]) -> str:
    """The Markdown tables: outcomes by source, and what stands in the way."""
    columns = ("exact, all seen", "exact, opaque <= 10 %", "exact, opaque > 10 %", "refused", "wrong", "not decided")
    lines = [f"| source | tried | {' | '.join(columns)} | seconds, median | worst |", "|---" * 10 + "|"]
    by_source = defaultdict(list)
    for row in rows:
        by_source[row["source"]].append(row)
    for source, own in by_source.items():
        counts = Counter(kind(row) for row in own)
        seconds = [float(row["seconds"]) for row in own if row["seconds"] and row["outcome"] == "exact"] or [0.0]
        cells = " | ".join(str(counts[column]) for column in columns)
        lines.append(f"| {source} | {len(own)} | {cells} | {median(seconds):.1f} | {max(seconds):.1f} |")
    blockers: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for blocker in filter(None, row["blockers"].split(" ")):
            blockers[blocker].append(row["name"])
    lines += ["", "| in the way | networks | such as |", "|---|---|---|"]
    for blocker, names in sorted(blockers.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| {blocker} | {len(names)} | {', '.join(names[:3])} |")
    lines += ["", "| of note | networks | which |", "|---|---|---|"]
    for note, is_so in _NOTES.items():
        names = [row["name"] for row in rows if is_so(row)]
        lines.append(f"| {note} | {len(names)} | {', '.join(names) or '-'} |")
    return "\n".join(lines)


# What is worth a word -> whether it is so of a result.
_NOTES: dict[str, Callable[[dict[str, str]], bool]] = {
    "exact in float64, where rounding goes beyond the limit in float32": lambda row: (
        row["precision"] == "float64" and row["outcome"] == "exact"
    ),
    "without their auxiliary output, `aux=False`": lambda row: "aux=False" in row["note"],
    "FLOPs apart from PyTorch's count by more than 0.01 %": lambda row: (
        bool(row["flops_ratio"]) and abs(float(row["flops_ratio"]) - 1) > 1e-4
    ),
}


def kind(row: dict[str, str]) -> str:
    """The column of a result."""
    if row["outcome"] != "exact":
        return row["outcome"] if row["outcome"] in ("refused", "wrong") else "not decided"
    share = float(row["opaque_share"])
    return "exact, all seen" if share == 0 else f"exact, opaque {'<=' if share <= LARGEST_SHARE else '>'} 10 %"


def main(argv: Sequence[str] | None = None) -> None:
    """Run, or only print the tables."""
    parser = FlagParser(__doc__)
    parser.add_argument("table_path", type=Path, help="CSV file that grows")
    parser.add_argument("-sources", nargs="+", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("-names", nargs="+", default=[], help="only these networks")
    parser.add_argument("-limit", type=int, default=300, help="seconds per network")
    parser.add_argument("-table", action="store_true", help="only print what is there")
    parser.add_argument("-one", nargs=2, metavar=("SOURCE", "NAME"), help="one network, in this process")
    args = parser.parse_args(argv)
    if args.one:
        sys.stdout.write(json.dumps(check(*args.one)._asdict()) + "\n")
        return
    if not args.table:
        run_all(args.table_path, args.sources, args.names, args.limit)
    sys.stdout.write(tables(read(args.table_path)) + "\n")


if __name__ == "__main__":
    run_script(main)
