"""docs/extending.md: every example, put where it says it goes in a copy of the repository, works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SECTIONS = re.split(r"^## ", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
MOST_FILES = {"An operation": 3, "A family": 2, "An objective": 1, "A strategy": 1}
# A place (`# FILE` or `# FILE, in front of: TEXT`) and what goes there.
PLACED = re.compile(r"```python\n# ([\w/]+\.py)(?:, in front of: ([^\n]+))?\n(.*?)```", re.DOTALL)
TRIED = re.compile(r"[Tt]ry it:\n\n```(python|bash)\n(.*?)```", re.DOTALL)
PARTS = ("*.py", "model_src", "data/*.txt", "saved_models/*", "cache_sentence_piece/*", "architectures/*.pkl")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the repository as a user has it."""
    for path in (path for part in PARTS for path in ROOT.glob(part)):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, target)
    return tmp_path


def put(code: str, file: Path, before: str) -> None:
    """Put code into a file: in front of the first line that has a text, or at the end."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    place = re.search(f"^.*{re.escape(before)}", text, re.MULTILINE).start() if before else len(text)
    file.write_text(text[:place] + code + text[place:], encoding="utf-8")


def run(kind: str, code: str, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "error"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-ec", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition(":")[0])
def test_an_example_works_with_the_files_that_it_names(section, checkout):
    name, promised = re.match(r"(.*): (\d) files?\n", section).groups()
    files = {file for file, _, _ in PLACED.findall(section)}
    assert len(files) == int(promised) <= MOST_FILES.get(name, 2)
    for file, before, code in PLACED.findall(section):
        put(code, checkout / file, before)
    tried = TRIED.findall(section)
    assert len(tried) + len(PLACED.findall(section)) == section.count("```") / 2 > 1
    for kind, code in tried:
        done = run(kind, code, checkout)
        assert done.returncode == 0, done.stderr


def test_all_that_was_promised_is_there():
    assert set(MOST_FILES) <= {section.partition(":")[0] for section in SECTIONS}
