from dataclasses import replace

import numpy as np
import pytest
import torch

from model_src.files import InputError
from model_src.predictor.data.examples import network_examples
from model_src.predictor.settings import Experiment, ModelConfig, TrainingConfig
from model_src.predictor.training.experiment import describe, run_experiment, seed_table
from tests.predictor.helpers import random_graph


@pytest.fixture
def experiment(tmp_path):
    return Experiment(
        model=ModelConfig(num_layers=1),
        training=TrainingConfig(epochs=1, seed=7),
        model_name="tiny",
        dev_ratio=0.1,
        test_ratio=0.1,
        split_seed=7,
        num_seeds=3,
        resume=False,
        run_test_only=False,
        device="cpu",
        num_workers=None,
        logs_dir=tmp_path / "logs",
        saved_models_dir=tmp_path / "models",
    )


@pytest.fixture
def examples():
    graphs = [(random_graph(np.random.default_rng(i), 8, f"net{i}"), 0.9 + i / 100) for i in range(8)]
    return network_examples({"hiaml": graphs[:4], "nb201": graphs[4:]})


NAMES = {
    "hiaml": {"train": ["net0", "net1"], "dev": ["net2"], "test": ["net2", "net3"]},
    "nb201": {"train": ["net4", "net5"], "dev": ["net6"], "test": ["net6", "net7"]},
}


def run(examples, experiment):
    return run_experiment("GNN", examples, NAMES, experiment, "run_seed{}".format)


def test_every_seed_writes_its_files(examples, experiment, tmp_path):
    reports = run(examples, experiment)
    assert list(reports) == [7, 1, 2]
    found = sorted(path.name for path in tmp_path.rglob("*.*"))
    suffixes = (".txt", "_best.pt", "_latest.pt", "_test.json")
    assert found == sorted(
        [f"run_seed{s}{suffix}" for s in (7, 1, 2) for suffix in suffixes] + ["tiny_acc_allseeds.txt"]
    )
    log = (tmp_path / "logs" / "run_seed7.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in log] == ["run_seed7", "epoch 1", "test hiaml", "test nb201"]
    table = (tmp_path / "logs" / "tiny_acc_allseeds.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in table] == ["seeds 7, 1, 2", "hiaml", "nb201"]


def test_logs_are_appended_to(examples, experiment, tmp_path):
    single = replace(experiment, num_seeds=1)
    run(examples, single)
    run(examples, single)
    assert (tmp_path / "logs" / "run_seed7.txt").read_text().count("epoch 1:") == 2
    assert not (tmp_path / "logs" / "tiny_acc_allseeds.txt").exists()


def test_a_test_alone_uses_the_best_checkpoint(examples, experiment, tmp_path):
    single = replace(experiment, num_seeds=1)
    first = run(examples, single)
    before = (tmp_path / "models" / "run_seed7_best.pt").read_bytes()
    assert run(examples, replace(single, run_test_only=True)) == first
    assert (tmp_path / "models" / "run_seed7_best.pt").read_bytes() == before
    with pytest.raises(InputError, match=r"run_seed5_best\.pt: No such file"):
        run(examples, replace(single, run_test_only=True, training=TrainingConfig(seed=5)))


def test_threads_can_be_limited(examples, experiment):
    threads = torch.get_num_threads()
    try:
        run(examples, replace(experiment, num_seeds=1, num_workers=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def report(mean):
    values = {"mean": mean, "std": 0.0, "max": mean, "min": mean}
    return {
        "folds": dict.fromkeys(("mse", "mae", "mape", "srcc"), values),
        "networks": {"count": 4, "srcc": 0.25},
    }


def test_lines_of_the_log():
    assert describe("nb201", report(0.5)).endswith(
        "SRCC 0.500000 +- 0.000000 (0.500000 to 0.500000); SRCC 0.250000 by mean prediction of 4 networks"
    )


def test_seeds_are_averaged_per_family():
    lines = seed_table({7: {"a": report(1.0), "b": report(5.0)}, 1: {"a": report(2.0), "b": report(7.0)}})
    assert lines[0] == "seeds 7, 1"
    assert lines[1].startswith("a: MSE 1.500000 +- 0.500000, MAE 1.500000")
    assert lines[2].startswith("b: MSE 6.000000 +- 1.000000")
