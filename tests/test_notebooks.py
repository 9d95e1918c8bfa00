"""The notebooks run from top to bottom and are saved with their outputs."""

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from tests.notebooks import NOTEBOOKS, ROOT, executed  # noqa: E402


def ids(path):
    return path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_saved_with_outputs_and_without_machine_paths(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 200_000
    assert str(ROOT) not in text
    cells = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert len(outputs) >= 5
    assert not [output for output in outputs if output.output_type == "error"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_runs_from_top_to_bottom(path):
    if path.name == "model_demo.ipynb":
        for package in ("tensorflow", "onnxruntime", "pandas"):
            pytest.importorskip(package)
    saved, new = nbformat.read(path, as_version=4), executed(path)
    assert [cell.source for cell in new.cells] == [cell.source for cell in saved.cells]
    assert [len(cell.get("outputs", ())) for cell in new.cells] == [
        len(cell.get("outputs", ())) for cell in saved.cells
    ]
