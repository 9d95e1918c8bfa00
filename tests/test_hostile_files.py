"""What was made to break its reader is refused in one line, in little time and memory, and nothing of it runs."""

import json
import resource
import subprocess
import sys
from pathlib import Path

from model_src.files import LONGEST_LINE
from tests import hostile

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS, MOST_BYTES = 10, 1 << 30


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (200, 200))
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))


def test_hostile_files_are_refused_at_little_cost(tmp_path):
    paths = hostile.write_all(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile"], cwd=ROOT, input=json.dumps([str(path) for path in paths]),
        capture_output=True, text=True, preexec_fn=_limit, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)
    assert {row["file"] for row in rows} == {path.name for path in paths}
    wrong = [
        row
        for row in rows
        if not row["result"].startswith(str(tmp_path / row["file"]))
        or len(row["result"]) > LONGEST_LINE
        or not row["result"].isprintable()
        or row["seconds"] > MOST_SECONDS
        or row["bytes"] > MOST_BYTES
    ]
    assert not wrong
