"""Networks leave as ONNX, PyTorch and TensorFlow, all computing the same."""

import ast
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from model_src.comp_graph.exporters import files  # noqa: E402
from model_src.comp_graph.exporters.files import ExportError, export_network, network_of  # noqa: E402
from model_src.comp_graph.exporters.onnx import to_onnx  # noqa: E402
from model_src.comp_graph.exporters.torch import module_source, module_state  # noqa: E402
from model_src.comp_graph.graph_ops import same_topology  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph, RegularNode, WeightedNode  # noqa: E402
from model_src.files import InputError  # noqa: E402
from tests.comp_graph.twins import everything, window, with_random_statistics  # noqa: E402
from tests.conftest import conv, regular  # noqa: E402


def fork() -> ComputeGraph:
    """Two outputs, a product of three maps, a dense layer on a map, windows that are not square."""
    nodes = [
        WeightedNode("k", "conv2d", 3, (8, 4, 8, 8, 3, 4), (1, 2, 1, 1), {"padding": "same"}, (3, 4, 1, 3)),
        WeightedNode("d", "matmul", 8, (4, 4, 8, 8, 4, 5), None, {"use_bias": True}, (4, 5, 0, 0)),
        regular("i", "input", 1, 8, 3),
        *(
            RegularNode(str(n), label, op, (4, 4, 8, 8, 4, 4))
            for n, (label, op) in enumerate([("relu", 6), ("tanh", 15)])
        ),
        RegularNode("m", "mul", 10, (4, 4, 8, 8, 4, 4)),
        RegularNode("s", "swish", 16, (4, 4, 8, 8, 4, 4)),
    ]
    edges = [(2, 0), (0, 3), (0, 4), (0, 5), (3, 5), (4, 5), (5, 1), (5, 6)]
    return ComputeGraph.from_nodes("fork", (1, 8, 8, 3), nodes, edges)


def pools() -> ComputeGraph:
    """Every way of padding, with and without a stride."""
    settings = [("maxpool", 12, 3, 1), ("avgpool", 13, 3, 1), ("maxpool", 12, 2, 1), ("avgpool", 13, 2, 1)]
    nodes = [conv("c", 8, 3, 2, kernel=1), regular("i", "input", 1, 8, 3)]
    nodes += [regular(f"p{n}", label, op, 8, 2, **window(k, s)) for n, (label, op, k, s) in enumerate(settings)]
    nodes += [
        regular("cat", "concat", 11, 8, 2, c_out=8),
        regular("v", "maxpool", 12, 8, 8, 3, **window(3, 2, "valid")),
    ]
    edges = [(1, 0), *((0, n) for n in range(2, 6)), *((n, 6) for n in range(2, 6)), (6, 7)]
    return ComputeGraph.from_nodes("pools", (1, 8, 8, 3), nodes, edges)


def row() -> ComputeGraph:
    """A dense layer on a map of one row, which is no vector."""
    nodes = [
        regular("i", "input", 1, 2, 3, w=5),
        conv("c", 2, 3, 4, stride=(2, 1), kernel=1, w=5),
        WeightedNode("d", "matmul", 8, (1, 1, 5, 5, 4, 6), None, None, (4, 6, 0, 0)),
    ]
    return ComputeGraph.from_nodes("row", (1, 2, 5, 3), nodes, [(0, 1), (1, 2)])


def image_of(cg: ComputeGraph, n: int = 2) -> "torch.Tensor":
    _, h, w, c = cg.input_shape
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(0))


def as_list(result) -> list[np.ndarray]:
    return [np.asarray(one) for one in (result if isinstance(result, list | tuple) else [result])]


def run_onnx(model: bytes, image: "torch.Tensor") -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image.numpy()})


def run_source(source: str, state: dict, image: "torch.Tensor"):
    namespace = {}
    exec(compile(source, "network.py", "exec"), namespace)
    network = namespace["Network"]().eval()
    network.load_state_dict(state)
    with torch.inference_mode():
        return as_list(network(image))


def published(reference, name: str) -> ComputeGraph:
    return load_cg(reference / "published" / "architectures" / f"{name}.pkl")


def check_exports(cg: ComputeGraph) -> None:
    network, image = with_random_statistics(network_of(cg)), image_of(cg)
    with torch.inference_mode():
        expected = as_list(network(image))
    found = run_onnx(to_onnx(cg, network).SerializeToString(), image)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-5 * max(1, np.abs(theirs).max())
    found = run_source(module_source(cg, network), module_state(network), image)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * max(1, np.abs(theirs).max()))


