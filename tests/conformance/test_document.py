"""docs/conformance.md decides every known defect and names tests that exist."""

import re

from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests"


def test_every_known_defect_is_decided_once():
    assert re.findall(r"^\| D-(\d\d) \|", TEXT, re.MULTILINE) == [f"{number:02}" for number in range(1, 76)]


def test_the_named_tests_exist():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 100
    for file, name in named:
        paths = [path for path in (TESTS / file, TESTS / "conformance" / file) if path.exists()]
        assert len(paths) == 1, file
        assert f"def {name}(" in paths[0].read_text(encoding="utf-8"), f"{file}::{name}"
