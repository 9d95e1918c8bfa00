"""Results of a search leave in several formats, also when the search is long over."""

import logging

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from safetensors.numpy import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

import autogo  # noqa: E402
from model_src.comp_graph.exporters import files  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.test_autogo import arguments, result_folder  # noqa: E402


def block(c_in, c_out, stride):
    return nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()


def mine(folder):
    """A network with weights and a pooling that TensorFlow lacks, as a file."""
    torch.manual_seed(0)
    blocks = (*block(3, 32, 1), *block(32, 64, 2), *block(64, 64, 1), nn.MaxPool2d(3, 2, dilation=2))
    end = (*block(64, 128, 1), *block(128, 128, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    module = nn.Sequential(*blocks, *end).eval()
    from_torch(module, torch.zeros(1, 3, 32, 32), "mine").save(folder / "mine.pkl")
    return folder / "mine.pkl"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a finished search whose results were written as ONNX and for PyTorch."""
    tmp_path = tmp_path_factory.mktemp("exported")
    flags = {"model_path": mine(tmp_path), "model_family": "generic", "rescore_per_iter": 20, "max_score_drop": 9}
    assert autogo.main([*arguments(tmp_path, **flags), "-export", "onnx", "torch"]) == 0
    return result_folder(tmp_path)


def exports_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("rank_*") if path.suffix in (".onnx", ".py")}


def weights_of(folder):
    return {path.name: torch.load(path, weights_only=True) for path in folder.glob("rank_*.pt")}


def test_a_finished_search_writes_the_same_exports_again(exported):
    before, weights = exports_of(exported), weights_of(exported)
    assert {"rank_0.onnx", "rank_0.py"} <= before.keys()
    for path in [*exported.glob("rank_*.onnx"), *exported.glob("rank_*.py"), *exported.glob("rank_*.pt")]:
        path.unlink()
    assert autogo.main(["-resume", str(exported), "-export", "onnx", "torch"]) == 0
    assert exports_of(exported) == before
    for name, state in weights_of(exported).items():
        assert state.keys() == weights[name].keys()
        assert all(torch.equal(state[key], weights[name][key]) for key in state)
    with pytest.raises(InputError, match="-resume: the search is finished"):
        autogo.main(["-resume", str(exported)])  # its own -export is no wish to write again


def test_a_format_that_fails_does_not_keep_others_from_being_written(exported, caplog):
    pytest.importorskip("tensorflow")
    before = exports_of(exported)
    for path in exported.glob("rank_*.onnx"):
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert autogo.main(["-resume", str(exported), "-export", "tf", "onnx"]) == 0
    assert exports_of(exported) == before
    said = [message for message in caplog.messages if message.startswith("rank 0 is not exported as tf: node ")]
    assert len(said) == 1
    assert said[0].endswith("TensorFlow has no pooling with both strides and dilation")
    with pytest.raises(InputError, match=r"-export tf: no result of .* can be written so"):
        autogo.main(["-resume", str(exported), "-export", "tf"])


def test_a_failed_write_costs_its_file_alone_and_is_an_error(exported, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device", "rank_0.onnx")

    before = exports_of(exported)
    for path in exported.glob("rank_*.py"):
        path.unlink()
    monkeypatch.setitem(files.EXPORTERS, "onnx", fail)
    with pytest.raises(InputError, match=r"rank_0\.onnx: No space left on device"):
        autogo.main(["-resume", str(exported), "-export", "onnx", "torch"])
    assert exports_of(exported) == before


def test_a_result_that_lost_weights_is_not_filled_with_others(exported):
    path = exported / "rank_0.safetensors"
    content, state = path.read_bytes(), load_file(path)
    for name in [name for name in state if name.endswith(".weight")][:1]:
        del state[name]
    save_file(state, path)
    with pytest.raises(InputError, match=r"rank_0\.pkl: node .*: its weight has shape"):
        autogo.main(["-resume", str(exported), "-export", "onnx"])
    path.write_bytes(content)
