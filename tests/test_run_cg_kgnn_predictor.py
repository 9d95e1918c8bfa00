import json

import pytest

import run_cg_kgnn_predictor as script
from model_src.family_data import LabelledGraph, family_path, load_family, save_family
from model_src.files import InputError
from model_src.predictor.scoring import load_predictor
from model_src.search_space import nb201
from tests.test_run_psc_segment import make_workspace

NAME = "gpi_GNN_predictor_predictor_D-n2_seed12345"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The results of one training."""
    folder = tmp_path_factory.mktemp("gnn")
    make_workspace(folder)
    flags = ["-data_families", "nb201c10", "-data_dir", str(folder), "-epochs", "2", "-device_str", "cpu"]
    script.main([*flags, "-saved_models_dir", str(folder / "models"), "-logs_dir", str(folder / "logs")])
    return folder


def test_published_names_of_the_results(folder):
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        f"{NAME}_{suffix}" for suffix in ("best.pt", "latest.pt", "test.json")
    ]
    log = (folder / "logs" / f"{NAME}.txt").read_text().splitlines()
    assert log[0] == f"{NAME}: 10 train, 1 dev, 1 test records"  # the unlabelled network is left out


def test_the_result_scores_networks(folder):
    predictor = load_predictor(folder / "models" / f"{NAME}_best.pt", "GNN", "cpu")
    graphs = [network.graph for network in load_family("nb201", folder)]
    report = json.loads((folder / "models" / f"{NAME}_test.json").read_text())["test"]["nb201"]
    assert len(predictor.score_graphs(graphs)) == 13
    assert report["networks"]["mae"] == report["folds"]["mae"]["mean"]


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputError, match=r"No such file.*; make it with `python gen_families\.py -family two_path`"):
        script.main(["-data_families", "two_path", "-data_dir", str(tmp_path)])


def test_networks_must_be_labelled(tmp_path):
    graph = nb201.build(["nor_conv_1x1"] * 6, "unlabelled")
    save_family(family_path("nb201", tmp_path), [LabelledGraph(graph, None, 100.0)])
    with pytest.raises(InputError, match="none of the networks of nb201 has an accuracy"):
        script.main(["-data_families", "nb201", "-data_dir", str(tmp_path)])


def test_names_of_several_families():
    config = script.parse_args(["-fine_tune_epochs", "0", "-model_name", "my"])
    assert config.run_name(3) == "gpi_my_predictor_D-h+i+n15+n2+t_seed3"
