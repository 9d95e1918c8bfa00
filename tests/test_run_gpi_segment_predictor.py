import json
import subprocess
import sys

import pytest

import make_segment_predictor_cache_sa
import run_gpi_segment_predictor as script
import run_psc_segment
from constants import ROOT
from model_src.comp_graph.graph_ops import part_of, topological_order
from model_src.family_data import load_family, split_names
from model_src.files import InputError
from model_src.predictor.checkpoint import load_checkpoint
from model_src.predictor.data.psc_cache import load_cache
from model_src.predictor.scoring import load_predictor
from tests.test_run_psc_segment import VOCABULARY, make_workspace

NAME = "gpi_PSC_predictor_predictor_E-n2_D-n2_shp_120_s_ns-all_rp-1_seed12345"
LEARNING = ("-epoch_samples", "4", "-batch_size", "4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The results of one training."""
    folder = tmp_path_factory.mktemp("gpi")
    flags = make_workspace(folder)
    run_psc_segment.main(["-data_family", "nb201", *VOCABULARY, *flags])
    make_segment_predictor_cache_sa.main(["-data_family", "nb201", *VOCABULARY, "-cache_dir", str(folder)])
    script.main([*training_flags(folder), *LEARNING, "-epochs", "2"])
    return folder


def training_flags(folder):
    return [
        *("-data_families", "nb201", *VOCABULARY, "-num_layers", "2", "-device_str", "cpu", "-cache_dir", str(folder)),
        *("-saved_models_dir", str(folder / "models"), "-logs_dir", str(folder / "logs"), "-test_folds", "3"),
    ]


def test_published_names_of_the_results(folder):
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        f"{NAME}_{suffix}" for suffix in ("best.pt", "latest.pt", "test.json")
    ]
    log = (folder / "logs" / f"{NAME}.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in log] == [NAME, "epoch 1", "epoch 2", "test nb201"]


def test_the_report_is_about_the_test_networks(folder):
    report = json.loads((folder / "models" / f"{NAME}_test.json").read_text())
    assert report["test"]["nb201"]["networks"]["count"] == 1  # a tenth of twelve, rounded down


def test_targets_are_standardised_on_the_training_networks(folder):
    cache = load_cache(folder / "gpi_comp_graph_cache_E-n2_D-n2_shp_120_s_nsall.pkl")
    train = set(split_names([network.name for network in cache.networks], 0.1, 0.1, 12345)["train"])
    records = [network.accuracy for network in cache.networks if network.name in train for _ in network.splits]
    mean, _ = load_checkpoint(folder / "models" / f"{NAME}_best.pt", "PSC_predictor").target_normalisers["nb201"]
    assert mean == pytest.approx(sum(records) / len(records))


def test_the_result_scores_splits(folder):
    predictor = load_predictor(folder / "models" / f"{NAME}_best.pt", "PSC_predictor", "cpu")
    graph = load_family("nb201", folder)[0].graph
    order = topological_order(graph)
    [score] = predictor.score_psc([tuple(part_of(graph, part) for part in (order[:9], order[9:14], order[14:]))])
    assert predictor.accuracy(score, "nb201") == pytest.approx(0.9, abs=0.1)


def test_training_can_go_on(folder):
    for name, value, was in (("epoch_samples", "3", "4"), ("dev_ratio", "0.2", "0.1")):
        flags = [*training_flags(folder), *LEARNING, "-epochs", "3", "-resume", f"-{name}", value]
        with pytest.raises(InputError, match=f"-{name} was {was}, not {value}"):
            script.main(flags)
    script.main([*training_flags(folder), *LEARNING, "-epochs", "3", "-resume"])
    assert load_checkpoint(folder / "models" / f"{NAME}_latest.pt", "PSC_predictor").iteration == 3


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    command = "make_segment_predictor_cache_sa.py -data_family hiaml -encoder_families nb201 -encoding shp"
    flags = ["-data_families", "hiaml", "-num_samples", "5", *VOCABULARY, "-cache_dir", str(tmp_path)]
    with pytest.raises(InputError, match=f"`python {command} -vocab_size 120 -num_samples 5.0`"):
        script.main(flags)


def test_names_of_several_families():
    config = script.parse_args(["-num_samples", "100", "-data_families", "nb101+hiaml", "-vocab_size", "500"])
    expected = "gpi_PSC_predictor_predictor_E-h+i+n15+n2+t_D-h+n15_shp_500_s_ns-100.0+100.0_rp-1_seed1"
    assert config.run_name(1) == expected


def test_bad_layers_are_refused_before_any_work():
    with pytest.raises(InputError, match=r"-gnn_type os\.system: unknown"):
        script.main(["-gnn_type", "os.system"])


@pytest.mark.parametrize(
    "module",
    ["run_gpi_segment_predictor", "run_cg_kgnn_predictor", "run_psc_segment", "make_segment_predictor_cache_sa"],
)
def test_help_needs_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in ('torch', 'numpy', 'sentencepiece') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
