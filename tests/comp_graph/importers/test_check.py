"""What was read is compared with the original."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from model_src.comp_graph.importers import check
from model_src.comp_graph.importers.onnx import reader
from model_src.comp_graph.importers.torch import from_torch, rebuild
from model_src.comp_graph.load import load_network
from model_src.files import InputError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
IMAGE = torch.zeros(1, 3, 8, 8)


def network(end: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), end or nn.Conv2d(4, 2, 1))


@pytest.fixture
def misread(monkeypatch):
    """Every first weight that is read is a little off."""

    def wrong(*arguments, **options):
        found = read(*arguments, **options)
        first, *others = found.weights
        own = {name: value * 1.001 for name, value in found.weights[first].items()}
        return replace(found, weights={first: own, **{name: found.weights[name] for name in others}})

    read = reader.from_onnx
    for module in ("onnx.reader", "torch"):
        monkeypatch.setattr(f"model_src.comp_graph.importers.{module}.from_onnx", wrong)


def test_a_module_that_is_read_wrongly_is_an_error(misread):
    with pytest.raises(ValueError, match=r"wrongly: .* differs by \d\.\de-0[34] of .* \(1e-06 is allowed\); -no_c"):
        from_torch(network(), IMAGE)
    assert from_torch(network(), IMAGE, check=False).weights


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnx"])
def test_a_file_that_is_read_wrongly_is_an_error(tmp_path, misread, monkeypatch, runtime):
    if runtime == "onnx":
        monkeypatch.setattr("model_src.comp_graph.importers.onnx.runtime.find_spec", lambda name: None)
    else:
        pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    torch.onnx.export(network().eval(), (IMAGE,), path, dynamo=True, optimize=False, verbose=False)
    with pytest.raises(InputError, match=r"net\.onnx: it was read wrongly: .* \(1e-04 is allowed\)"):
        load_network(path)
    assert load_network(path, check=False).weights
    assert load_network(path, 12, 10, 3, check=False).graph.input_shape == (1, 12, 10, 3)


@pytest.mark.parametrize("shape", [(1, 3, 1 << 22, 8), (1 << 20, 3, 8, 8)])
def test_a_file_that_says_a_large_size_is_not_run_at_it(tmp_path, shape):
    weights = onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size) for name, size in
            (("x", shape), ("y", (shape[0], 4, *shape[2:])))]  # fmt: skip
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"])], "net", ends[:1], ends[1:], [weights]
    )
    path = tmp_path / "large.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(
        InputError, match=r"large\.onnx: to run it on images, for a comparison, would take \d\.\d GB; -no_"
    ):
        load_network(path)
    assert load_network(path, check=False).graph.input_shape[1:] == (*shape[2:], 3)


def test_rounding_in_float32_is_no_error(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(check, "_run", lambda module, dtype, device=None: wobbling(run(module, dtype, device), dtype))
    found = from_torch(network(), IMAGE)
    assert "in float64, so that is rounding" in caplog.text
    caplog.clear()
    check.check_same(found, run(rebuild(found), torch.float32))
    assert "in float64, so that is rounding" in caplog.text
    with pytest.raises(ValueError, match=r"differs by \d\.\de[-+]\d+ of the largest result \(1e-04 is allowed\)"):
        check.check_same(found, lambda images: 2 * run(rebuild(found), torch.float32)(images))


run = check._run


def wobbling(original, dtype):
    """A function whose results are never twice the same in float32."""
    rng = np.random.default_rng(0)
    return lambda images: original(images) + (rng.normal(0, 0.1) if dtype == torch.float32 else 0)


def test_results_that_are_no_numbers_cannot_be_checked():
    found = from_torch(network(), IMAGE)
    with pytest.raises(ValueError, match=r"no number, so that it cannot be checked; -no_check"):
        check.check_same(found, lambda images: np.full((2, 2, 6, 6), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"its result is \(2, 2\), that of its graph \(2, 2, 6, 6\)"):
        check.check_same(found, lambda images: np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("end", "shape"),
    [
        (nn.Flatten(), (2, 144)),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 4)),
        (nn.AdaptiveAvgPool2d(1), (2, 4, 1, 1)),
        (nn.Sequential(nn.Flatten(), nn.Softmax(1)), (2, 144)),
        (nn.LogSoftmax(1), (2, 4, 6, 6)),
        (nn.Identity(), (2, 4, 6, 6)),
    ],
)
def test_what_is_rebuilt_has_the_shape_of_the_original(end, shape):
    module, images = network(end).eval(), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        ours, theirs = rebuild(from_torch(module, IMAGE))(images), module(images)
    assert ours.shape == theirs.shape == shape
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("others", "is_same"), [(1, True), (2, False)])
def test_whole_numbers_behind_a_part_may_differ_where_rounding_decides(others, is_same):
    wanted = np.zeros(10_000, np.int64)
    found = np.where(np.arange(wanted.size) < others, 7, wanted)
    imported = from_torch(network(), IMAGE)
    if is_same:
        check.check_rest(imported, lambda part: [found], lambda images: [wanted])
        return
    with pytest.raises(ValueError, match="result 0 is another than the original's"):
        check.check_rest(imported, lambda part: [found], lambda images: [wanted])
