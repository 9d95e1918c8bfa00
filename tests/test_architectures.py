"""The input architectures are what their README says."""

import csv

import pytest
import torch

from constants import DATA_DIR, ROOT
from model_src.comp_graph.exporters.files import network_of
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.networks.tasks import cg_hpe
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from model_src.labels.table import read_label_table
from model_src.search_space import nb101, nb201

NB101_CELL = (
    [nb101.INPUT, *(nb101.OPS[op] for op in (0, 2, 0, 1, 0)), nb101.OUTPUT],
    [
        [int((u, v) in {(0, 1), (0, 5), (0, 6), (1, 2), (2, 3), (3, 4), (3, 5), (4, 5), (5, 6)}) for v in range(7)]
        for u in range(7)
    ],
)
NB201_CELL = ["nor_conv_3x3", "nor_conv_3x3", "nor_conv_3x3", "skip_connect", "nor_conv_3x3", "nor_conv_1x1"]


def graph_of(family):
    return load_cg(ROOT / "architectures" / f"{family}_best.pkl")


@pytest.mark.parametrize(
    ("family", "name", "nodes", "mflops"),
    [
        ("hiaml", "HiAMLNet1505", 91, 268.0),
        ("inception", "InceptionNet2950", 232, 428.1),
        ("nb101", "NB101-096f593e", 225, 9306.2),
        ("nb201", "NB201-Net76", 306, 312.8),
        ("two_path", "TwoPathNet1340", 63, 157.5),
    ],
)
def test_sizes(op2i, family, name, nodes, mflops):
    graph = graph_of(family)
    assert (graph.name, graph.n_nodes, graph.input_shape) == (name, nodes, (1, 32, 32, 3))
    assert compute_cg_flops(graph, op2i) == pytest.approx(mflops, abs=0.05)


@pytest.mark.parametrize(
    ("name", "gflops"),
    [
        ("edsr/found_1", 119.911),
        ("edsr/found_2", 110.924),
        ("fsrcnn/fsrcnn_m3_found_1", 1.425),
        ("fsrcnn/fsrcnn_m3_found_2", 1.096),
        ("fsrcnn/fsrcnn_m4_found_1", 1.140),
        ("fsrcnn/fsrcnn_m4_found_2", 0.916),
        ("resnet50/found_1", 6.600),
        ("resnet50/found_2", 5.959),
        ("resnet101/found_1", 15.021),
        ("resnet101/found_2", 13.613),
        ("unet/found_1", 2.286),
        ("unet/found_2", 2.246),
        ("vgg/found_1", 29.256),
        ("vgg/found_2", 24.520),
    ],
)
def test_found_networks(op2i, name, gflops):
    graph = load_cg(ROOT / "architectures" / "samples" / f"{name}.pkl")
    assert compute_cg_flops(graph, op2i, div=1e9) == pytest.approx(gflops, abs=5e-4)
    assert (ROOT / "architectures" / "samples" / f"{name}.png").stat().st_size > 10_000
    h, w, c = graph.input_shape[1:]
    small, result = {
        "edsr": ((32, 18), (64, 32, 18)),
        "fsrcnn": ((32, 18), (1, 64, 36)),
        "unet": ((32, 32), (3, 32, 32)),
    }.get(name.partition("/")[0], ((h, w), (1000,)))
    with torch.inference_mode():
        output = network_of(graph).eval()(torch.rand(1, c, *small))
    assert output.shape == (1, *result)
    assert output.isfinite().all()


def test_a_found_network_is_a_pose_backbone():
    path = ROOT / "architectures" / "samples" / "resnet50" / "found_1.pkl"
    backbone, channels = cg_hpe(path, config_name="resnet50.pkl")
    with torch.inference_mode():
        assert channels == 2048
        assert backbone.eval()(torch.rand(1, 3, 256, 256)).shape == (1, 2048, 8, 8)


def test_benchmark_cells():
    assert canonical_hash(graph_of("nb101")) == canonical_hash(nb101.build(NB101_CELL, ""))
    assert nb101.cell_hash(*NB101_CELL) == "096f593e0f12d65f6220bf8565b764a9"
    assert canonical_hash(graph_of("nb201")) == canonical_hash(nb201.build(NB201_CELL, ""))


@pytest.mark.parametrize("family", ["hiaml", "inception", "two_path"])
def test_the_others_have_the_highest_label(family):
    path = DATA_DIR / "labels" / f"{family}.csv"
    assert len(read_label_table(path)) == 5000
    with path.open() as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["accuracy"]))
    assert canonical_hash(graph_of(family)) == best["graph_hash"]


def test_measured_cells_are_the_best(reference):
    labels = read_label_table(reference / "labels" / "nb101_validation_accuracy.csv.gz")
    assert labels[nb101.cell_hash(*NB101_CELL)] == max(labels.values()) == 0.94912
    labels = read_label_table(reference / "labels" / "nb201_cifar10_test_accuracy.csv.gz")
    assert labels[nb201.architecture_string(NB201_CELL)] == max(labels.values()) == pytest.approx(0.9437, abs=5e-5)
