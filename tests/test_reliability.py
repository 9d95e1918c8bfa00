"""The harness of `make reliability`: it kills what it says, and names tests and parts of the page that exist."""

import re
import signal
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import sys
from pathlib import Path
from model_src.files import save_text

def cli():
    for number in range(3):
        save_text("x" * 1000, Path(sys.argv[1]) / f"{number}.txt")
    while len(sys.argv) > 2:
        pass
"""

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the forks of these tests start no thread


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of the harness, from which its modules are imported, for one test."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("reliability", "harness", "killed_script")):
            del sys.modules[name]


@pytest.mark.usefixtures("benchmarks")
def test_every_fault_names_tests_that_exist():
    from reliability_faults import FAULTS

    for fault in FAULTS:
        for test in fault.tests:
            file, _, name = test.partition("::")
            assert re.search(rf"^def {name}", (ROOT / "tests" / file).read_text(), re.MULTILINE), test


@pytest.mark.usefixtures("benchmarks")
def test_a_table_takes_its_place_in_the_page(tmp_path, monkeypatch):
    import reliability

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- soak -->\nold\n<!-- end of soak -->\nafter\n")
    monkeypatch.setattr(reliability, "PAGE", page)
    reliability.write_part("soak", ["a", "b"], [["1", "2"]])
    assert page.read_text() == "before\n<!-- soak -->\n| a | b |\n|---|---|\n| 1 | 2 |\n<!-- end of soak -->\nafter\n"
    text = (ROOT / "docs" / "reliability.md").read_text()
    assert all(f"<!-- {part} -->" in text and f"<!-- end of {part} -->" in text for part in reliability.PARTS)


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("when", ["before", "half-way", "after"])
def test_a_script_is_killed_in_its_writes(tmp_path, monkeypatch, when):
    from reliability_kills import Run
    from reliability_writes import at_write

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "killed_script.py").write_text(SCRIPT)
    (tmp_path / "out").mkdir()
    run = Run(("killed_script", [str(tmp_path / "out")]), tmp_path / "log", at_write(2, when))
    assert run.wait().code == -signal.SIGKILL
    found = {(path.name[:6], path.stat().st_size) for path in (tmp_path / "out").iterdir()}
    second = {"before": (".1.txt", 1000), "half-way": (".1.txt", 500), "after": ("1.txt", 1000)}[when]
    assert found == {("0.txt", 1000), second}


@pytest.mark.usefixtures("benchmarks")
def test_a_script_is_killed_after_some_work(tmp_path, monkeypatch):
    from reliability_kills import Run

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "killed_script.py").write_text(SCRIPT)
    for flags, code in (([str(tmp_path)], 0), ([str(tmp_path), "for ever"], -signal.SIGKILL)):
        run = Run(("killed_script", flags), tmp_path / "log")
        run.kill_at(0.2)
        assert run.wait().code == code
