"""Networks of other packages come in and compute the same; the benchmark says so, or why not."""

import csv
import json
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402

from tests.comp_graph.importers.test_torch import NETWORKS  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

sys.path.insert(0, str(ROOT / "benchmarks"))
import exactness  # noqa: E402
import real_networks  # noqa: E402
import zoo  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of other packages
LIGHT = ("inception_v2", "resnet50", "squeezenet")
FAMILIES = ("alexnetb", "darknet_ref", "fdmobilenet_wd2", "mobilenetv2_wd2", "resnet10", "wrn20_10_1bit_cifar10")


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "mobilenet"])  # its softmax is left out
def test_small_networks_are_exact(name):
    kind, shape = NETWORKS[name]
    torch.manual_seed(0)
    found = exactness.check_module(kind(), torch.randn(2, *shape))
    assert found.outcome == "exact", found
    assert found.difference <= 1e-6
    assert found.flops_ratio == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", LIGHT)
def test_light_models_are_exact(name):
    pytest.importorskip("onnxruntime")
    assert zoo.check("light", name).outcome == "exact"


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_pytorchcv(name):
    pytest.importorskip("pytorchcv", reason="the extra [zoo] is not installed")
    assert zoo.check("pytorchcv", name).outcome in ("exact", "refused")


@pytest.mark.slow
@pytest.mark.parametrize("source", zoo.SOURCES)
def test_no_network_is_read_wrongly(source, tmp_path):
    path = tmp_path / "all.csv"
    real_networks.run_all(path, [source], [], limit=300)
    if not zoo.names_of(source):
        pytest.skip(f"{source} is not installed")
    assert [row["name"] for row in real_networks.read(path) if row["outcome"] == "wrong"] == []


def test_an_import_that_differs_is_wrong_and_one_that_is_deaf_tells_nothing(monkeypatch):
    images = torch.randn(2, 3, 8, 8)
    rebuild = exactness.rebuild

    def off_by_a_little(found):
        network = rebuild(found)
        next(network.parameters()).data.mul_(1 + 1e-4)
        return network

    deaf = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid())
    nn.init.zeros_(deaf[0].weight)
    assert exactness.check_module(deaf, images).outcome == "blind"
    assert exactness.check_module(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()), images).outcome == "exact"
    monkeypatch.setattr(exactness, "rebuild", off_by_a_little)
    assert exactness.check_module(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()), images).outcome == "wrong"


class Ranks(nn.Module):
    def forward(self, x):
        return torch.sort(x, 1).values.cumsum(1)


def test_a_refusal_names_what_is_in_the_way():
    found = exactness.check_module(nn.Sequential(nn.Conv2d(3, 4, 3), Ranks()), torch.randn(2, 3, 8, 8))
    assert (found.outcome, found.blockers) == ("refused", "CumSum TopK")
    assert "2 operations cannot be held" in found.reason


def test_a_table_goes_on_where_it_ends(tmp_path, monkeypatch, capsys):
    asked = []

    def answer(source, name, limit):
        asked.append(name)
        share = 0.05 if name == "resnet50" else 0.0
        note = "without its auxiliary output (aux=False)" if name == "resnet50" else ""
        return exactness.Found("exact", 1e-9, share, 0.99, 1.5, precision="float64", note=note)._asdict()

    monkeypatch.setattr(real_networks, "run_one", answer)
    path = tmp_path / "table.csv"
    for names in (["squeezenet"], ["squeezenet", "resnet50"]):
        real_networks.run_all(path, ["light"], names, limit=1)
    assert asked == ["squeezenet", "resnet50"]
    with path.open("a", newline="") as file:
        csv.DictWriter(file, real_networks.COLUMNS).writerow(
            {"source": "light", "name": "x", "outcome": "refused", "blockers": "Sort CumSum"}
        )
    real_networks.main([str(path), "-table"])
    table = capsys.readouterr().out
    assert "| light | 3 | 1 | 1 | 0 | 1 | 0 | 0 | 1.5 | 1.5 |" in table
    assert "| Sort | 1 | x |" in table
    assert "in float32 | 2 | squeezenet, resnet50 |" in table
    assert "`aux=False` | 1 | resnet50 |" in table
    assert "0.01 % | 2 | squeezenet, resnet50 |" in table


def test_one_network_in_its_own_process():
    pytest.importorskip("onnxruntime")
    row = real_networks.run_one("light", "squeezenet", limit=200)
    assert row["outcome"] == "exact", json.dumps(row)
    assert real_networks.run_one("light", "squeezenet", limit=0.1)["outcome"] == "out of time"
