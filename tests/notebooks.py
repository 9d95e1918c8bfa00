"""Runs the notebooks from top to bottom. `python -m tests.notebooks` writes their new outputs into them."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = (ROOT / "model_demo.ipynb", ROOT / "model_src" / "comp_graph" / "transfer_demo.ipynb")


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run, without what changes from run to run or says nothing.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=900, resources=resources, coalesce_streams=True).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # standard error: what TensorFlow says of the processor
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    for path in NOTEBOOKS:
        nbformat.write(executed(path), path)
