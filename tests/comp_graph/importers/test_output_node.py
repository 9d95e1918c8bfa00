"""Networks of which only the part in front of a tensor is read; what comes behind goes along and is put back."""

import os
import re

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from model_src.comp_graph.exporters.files import export_network, network_of
from model_src.comp_graph.importers.onnx import load_onnx
from model_src.comp_graph.importers.onnx.runtime import OnnxRun
from model_src.comp_graph.importers.torch import from_torch
from model_src.comp_graph.inheritance import all_of
from model_src.comp_graph.load import load_network, load_part
from model_src.comp_graph.rest import load_rest
from model_src.comp_graph.weights import WeightedGraph
from model_src.files import InputError

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Detector(nn.Module):
    """A backbone, a neck with a shortcut, two heads, one of which asks the image for its size."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(True)
        )
        self.neck = nn.Conv2d(16, 16, 3, padding=1)
        self.classes, self.mask = nn.Linear(16, 4), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        y = self.backbone(x)
        z = y + torch.relu(self.neck(y))
        mask = nn.functional.interpolate(self.mask(z), x.shape[-2:])
        return {"classes": self.classes(z.mean((2, 3))).softmax(1), "mask": mask, "features": y}


@pytest.fixture
def detector():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = Detector()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    return module


def own_network(found):
    graph, weights = found.weighted()
    return network_of(graph, inherited=all_of(weights))


def exported(found, folder):
    """The results of the ONNX file of what was read, with the rest behind it."""
    (path,) = export_network(found.graph, folder / "whole", ["onnx"], own_network(found), found.rest)
    model = onnx.load(path)
    names = [value.name for value in model.graph.output]
    return dict(zip(names, OnnxRun(model, (16, 16, 3)).results(IMAGES.numpy()), strict=True))


@pytest.mark.parametrize("node", ["backbone", "backbone_0"])
def test_a_module_goes_on_behind_its_part(detector, node, tmp_path):
    detector.train()
    found = from_torch(detector, IMAGES[:1], "detector", output_node=node)
    assert detector.training
    assert all(part.training for part in detector.modules())
    whole = found.rest.behind(own_network(found)).eval()
    wanted, given = detector.eval()(IMAGES), whole(IMAGES)
    assert given.keys() == wanted.keys()
    for name, one in wanted.items():
        torch.testing.assert_close(given[name], one)
    if node == "backbone":
        for one, other in zip(wanted.values(), exported(found, tmp_path).values(), strict=True):
            np.testing.assert_allclose(other, one.detach().numpy(), rtol=1e-4, atol=1e-5)
    whole(IMAGES)["mask"].sum().backward()
    assert whole.rest.get_submodule("mask").weight.grad is not None
    assert detector.mask.weight.grad is None


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("neck", "what comes behind it also needs 'backbone_4'"),
        ("mask", "what comes behind it also needs 'backbone_4', 'softmax'"),
        ("bakbone", "no submodule or node has this name; close are 'backbone'"),
        ("x", "it does not depend on the image"),
        ("getattr_1", "it is a Size, not one tensor"),
    ],
)
def test_what_a_module_cannot_be_cut_at_is_refused(detector, node, reason):
    with pytest.raises(ValueError, match=f"-output_node {node}: {reason}") as error:
        from_torch(detector, IMAGES[:1], output_node=node)
    assert "\n" not in str(error.value)


def test_a_module_that_several_tensors_leave(detector):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, x):
            a, b = self.two(x)
            return a + b

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.a(x), self.b(x)

    with pytest.raises(ValueError, match="-output_node two: it gives several tensors; name 'two_a', 'two_b'"):
        from_torch(Pair(), IMAGES[:1], output_node="two")


def test_a_module_that_only_torch_export_traces():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 2)

        def forward(self, x):
            y = self.a(x)
            return self.b(y.mean((2, 3)) if y.shape[2] > 2 else y.flatten(1))

    module = Branching().eval()
    found = from_torch(module, IMAGES[:1], output_node="a")
    whole = found.rest.behind(own_network(found))
    torch.testing.assert_close(whole(IMAGES[:1]), module(IMAGES[:1]))


@pytest.fixture
def file(tmp_path):
    """The detector as an ONNX file, its size of image open."""
    rng, shapes = np.random.default_rng(0), {"a": (8, 3, 3, 3), "n": (8, 8, 3, 3), "c": (8, 4), "m": (2, 8, 1, 1)}
    tensors = [numpy_helper.from_array(rng.standard_normal(shape, np.float32) / 4, k) for k, shape in shapes.items()]
    tensors += [numpy_helper.from_array(np.array(value), k) for k, value in {"two": [2], "four": [4]}.items()]
    steps = [
        ("Conv", ["x", "a"], "stem", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Relu", ["stem"], "features", {}),
        ("Conv", ["features", "n"], "neck", {"pads": [1, 1, 1, 1]}),
        ("Add", ["features", "neck"], "sum", {}),
        ("GlobalAveragePool", ["sum"], "mean", {}),
        ("Flatten", ["mean"], "flat", {}),
        ("MatMul", ["flat", "c"], "scores", {}),
        ("Softmax", ["scores"], "classes", {"axis": 1}),
        ("Shape", ["x"], "shape", {}),
        ("Slice", ["shape", "two", "four"], "pixels", {}),
        ("Shape", ["sum"], "own", {"end": 2}),
        ("Concat", ["own", "pixels"], "size", {"axis": 0}),
        ("Conv", ["sum", "m"], "small", {}),
        ("Resize", ["small", "", "", "size"], "mask", {}),
    ]
    nodes = [helper.make_node(kind, inputs, [name], f"{name}_node", **more) for kind, inputs, name, more in steps]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    results = [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in ("classes", "mask", "features")]
    graph = helper.make_graph(nodes, "detector", [image], results, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "d.onnx")
    return tmp_path / "d.onnx"


@pytest.mark.parametrize("name", ["stem_node", "features"])
def test_a_file_goes_on_behind_its_part(file, tmp_path, name):
    found = load_onnx(file, 16, 16, 3, output_node=name)
    (path,) = export_network(found.graph, tmp_path / "whole", ["onnx"], own_network(found), found.rest)
    whole, original = onnx.load(path), onnx.load(file)
    onnx.checker.check_model(whole, full_check=True)
    assert [value.name for value in whole.graph.output] == ["classes", "mask", "features"]
    untouched = {node.name: node for node in original.graph.node if node.op_type in ("MatMul", "Resize", "Softmax")}
    assert {node.name: node for node in whole.graph.node if node.name in untouched} == untouched
    runs = [OnnxRun(model, (16, 16, 3)).results(IMAGES[:1].numpy()) for model in (whole, original)]
    for one, wanted in zip(*runs, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-5)


def test_what_a_file_cannot_be_cut_at_is_refused(file):
    for name, reason in {
        "mask": "-output_node mask: not all outputs come from it: 'classes', 'features'; 'features' in front of it",
        "neck_node": "-output_node neck_node: not all outputs come from it: 'features'; 'features' in front of it",
        "nowhere": "-output_node nowhere: no tensor or operation has this name",
    }.items():
        with pytest.raises(InputError, match=f"^{re.escape(str(file))}: {reason}") as error:
            load_part(file, name, 16, 16, 3)
        assert "\n" not in str(error.value)


def test_what_a_file_of_another_kind_says(tmp_path):
    (tmp_path / "net.pkl").touch()
    with pytest.raises(
        InputError, match=r"-output_node is for \.onnx, \.keras, \.h5, \.pb files and SavedModel folders"
    ):
        load_part(tmp_path / "net.pkl", "x")


def old_model(tmp_path):
    """A convolution and what follows it, in the operations of 2018."""
    kernel = numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 3, 1, 1), np.float32), "kernel")
    nodes = [
        helper.make_node("Conv", ["data", "kernel"], ["map"], "conv"),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"], "mean_of_all"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flatten"),
        helper.make_node("Softmax", ["flat"], ["answer"], "answer"),
    ]
    image = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 3, 16, 16])
    result = helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "old", [image], [result], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    path = tmp_path / "old.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["conv", "map", "mean_of_all", "flat"])
def test_an_old_file_is_raised_to_the_version_of_ours(tmp_path, name):
    path = old_model(tmp_path)
    found = load_onnx(path, output_node=name)
    results = exported(found, tmp_path)
    (wanted,) = OnnxRun(onnx.load(path), (16, 16, 3)).results(IMAGES.numpy())
    np.testing.assert_allclose(results["answer"], wanted, rtol=1e-5)


def test_a_graph_file_has_the_rest_beside_it(tmp_path):
    load_onnx(old_model(tmp_path), output_node="mean").save(tmp_path / "mine.pkl")
    graph, weights = load_network(tmp_path / "mine.pkl")
    network = network_of(graph, inherited=all_of(weights))
    (path,) = export_network(graph, tmp_path / "whole", ["onnx"], network, load_rest(tmp_path / "mine.pkl"))
    assert [value.name for value in onnx.load(path).graph.output] == ["answer"]
    (tmp_path / "mine.rest.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"mine\.rest\.onnx"):
        load_rest(tmp_path / "mine.pkl")


def test_a_rest_takes_no_more_than_its_files(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    (tmp_path / "weights").write_bytes(b"0" * 16)
    for number in range(9):
        tensor = graph.initializer.add(name=str(number), data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights")
    path = tmp_path / "mine.rest.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(InputError, match=r"mine\.rest\.onnx: the tensor '2' is not in weights, or several take"):
        load_rest(tmp_path / "mine.pkl")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"mine\.rest\.onnx: not a regular file"):
        load_rest(tmp_path / "mine.pkl")


def test_a_network_that_gives_another_tensor_does_not_fit(tmp_path):
    path = old_model(tmp_path)
    found, other = (load_onnx(path, output_node=name) for name in ("map", "mean"))
    with pytest.raises(ValueError, match="another tensor than the one that the rest takes: 4 and 4x16x16"):
        export_network(other.graph, tmp_path / "whole", ["onnx"], own_network(other), found.rest)


class WithANumber(nn.Module):
    """Its results are a tensor, and a number that ONNX cannot give."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return {"logits": self.head(self.body(x)), "stride": 4}


def test_a_network_whose_rest_cannot_be_written_is_not_written_at_all(tmp_path):
    found = from_torch(WithANumber(), torch.zeros(1, 3, 8, 8), output_node="body")
    with pytest.raises(ValueError, match=r"^what comes behind cannot be exported to ONNX: [ -~]{,200}$"):
        found.save(tmp_path / "half.pkl")
    assert not [*tmp_path.iterdir()]


def test_a_network_takes_nothing_of_the_one_that_was_there_before(tmp_path):
    path, images = tmp_path / "net.pkl", torch.zeros(1, 3, 8, 8)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    from_torch(module, images, output_node="0").save(path)
    assert load_rest(path) is not None
    whole = from_torch(module, images)
    whole.save(path)
    assert load_rest(path) is None
    assert load_network(path).weights is not None
    WeightedGraph(whole.graph).save(path)
    assert load_network(path).weights is None
