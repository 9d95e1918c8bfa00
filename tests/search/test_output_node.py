"""A search of a part of a network: what comes behind it is kept, and put back by the export."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import autogo
import constants
from model_src.comp_graph.exporters.files import export_network, network_of
from model_src.comp_graph.importers.onnx.runtime import OnnxRun
from model_src.comp_graph.load import load_cg
from model_src.files import InputError
from tests.test_autogo import arguments, result_folder, table_of


@pytest.fixture
def two_heads(tmp_path):
    """A network as an ONNX file, and the tensor in front of its head, which is an output, too."""
    cg = load_cg(constants.ROOT / "architectures" / "hiaml_best.pkl")
    (path,) = export_network(cg, tmp_path / "network", ["onnx"], network_of(cg))
    model = onnx.load(path)
    tensor = next(node.input[0] for node in model.graph.node if node.op_type == "GlobalAveragePool")
    model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path, tensor


@pytest.mark.parametrize("goes_on", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_results_have_the_head_of_the_input(two_heads, tmp_path, goes_on):
    path, tensor = two_heads
    given = {"model_path": path, "model_family": "hiaml", "epoch": 1}
    assert autogo.main([*arguments(tmp_path, **given), "-output_node", tensor, "-export", "onnx"]) == 0
    folder = result_folder(tmp_path)
    check(folder, path, tensor)
    if not goes_on:
        return
    assert autogo.main(["-resume", str(folder), "-epoch", "2"]) == 0
    check(folder, path, tensor)
    with pytest.raises(InputError, match=f"-resume .*: its search had -output_node {tensor}, not other"):
        autogo.main(["-resume", str(folder), "-epoch", "3", "-output_node", "other"])


def check(folder, path, tensor):
    original, images = onnx.load(path), np.random.default_rng(0).standard_normal((3, 3, 32, 32), np.float32)
    heads = {node.name: node for node in original.graph.node if node.op_type in ("Gemm", "GlobalAveragePool")}
    wanted = OnnxRun(original, (32, 32, 3)).results(images)
    _, *rows = table_of(folder)
    assert rows
    for row in rows:
        model = onnx.load(folder / row["file"].replace(".pkl", ".onnx"))
        onnx.checker.check_model(model, full_check=True)
        assert [value.name for value in model.graph.output] == ["output", tensor]
        assert {node.name: node for node in model.graph.node if node.name in heads} == heads
        results = OnnxRun(model, (32, 32, 3)).results(images)
        assert [one.shape for one in results] == [one.shape for one in wanted]
        assert all(np.isfinite(one).all() for one in results)
