"""ONNX files as tools leave them: in another order, of half precision, with tensors in other files."""

import logging

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from onnx import TensorProto, helper, numpy_helper, parser  # noqa: E402

from model_src.comp_graph.importers.onnx import from_onnx, load_onnx  # noqa: E402
from model_src.comp_graph.load import load_part  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.comp_graph.importers.test_onnx import labels, model  # noqa: E402

WEIGHTS = {"k": (4, 3, 3, 3), "b": (4,)}
BODY = "a = Conv(x, k, b) y = Relu(a)"


def halved(found: "onnx.ModelProto", kind: int = TensorProto.FLOAT16) -> "onnx.ModelProto":
    """The model with all of its numbers in half precision."""
    for value in (*found.graph.input, *found.graph.output):
        value.type.tensor_type.elem_type = kind
    for tensor in found.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return found


def between_casts(found: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model in half precision, except for its ends: as `onnxruntime.transformers.float16` leaves it."""
    graph = halved(found).graph
    graph.node[0].input[0], graph.node[-1].output[0] = "x16", "y16"
    graph.node.append(helper.make_node("Cast", ["x"], ["x16"], to=TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", ["y16"], ["y"], to=TensorProto.FLOAT))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return found


@pytest.mark.parametrize("change", [halved, between_casts])
def test_half_precision_is_read_in_single_precision(change, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "net.onnx"
    onnx.save(change(model(BODY, weights=WEIGHTS)), path)
    found = load_onnx(path)
    assert labels(found) == ["conv2d", "input", "relu", "output"]
    assert {value.dtype for value in found.state().values()} == {np.dtype(np.float32)}
    assert caplog.text.count("net.onnx: of half precision") == 1
    _, rest = load_part(path, "a")
    assert rest.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_brain_floats_are_read_in_single_precision(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(halved(model(BODY, weights=WEIGHTS), TensorProto.BFLOAT16), path)
    assert labels(load_onnx(path)) == ["conv2d", "input", "relu", "output"]


def test_double_precision_is_fed_with_it(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(halved(model("y = Relu(x)"), TensorProto.DOUBLE), path)
    assert labels(load_onnx(path)) == ["input", "relu", "output"]


def test_images_of_whole_numbers_are_told(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(model("a = Cast<to=1>(x) y = Relu(a)", "uint8[1,3,9,8] x"), path)
    with pytest.raises(InputError, match=r"net\.onnx: its input 'x' is of type uint8, .*-no_check reads it"):
        load_onnx(path)
    assert labels(load_onnx(path, check=False)) == ["input", "relu", "output"]


def test_operations_may_stand_in_any_order():
    found = model("y = Add(c, b) c = Tanh(b) b = Relu(a) a = Conv(x, k)", weights={"k": (4, 3, 1, 1)})
    assert labels(from_onnx(found, "net")) == ["conv2d", "input", "relu", "tanh", "add", "output"]


def test_a_file_of_tensors_that_is_missing_is_named(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(model(BODY, weights=WEIGHTS), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"net\.onnx: the tensor 'k' is in weights\.bin: No such file"):
        load_onnx(path)


def test_the_size_that_does_not_fit_is_told(tmp_path):
    path = tmp_path / "net.onnx"
    text = "net (float[1,3,4,4] x) => (float[] y) { f = Flatten(x) y = Gemm(f, w) }"
    found = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    found.graph.initializer.append(numpy_helper.from_array(np.ones((48, 2), np.float32), "w"))
    onnx.save(found, path)
    with pytest.raises(InputError, match=r"net\.onnx: ONNX does not accept the model for an input of 1 x 3 x 8 x 8: "):
        load_onnx(path, 8, 8, 3)
