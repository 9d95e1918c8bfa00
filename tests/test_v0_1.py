"""What version 0.1 wrote is still read: graphs, checkpoints, the folder of a search with its trainings."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch")

import autogo  # noqa: E402
from model_src.comp_graph.graph_ops import canonical_hash  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops  # noqa: E402
from model_src.predictor.scoring import load_predictor  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.training.conftest import cifar_folder, one_thread_per_test_process  # noqa: E402, F401

FIXTURES = ROOT / "tests" / "fixtures" / "v0_1"


@pytest.mark.parametrize("name", ["graph.pkl", "graph.json"])
def test_graphs(name, op2i):
    graph = load_cg(FIXTURES / name)
    assert (graph.name, graph.n_nodes) == ("TwoPathNet55", 47)
    assert canonical_hash(graph) == "12ef442c6b11c331672f4c827ec1547c"
    assert compute_cg_flops(graph, op2i) == pytest.approx(55.401492)


def test_checkpoints():
    graph = load_cg(FIXTURES / "graph.pkl")
    gnn, psc = load_predictor(FIXTURES / "gnn.pt", "GNN"), load_predictor(FIXTURES / "psc.pt", "PSC_predictor")
    assert gnn.score_graphs([graph]) == pytest.approx([-0.197658428])
    assert psc.score_psc([(graph, graph, graph)]) == pytest.approx([-0.109550212])
    assert psc.target_normalisers["two_path"] == pytest.approx((0.90176110, 0.00754362))


def test_the_training_of_a_search_goes_on(tmp_path, monkeypatch, cifar_folder):  # noqa: F811
    folder = shutil.copytree(FIXTURES / "search", tmp_path / "search")
    before = json.loads((folder / "train_result.json").read_text())
    monkeypatch.chdir(tmp_path)  # its input is found in the repository all the same
    flags = {"num_train_cgs": 2, "num_runs_cg": 1, "train_epochs": 1, "train_images": 20, "train_batch_size": 10}
    argv = [f"-{name}={value}" for name, value in flags.items()]
    argv += ["-train_input_cg", "-train_data_dir", str(cifar_folder), "-device_str", "cpu"]
    autogo.main(["-resume", str(folder), *argv])
    after = json.loads((folder / "train_result.json").read_text())
    for one in before["trained"]:
        one["runs"] = [{**run, "held_out_accuracy": None} for run in one["runs"]]
    assert after["trained"][:2] == before["trained"]  # with their times: they were not repeated
    assert [one["rank"] for one in after["trained"]] == [None, 0, 1]
    assert after["trained"][2]["runs"]
