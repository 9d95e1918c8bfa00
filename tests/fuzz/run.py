"""Fuzz the loaders for a given time: `python -m tests.fuzz.run -minutes 10`.

Each loader has a process of its own, so that one that dies costs its turn only. A file that is neither refused nor a
network is kept in `tests/fuzz/corpus/LOADER`, as small as it could be made; the test suite reads it from then on.
"""

import argparse
import faulthandler
import hashlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

CORPUS = Path(__file__).parent / "corpus"
BATCH, MOST_FAULTS, LONGEST_CASE, MOST_MEMORY = 500, 8, 600, 8 << 30  # seconds, bytes


def main() -> int:
    parser = argparse.ArgumentParser(description="fuzz the loaders")
    parser.add_argument("-minutes", type=float, default=10)
    parser.add_argument("-loaders", default="", help="joined with +; all by default")
    parser.add_argument("-seed", type=int, default=int(time.time()))
    parser.add_argument("-counts", type=Path, help="write the counts there as JSON")
    args = parser.parse_args()
    from tests.fuzz.targets import targets

    known = targets()
    names = args.loaders.split("+") if args.loaders else list(known)
    shares = sum(known[name].share for name in names)
    total, faults = Counter(), 0
    for name in names:
        counts = _in_a_process(name, args.seed, 60 * args.minutes * known[name].share / shares)
        sys.stdout.write(f"{name:14} " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) + "\n")
        sys.stdout.flush()
        faults += counts["faults"]
        for what, count in counts.items():
            total[what] += count
        if args.counts:
            rows = json.loads(args.counts.read_text()) if args.counts.exists() else {}
            rows[name] = Counter(rows.get(name, {})) + counts
            args.counts.write_text(json.dumps(rows, indent=1))
    sys.stdout.write(f"{total['accepted'] + total['refused']} cases, {faults} faults\n")
    return 1 if faults else 0


def _in_a_process(name: str, first_seed: int, seconds: float) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_fuzz, args=(name, first_seed, seconds, Path(folder)))
        process.start()
        process.join()
        path = Path(folder) / "counts.json"
        counts = Counter(json.loads(path.read_text())) if path.exists() else Counter()
        if process.exitcode:
            for case in set(Path(folder).iterdir()) - {path}:
                keep(name, case, f"the process ended with {process.exitcode}")
            counts["faults"] += 1
        return counts


def _fuzz(name: str, first_seed: int, seconds: float, folder: Path) -> None:
    from tests.fuzz.cases import Fault, check, files
    from tests.fuzz.targets import targets

    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    target, counts = targets()[name], Counter()
    path = folder / (target.suffix if not target.suffix.startswith(".") else f"case{target.suffix}")
    number, end = first_seed, time.monotonic() + seconds

    @settings(max_examples=BATCH, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
              suppress_health_check=list(HealthCheck), report_multiple_bugs=False)  # fmt: skip
    @given(files(target))
    def batch(case):
        faulthandler.dump_traceback_later(LONGEST_CASE, exit=True)
        check(target, case, path, counts)

    while time.monotonic() < end and counts["faults"] < MOST_FAULTS:
        try:
            seed(number)(batch)()
        except Fault as error:
            keep(name, path, str(error))
            counts["faults"] += 1
        number += 1
        faulthandler.cancel_dump_traceback_later()
        (folder / "counts.json").write_text(json.dumps(counts))


def keep(name: str, path: Path, reason: str) -> None:
    """Put a file into the corpus and say why."""
    content = path.read_bytes()
    place = CORPUS / name / f"{hashlib.sha256(content).hexdigest()[:12]}.bin"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    sys.stdout.write(f"FAULT {place}: {' '.join(reason.split())[:600]}\n")


if __name__ == "__main__":
    sys.exit(main())