@pytest.mark.parametrize("graph", [everything, fork, pools, row])
def test_onnx_and_module_compute_the_same(graph):
    check_exports(graph())


@pytest.mark.parametrize("name", ["hiaml_best", "two_path_best", "nb201_best", "samples/inception/best_autogo"])
def test_published_networks_compute_the_same(reference, name):
    check_exports(published(reference, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nb101_best", "samples/resnet50/autogo_arch1", "samples/vgg/vgg_autogo"])
def test_large_published_networks_compute_the_same(reference, name):
    check_exports(published(reference, name))


def test_onnx_keeps_nodes_weights_and_any_batch_size(tiny_graph):
    model = to_onnx(tiny_graph, network_of(tiny_graph))
    assert [(node.name, node.op_type) for node in model.graph.node] == [
        ("op_c/conv", "Conv"), ("op_r/relu", "Relu"), ("op_a/add", "Add"), ("output", "Identity"),
    ]  # fmt: skip
    assert [tensor.name for tensor in model.graph.initializer] == ["op_c/conv.weight"]
    for n in (1, 3):
        assert run_onnx(model.SerializeToString(), image_of(tiny_graph, n))[0].shape == (n, 8, 8, 8)


def test_the_module_of_a_small_graph_line_by_line(tiny_graph):
    source = module_source(tiny_graph, network_of(tiny_graph), "rank_0")
    assert source.split("class Network")[1] == (
        "(nn.Module):\n"
        "    input_size = (3, 8, 8)  # channels, height, width; windows are padded for it\n"
        "\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv_c = nn.Conv2d(3, 8, 3, padding=1, bias=False)\n"
        "\n"
        "    def forward(self, x):\n"
        "        x = self.conv_c(x)  # 8 x 8 x 8\n"
        "        x1 = F.relu(x)  # 8 x 8 x 8\n"
        "        x = x + x1  # 8 x 8 x 8\n"
        "        return x\n"
    )
    assert source.startswith('"""tiny, for images of 3 x 8 x 8.')
    assert "from rank_0 import Network" in source


def test_no_text_of_a_graph_becomes_code(tiny_graph):
    evil = '"""\nimport os; os.abort()\n"""'
    state = tiny_graph.state_dict()
    state["name"] = evil
    state["weighted_nodes"][0]["str_id"] = f"c {evil}"
    state["regular_nodes"][2]["label"] = "'+os.abort()+'_add"
    cg = ComputeGraph.from_state_dict(state)
    source = module_source(cg, network_of(cg), f"rank {evil}")
    nodes = list(ast.walk(ast.parse(source)))
    imported = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name for node in imported for alias in node.names} == {"torch", "nn", "functional"}
    assert "abort" not in {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert "self.conv_at_1 = " in source


def test_files_of_all_formats_hold_the_same_network(tmp_path):
    tf = pytest.importorskip("tensorflow")
    cg = everything()
    network, image = with_random_statistics(network_of(cg)), image_of(cg)
    with torch.inference_mode():
        expected = network(image).numpy()
    paths = export_network(cg, tmp_path / "out" / "rank_0", ["onnx", "torch", "tf"], network)
    names = ["rank_0.onnx", "rank_0.py", "rank_0.pt", "finetune.py", "rank_0.pb", "rank_0_savedmodel"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    found = run_onnx(paths[0].read_bytes(), image)[0]
    assert np.abs(found - expected).max() < 1e-4

    state = torch.load(paths[2], weights_only=True)
    np.testing.assert_allclose(run_source(paths[1].read_text(), state, image)[0], expected, rtol=1e-6, atol=1e-6)

    saved = tf.saved_model.load(paths[5])
    images = image.permute(0, 2, 3, 1).numpy()
    assert np.abs(saved.signatures["serving_default"](tf.constant(images))["output_0"].numpy() - expected).max() < 1e-4
    graph_def = tf.compat.v1.GraphDef.FromString(paths[4].read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            found = session.run("output:0", {"input:0": images[:1]})
    assert np.abs(found - expected[:1]).max() < 1e-4
    export_network(cg, tmp_path / "out" / "rank_0", ["onnx", "torch", "tf"])  # replaces them


def test_a_written_module_runs_alone(tmp_path, tiny_graph):
    """In a process that cannot see this repository."""
    export_network(tiny_graph, tmp_path / "rank_0", ["torch"])
    code = (
        "import torch\nfrom rank_0 import Network\nnetwork = Network()\n"
        "network.load_state_dict(torch.load('rank_0.pt', weights_only=True))\n"
        "print(tuple(network(torch.zeros(2, 3, 8, 8)).shape))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "(2, 8, 8, 8)\n", done.stderr


def test_exports_read_back_as_the_same_graph(tmp_path):
    pytest.importorskip("tensorflow")
    nodes = [
        conv("c", 8, 3, 8, use_bias=True),
        regular("i", "input", 1, 8, 3),
        regular("b", "fusedbatchnormv3", 5, 8, 8),
        regular("r", "relu6", 7, 8, 8),
        regular("z", "zero", 26, 8, 8),
        regular("a", "add", 9, 8, 8),
        regular("o", "output", 2, 8, 8),
    ]
    edges = [(1, 0), (0, 2), (2, 3), (3, 4), (4, 5), (0, 5), (5, 6)]
    cg = ComputeGraph.from_nodes("net", (1, 8, 8, 3), nodes, edges)
    for path in export_network(cg, tmp_path / "net", ["onnx", "tf"]):
        assert same_topology(load_cg(path), cg), path.name


def lonely_pool() -> ComputeGraph:
    """A pooling with both strides and dilation, which TensorFlow lacks."""
    metadata = {"padding": "valid", "ksize": (1, 3, 3, 1), "dilations": (1, 2, 2, 1)}
    pool = RegularNode("p", "maxpool", 12, (8, 2, 8, 2, 3, 3), (1, 2, 2, 1), metadata)
    return ComputeGraph.from_nodes("pool", (1, 8, 8, 3), [regular("i", "input", 1, 8, 3), pool], [(0, 1)])


@pytest.mark.parametrize("formats", [["tf", "onnx"], ["onnx", "tf"]])
def test_formats_that_work_are_written_and_the_others_named(tmp_path, formats):
    pytest.importorskip("tensorflow")
    with pytest.raises(ExportError) as caught:
        export_network(lonely_pool(), tmp_path / "net", formats)
    reason = "node p (maxpool): TensorFlow has no pooling with both strides and dilation"
    assert str(caught.value) == f"{tmp_path}/net: not exported as tf: {reason}"
    assert caught.value.reasons == {"tf": reason}
    assert caught.value.written == [tmp_path / "net.onnx"] == list(tmp_path.iterdir())


def test_several_formats_that_fail_are_one_error(tmp_path, tiny_graph, monkeypatch):
    def fail(*_):
        raise NotImplementedError("\x1b[1mnot\nhere\x1b[0m")

    monkeypatch.setitem(files.EXPORTERS, "tf", fail)
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(ValueError, match=r"net: not exported as onnx, tf: .*net.onnx: Is a directory; (.*)$") as caught:
        export_network(tiny_graph, tmp_path / "net", ["onnx", "tf", "torch"])
    assert str(caught.value).endswith("; NotImplementedError: not here")
    assert (tmp_path / "net.pt").exists()


def test_what_keras_says_is_one_line_with_the_node(tmp_path):
    pytest.importorskip("tensorflow")
    from model_src.comp_graph.tf_comp_graph_output import build_tf_network

    nodes = [regular("i", "input", 1, 2, 3), regular("p", "maxpool", 12, 2, 3, 1, **window(5, 1, "valid"))]
    with pytest.raises(ValueError, match=r"^node p \(maxpool\): [^\n\x1b]*$") as caught:
        build_tf_network(ComputeGraph.from_nodes("small", (1, 2, 2, 3), nodes, [(0, 1)]), squeeze_output=False)
    assert "Arguments received" not in str(caught.value)


def test_a_network_of_another_graph_is_refused(tmp_path, tiny_graph):
    state = tiny_graph.state_dict()
    state["weighted_nodes"][0]["metadata"] = {"use_bias": True}
    same, other = tiny_graph.from_state_dict(tiny_graph.state_dict()), tiny_graph.from_state_dict(state)
    for network, place in ((network_of(other), "node c"), (network_of(fork()), "node k")):
        with pytest.raises(ValueError, match=f"the network is one of another graph than tiny: they differ at {place}"):
            export_network(tiny_graph, tmp_path / "net", ["onnx"], network)
    assert not list(tmp_path.iterdir())
    assert export_network(tiny_graph, tmp_path / "net", ["onnx"], network_of(same))


def test_what_cannot_leave_is_refused(tmp_path, tiny_graph):
    with pytest.raises(InputError, match="unknown export format 'tflite'; choose from onnx, torch, tf"):
        export_network(tiny_graph, tmp_path / "x", ["onnx", "tflite"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "x_savedmodel").mkdir()
    pytest.importorskip("tensorflow")
    with pytest.raises(InputError, match="x_savedmodel: exists and is no SavedModel"):
        export_network(tiny_graph, tmp_path / "x", ["tf"])
