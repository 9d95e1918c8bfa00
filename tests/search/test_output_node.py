"""A search of a part of a network: what comes behind it is kept, and put back by the export."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import autogo
import constants
from model_src.comp_graph.exporters.files import export_network, network_of
from model_src.comp_graph.importers.onnx.runtime import OnnxRun
from model_src.comp_graph.importers.tensorflow.values import run
from model_src.comp_graph.inheritance import all_of
from model_src.comp_graph.load import load_cg, load_network
from model_src.comp_graph.rest import load_rest
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
        check_export_later(folder, path, tensor)
        again = {"model_path": folder / "rank_0.json.gz", "model_family": "hiaml", "epoch": 1}
        assert autogo.main([*arguments(tmp_path / "again", **again), "-export", "onnx"]) == 0
        check(result_folder(tmp_path / "again"), path, tensor)
        (folder / "input.rest.onnx").unlink()
        with pytest.raises(InputError, match=r"input\.rest\.onnx: is missing"):
            autogo.main([*arguments(tmp_path / "third", **again)])
        return
    assert autogo.main(["-resume", str(folder), "-epoch", "2"]) == 0
    check(folder, path, tensor)
    with pytest.raises(InputError, match=f"-resume .*: its search had -output_node {tensor}, not other"):
        autogo.main(["-resume", str(folder), "-epoch", "3", "-output_node", "other"])


def check_export_later(folder, path, tensor):
    """The finished search writes whole networks again, and without the rest it refuses to write parts."""
    for one in folder.glob("rank_*.onnx"):
        one.unlink()
    assert autogo.main(["-resume", str(folder), "-export", "onnx"]) == 0
    check(folder, path, tensor)
    rest = folder / "input.rest.onnx"
    content = rest.read_bytes()
    rest.unlink()
    for flags in (["-export", "onnx"], ["-epoch", "2"]):
        with pytest.raises(InputError, match=r"input\.rest\.onnx: is missing; it is what comes behind the part"):
            autogo.main(["-resume", str(folder), *flags])
    rest.write_bytes(content)
    details = json.loads((folder / "params.json").read_text())
    assert details["rest"] is True


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


@pytest.fixture
def two_heads_of_tensorflow(tmp_path):
    """The same as a frozen graph, whose head ends in what no graph can hold, and the tensor in front of it."""
    tf = pytest.importorskip("tensorflow")
    cg = load_cg(constants.ROOT / "architectures" / "hiaml_best.pkl")
    path, *_ = export_network(cg, tmp_path / "network", ["tf"], network_of(cg))
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    tensor = next(node.input[0] for node in graph_def.node if node.op == "Mean")
    with tf.Graph().as_default() as graph:
        ends = [f"{tensor}:0", f"{graph_def.node[-1].name}:0"]
        features, classes = tf.import_graph_def(graph_def, name="", return_elements=ends)
        tf.identity(features, name="features")
        tf.math.top_k(classes, 3, name="best")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path, tensor, graph


@pytest.mark.slow
def test_results_of_a_frozen_graph_have_its_heads(two_heads_of_tensorflow, tmp_path):
    path, tensor, graph = two_heads_of_tensorflow
    image, names = "input", ["features", "best", "best:1"]
    given = {"model_path": path, "model_family": "hiaml", "epoch": 1}
    assert autogo.main([*arguments(tmp_path, **given), "-output_node", tensor, "-export", "onnx"]) == 0
    folder = result_folder(tmp_path)
    own, weights = load_network(folder / "input.pkl")
    network, behind = network_of(own, inherited=all_of(weights)), load_rest(folder / "input.pkl")
    (same,) = export_network(own, tmp_path / "same", ["onnx"], network, behind)
    images = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)  # so many as the file says
    for file, fed in ((same, image), (folder / "rank_0.onnx", tensor)):  # from the image, and from the part's result on
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert [value.name for value in model.graph.output] == names
        found = OnnxRun(model, (32, 32, 3)).results(images)
        value = images.transpose(0, 2, 3, 1) if fed == image else found[0]
        for one, wanted in zip(found, run(graph.as_graph_def(), names, [(fed, value)]), strict=True):
            np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
