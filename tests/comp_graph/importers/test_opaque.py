"""What no other operation holds is one opaque node: exact, plain data in files, in the way of nothing else."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from model_src.comp_graph.exporters.files import export_network  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch, rebuild  # noqa: E402
from model_src.comp_graph.load import load_cg, load_network  # noqa: E402
from model_src.comp_graph.networks.torch_region import RegionLayer  # noqa: E402
from model_src.comp_graph.region import Region, RegionOp, region_from  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import (  # noqa: E402
    correct_cg_for_downstream,
    graph_macs,
    parameter_count,
)
from model_src.files import save_text  # noqa: E402
from tests.comp_graph.exporters.test_files import check_exports  # noqa: E402
from tests.comp_graph.importers.test_constructs import Construct, check_same, labels, net_of, of  # noqa: E402


class Attention(nn.Module):
    """Attention of all pixels to all, in two heads."""

    def __init__(self):
        super().__init__()
        self.qkv, self.project = nn.Conv2d(12, 36, 1), nn.Conv2d(12, 12, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(x).reshape(b, 3, 2, c // 2, h * w).unbind(1)
        weights = torch.softmax(q.transpose(-2, -1) @ k * 6**-0.5, -1)
        return x + self.project((v @ weights.transpose(-2, -1)).reshape(b, c, h, w))


class Sequence(nn.Module):
    """PyTorch's own layer of attention, which wants the pixels first and the images second."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(12, 3, 24, activation="gelu")

    def forward(self, x):
        return self.layer(x.flatten(2).permute(2, 0, 1)).permute(1, 2, 0).reshape(x.shape)


class Neighbours(nn.Module):
    """Channel attention by a convolution along the channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.conv(F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2))
        return x * torch.sigmoid(y.transpose(-1, -2).unsqueeze(-1))


class Selected(nn.Module):
    """Two branches, weighted by a softmax of what a third part says of them."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(12, 12, 1), nn.Conv2d(12, 12, 3, padding=1)])
        self.fc = nn.Conv2d(12, 24, 1)

    def forward(self, x):
        y = torch.stack([branch(x) for branch in self.branches], 1)
        weights = self.fc(F.adaptive_avg_pool2d(y.sum(1), 1)).view(len(x), 2, 12, 1, 1)
        return (y * torch.softmax(weights, 1)).sum(1)


