"""The script on all five input networks, with both units and both predictors."""

import pytest
import torch

import autogo
from constants import OPS
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network
from model_src.comp_graph.tf_comp_graph_utils import compute_cg_flops
from tests.test_autogo import GNN, PSC, ROOT, arguments, result_folder, table_of

PREDICTORS = {"PSC_predictor": PSC, "GNN": GNN}


def search(tmp_path, model_path, family, unit, predictor):
    """The folder of a short search."""
    changes = {"predictor_path": PREDICTORS[predictor], "predictor_type": predictor, "mutation_unit": unit}
    changes |= {"max_candidate_per_iter": 8, "max_target_per_iter": 20}
    assert autogo.main(arguments(tmp_path, model_path=model_path, model_family=family, **changes)) == 0
    return result_folder(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("unit", ["segment", "op"])
@pytest.mark.parametrize("family", ["hiaml", "inception", "nb101", "nb201", "two_path"])
def test_every_combination_gives_valid_networks(tmp_path, op2i, family, unit, predictor):
    model_path = ROOT / "architectures" / f"{family}_best.pkl"
    folder = search(tmp_path, model_path, family, unit, predictor)
    source, *results = table_of(folder)
    assert results, "nothing was found"
    allowed = OPS[family] | {node.op_name for node in load_cg(model_path).nodes}
    for row in results:
        graph = load_cg(folder / row["file"])
        assert {node.op_name for node in graph.nodes} <= allowed
        assert compute_cg_flops(graph, op2i) == pytest.approx(float(row["mflops"]), rel=1e-9)
        assert float(row["score"]) > float(source["score"]) or float(row["mflops"]) < float(source["mflops"])
        with torch.inference_mode():
            output = build_torch_network(graph).eval()(torch.rand(1, 3, 32, 32))
        assert output.isfinite().all()
        assert output.shape == (1, 10)


@pytest.mark.slow
def test_a_result_is_an_input(tmp_path):
    first = search(tmp_path / "first", ROOT / "architectures" / "hiaml_best.pkl", "hiaml", "segment", "PSC_predictor")
    again = search(tmp_path / "again", first / "rank_0.pkl", "hiaml", "segment", "PSC_predictor")
    assert float(table_of(again)[0]["mflops"]) == pytest.approx(float(table_of(first)[1]["mflops"]), rel=1e-9)
