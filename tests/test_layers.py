"""The arrows between packages go one way, and the graph module stays light."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A layer imports only from those before it; the first ones also from each other.
BASE = (
    "constants", "pickles", "json_stream", "files", "csv_tables", "places", "kept", "config_file", "cli", "runtime",
    "processes",
)  # fmt: skip
LAYERS = (
    *BASE, "families", "comp_graph", "search_space", "encoder", "propagation", "labels", "family_data", "predictor",
    "training", "profiling", "search",
)  # fmt: skip


def imported_modules(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "model_src")


def layer(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "model_src":
        return parts[1] if len(parts) > 1 else None
    return parts[0] if parts[0] == "constants" else None


@pytest.mark.parametrize("path", sorted((ROOT / "model_src").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    relative = path.relative_to(ROOT / "model_src")
    here = relative.parts[0].removesuffix(".py")
    if here == "__init__":
        return
    for module in imported_modules(path):
        there = layer(module)
        if there is None or there == here:
            continue
        allowed = {*LAYERS[: LAYERS.index(here)], *(BASE if here in BASE else ())}
        assert there in allowed, f"{relative} imports {module}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("model_src.comp_graph.tf_comp_graph", ("torch", "tensorflow", "networkx", "pandas", "pyomo")),
        ("model_src.search.running", ("torch", "tensorflow", "sklearn", "networkx", "matplotlib")),
        ("autogo", ("torch", "tensorflow", "networkx", "pandas", "numpy")),
    ],
)
def test_light_modules_stay_light(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_scripts_writes_nothing_and_leaves_settings_alone(tmp_path):
    scripts = sorted(path.stem for path in ROOT.glob("*.py"))
    assert "autogo" in scripts
    assert len(scripts) >= 9
    code = f"import sys, {', '.join(scripts)}; print([m for m in ('matplotlib', 'PIL', 'torch') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    before = sorted(path.name for path in ROOT.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())
    assert sorted(path.name for path in ROOT.iterdir()) == before