class Placed(nn.Module):
    """A map and a learned number for each of its places."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.randn(12, 10, 9))

    def forward(self, x):
        return F.relu(x + self.place)


def normalised(x):
    """A normalisation of the channels of every pixel by hand."""
    mean = x.mean(1, keepdim=True)
    return (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)


def affine() -> nn.Module:
    layer = nn.LayerNorm([12, 10, 9])
    nn.init.uniform_(layer.weight)
    return layer


CONSTRUCTS = {
    "attention": Construct(Attention, ("conv2d", "opaque", "conv2d", "add")),
    "attention of a sequence": Construct(Sequence, ("opaque",)),
    "neighbouring channels": Construct(Neighbours, ("mean", "opaque", "sigmoid", "mul")),
    "selected": Construct(Selected, ("conv2d",) * 3 + ("add", "mean", "opaque") + ("port",) * 3),
    "places": Construct(Placed, ("opaque", "relu")),
    "largest channel": Construct(
        of(lambda x: x * torch.sigmoid(x.amax(1, keepdim=True))), ("opaque", "sigmoid", "broadcast", "mul")
    ),
    "layer norm of all": Construct(affine, ("opaque",)),
    "by sign": Construct(
        of(lambda x: torch.where(x > 0, x, x.mean((2, 3), keepdim=True).repeat(1, 1, 10, 9))),
        ("mean",) + ("opaque",) * 2 + ("port",) * 2,
    ),
    "larger one": Construct(of(lambda x: torch.maximum(x, torch.tanh(x))), ("tanh", "port", "port", "opaque")),
    "root": Construct(of(lambda x: torch.sqrt(F.relu(x) + 1)), ("relu", "scale", "opaque")),
    "mish": Construct(nn.Mish, ("opaque",)),
    "one above the other": Construct(
        of(lambda x: torch.cat([x[:, :, :5], F.relu(x)[:, :, 5:]], 2)),
        ("slice", "slice", "relu", "port", "port", "opaque"),
    ),
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_comes_in_exactly_and_goes_out_again(name, tmp_path):
    module, image = net_of(CONSTRUCTS[name])
    found = from_torch(module, image, "net")
    around = ["conv2d"] * 3 + ["fusedbatchnormv3"] * 2 + ["input", "output"]
    assert labels(found.graph) == sorted([*around, *CONSTRUCTS[name].found])
    check_same(module, found, image)
    check_exports(found.graph)
    (path,) = export_network(found.graph, tmp_path / "net", ["onnx"], rebuild(found))
    assert canonical_hash(load_cg(path)) == canonical_hash(found.graph)
    network = build_torch_network(found.graph, 0, squeeze_output=False)
    assert parameter_count(found.graph) == sum(weight.numel() for weight in network.parameters())


def test_a_normalisation_by_hand_comes_in_exactly():
    module, image = net_of(Construct(of(normalised), ()))
    check_same(module, from_torch(module, image), image)


def test_what_a_region_computes_is_counted():
    found = from_torch(*net_of(CONSTRUCTS["attention"]))
    (node,) = (node for node in found.graph.nodes if node.op_name == "opaque")
    assert node.metadata["macs"] == 2 * 2 * 90 * 90 * 6
    rest = replace(node, metadata={**node.metadata, "macs": 0})
    others = [rest if one is node else one for one in found.graph.nodes]
    cheaper = type(found.graph).from_nodes("rest", found.graph.input_shape, others, found.graph.edge_pairs)
    assert graph_macs(found.graph) - graph_macs(cheaper) == node.metadata["macs"]


def test_a_network_that_is_largely_opaque_is_told(caplog):
    module, image = net_of(CONSTRUCTS["attention"])
    from_torch(module, image)
    assert "of its multiply-accumulates are in opaque nodes" in caplog.text
    caplog.clear()
    from_torch(*net_of(CONSTRUCTS["root"]))
    assert "opaque" not in caplog.text


@pytest.mark.parametrize("suffix", [".pkl", ".json"])
def test_files_hold_regions_and_their_weights(tmp_path, suffix):
    module, image = net_of(CONSTRUCTS["neighbouring channels"])
    found = from_torch(module, image)
    found.save(tmp_path / "net.pkl")
    if suffix == ".json":
        save_text(json.dumps(found.graph.state_dict()), tmp_path / "net.json")
    again = load_network(tmp_path / f"net{suffix}")
    assert canonical_hash(again.graph) == canonical_hash(found.graph)
    assert sorted(again.state()) == sorted(found.state())
    network = build_torch_network(again.graph, 0, squeeze_output=False).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in again.state().items()})
    with torch.inference_mode():
        torch.testing.assert_close(network(image), module.eval()(image), rtol=1e-5, atol=1e-6)


def test_a_region_is_a_part_of_what_a_network_is():
    graph = from_torch(*net_of(CONSTRUCTS["root"])).graph
    at = next(at for at, node in enumerate(graph.nodes) if node.op_name == "opaque")
    assert canonical_hash(correct_cg_for_downstream(graph, 10, 9, 3)) == canonical_hash(graph)
    text = graph.nodes[at].metadata["region"].replace("Sqrt", "Tanh")
    nodes = [*graph.nodes]
    nodes[at] = replace(nodes[at], metadata={"region": text, "macs": 0})
    other = type(graph).from_nodes(graph.name, graph.input_shape, nodes, graph.edge_pairs)
    assert canonical_hash(other) != canonical_hash(graph)
    with pytest.raises(ValueError, match=r"\(opaque\): it reads maps .*\(10, 9, 12\)\] and gets \[\(12, 9, 12"):
        correct_cg_for_downstream(graph, 12, 9, 3)


def test_tensorflow_has_none():
    pytest.importorskip("tensorflow")
    from model_src.comp_graph.tf_comp_graph_output import build_tf_network

    with pytest.raises(ValueError, match=r"\(opaque\): no Keras network of 'opaque' is registered; there is: ONNX"):
        build_tf_network(from_torch(*net_of(CONSTRUCTS["root"])).graph)


def test_what_mixes_the_images_of_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"\(ReduceMean\): "):
        from_torch(*net_of(Construct(of(lambda x: x - x.mean(0, keepdim=True)), ())))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        (7, "is no text"),
        ("x" * (1 << 20) + "x", "too long"),
        ("[" * 100_000, "cannot be read"),
        ('{"inputs":[[1,2,2]],"weights":[],"constants":[],"ops":[["Clip",["x0"],{"max":Infinity}]]}', "no number"),
        ('{"inputs":[[1,2]],"weights":[],"constants":[],"ops":[]}', "no shape"),
        ('{"inputs":[[1,2,2]],"weights":[],"constants":[],"ops":[]}', "empty"),
        ('{"inputs":[[1,2,2]],"weights":[[1048576,1024]],"constants":[],"ops":[["Relu",["x0"],{}]]}', "too large"),
        ('{"inputs":[[1,2,2]],"weights":[],"constants":[],"ops":[["Relu",["t0"],{}]]}', "reads .*t0"),
    ],
)
def test_damaged_regions_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        region_from(text)


def test_operations_that_nobody_wrote_down_are_refused():
    for op in (RegionOp("Loop", ("x0",), {}), RegionOp("Transpose", ("x0",), {}), RegionOp("Relu", ("x0",), {"a": 1})):
        with pytest.raises(ValueError, match=f"no PyTorch form of {op.type}"):
            RegionLayer(Region(((1, 2, 2),), (), (), (op,)))
