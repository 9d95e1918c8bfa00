"""`make setup` looks at its Python before anything else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Runs `python3 -c CODE` as another version would, and otherwise only shows what it was asked for.
PYTHON = """#!{python}
import sys
if sys.argv[1] != "-c":
    sys.exit(" ".join(sys.argv[1:]))
sys.version_info = ({version}, "final", 0)
exec(sys.argv[2])
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("version", "answer"),
    [("3, 9, 18", "Python 3.11 or newer is needed, python3 is 3.9"), ("3, 11, 0", "-m venv {venv}")],
)
def test_setup_says_that_python_is_too_old(tmp_path, version, answer):
    python, venv = tmp_path / "python3", tmp_path / "venv"
    python.write_text(PYTHON.format(python=sys.executable, version=version))
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = ["make", "setup", "PYTHON=python3", f"VENV={venv}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == answer.format(venv=venv)
