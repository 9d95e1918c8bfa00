"""The pages: what they link to and the flags that they name exist."""

import importlib
import re
import runpy

import pytest

from tests.conftest import ROOT
from tests.test_layers import LAYERS

PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not {".venv", "outputs", ".git"} & set(path.relative_to(ROOT).parts)
)
FLAG = re.compile(r"(?<![\w-])-[a-z_]{3,}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        if file.startswith("http"):
            continue
        linked = page.parent / file if file else page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_flags_of_the_paper_page_exist(capsys):
    for script in sorted({path.stem for path in ROOT.glob("*.py")} - {"constants"}):
        with pytest.raises(SystemExit):
            importlib.import_module(script).main(["-h"])
    named = set(FLAG.findall((ROOT / "docs" / "paper.md").read_text(encoding="utf-8")))
    assert len(named) > 20
    assert named <= set(FLAG.findall(capsys.readouterr().out))


def test_the_rooms_stand_in_the_order_of_their_layers():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)(?:\.py|/)`", " ".join(rows))) == LAYERS


def test_the_overview_is_what_its_script_draws():
    script = runpy.run_path(str(ROOT / "docs" / "draw_overview.py"))
    assert script["PICTURE"].read_text(encoding="utf-8") == script["picture"]()
