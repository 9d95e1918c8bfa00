"""The Python of the README runs as written."""

import os
import re
import subprocess
import sys

import onnx
import pytest

import constants

README = (constants.ROOT / "README.md").read_text(encoding="utf-8")
OWN = README.partition("## Your own network")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", OWN, re.DOTALL)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "architectures").symlink_to(constants.ROOT / "architectures")

    def python(code):
        environment = {**os.environ, "PYTHONPATH": str(constants.ROOT)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return python


def test_a_trained_network_becomes_an_exported_one_that_inherits(run, tmp_path):
    first = BLOCKS[0]
    assert len([line for line in first.partition("\nmine = ")[2].splitlines() if line]) <= 10
    inherited, of = map(int, re.match(r"(\d+) of (\d+) layers inherited", run(first)).groups())
    assert 0 < inherited < of
    onnx.checker.check_model(onnx.load(tmp_path / "rank_0.onnx"), full_check=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"rank_0.py", "rank_0.pt", "finetune.py"} <= names


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_the_other_blocks_run(run, number):
    assert run(BLOCKS[number])
