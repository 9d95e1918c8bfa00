"""TensorFlow is optional: what needs it says so in one line."""

import sys
import zipfile

import pytest

from model_src.comp_graph.load import load_cg
from model_src.files import InputError

torch = pytest.importorskip("torch")

from model_src.comp_graph.exporters.files import export_network  # noqa: E402

MISSING = r"TensorFlow is not installed: pip install autogo\[tf\] \(or tensorflow\)$"


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # Python then finds no such module


@pytest.mark.parametrize("name", ["net.pb", "net.keras", "net"])
def test_its_files_cannot_be_read(tmp_path, name):
    path = tmp_path / name
    if name == "net":
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"x")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match=f"{path}: {MISSING}"):
        load_cg(path, 8, 8, 3)


def test_nothing_is_exported_for_it(tmp_path, tiny_graph):
    with pytest.raises(InputError, match=f"export format 'tf': {MISSING}"):
        export_network(tiny_graph, tmp_path / "net", ["onnx", "tf"])
    assert not list(tmp_path.iterdir())
    assert len(export_network(tiny_graph, tmp_path / "net", ["onnx", "torch"])) == 4
