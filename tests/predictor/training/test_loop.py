import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from model_src.files import InputError
from model_src.predictor.checkpoint import load_checkpoint
from model_src.predictor.data.examples import network_examples, split_examples
from model_src.predictor.data.psc_cache import build_cache, sample_splits
from model_src.predictor.settings import ModelConfig, TrainingConfig
from model_src.predictor.training.evaluation import RunFiles, predict, predict_parts, run_test
from model_src.predictor.training.loop import Training, epoch_batches, run_training
from model_src.predictor.training.losses import Goals, loss_of
from tests.predictor.data.test_psc_cache import segments_of
from tests.predictor.helpers import random_graph

CPU = torch.device("cpu")
SMALL = ModelConfig(in_channels=24, hidden_size=8, out_channels=8, num_layers=2, dropout_prob=0.1)
CONFIG = TrainingConfig(epochs=3, batch_size=3, epoch_samples=2, initial_lr=0.01)


def labelled(count=12):
    """Random graphs, the larger the better."""
    sizes = 6 + np.arange(count) * 2
    return [(random_graph(np.random.default_rng(i), n, f"net{i}"), 0.8 + n / 200) for i, n in enumerate(sizes.tolist())]


def selected(networks):
    cut = [
        (graph, accuracy, segments_of(graph, ["aa", "bb", "c" * (graph.n_nodes - 4)])) for graph, accuracy in networks
    ]
    return sample_splits(build_cache("nb201", cut), "all", np.random.default_rng(0))


@pytest.fixture(scope="module")
def splits():
    return split_examples([selected(labelled())], SMALL.num_layers)


@pytest.fixture(scope="module")
def sides(splits):
    names = [f"net{i}" for i in range(12)]
    return splits.divide({"nb201": {"train": names[2:10], "dev": names[:1] + names[10:], "test": names[:3]}})


def files(folder, name="run"):
    return RunFiles.named(folder, name)


def train(splits, sides, folder, config=CONFIG, resume=False, name="run"):
    run_training("PSC_predictor", splits, sides, SMALL, config, files(folder, name), CPU, resume)
    return load_checkpoint(files(folder, name).latest, "PSC_predictor")


def same_weights(first, second):
    return all(torch.equal(values, second.model[name]) for name, values in first.model.items())


def test_batches_hold_whole_networks():
    network = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    batches = list(epoch_batches(np.arange(9) + 100, network, 2, None, np.random.default_rng(0)))
    assert sorted(np.concatenate(batches)) == list(range(100, 109))
    assert [len(set(network[batch - 100])) for batch in batches] == [2, 1]


def test_a_subset_of_every_network_is_drawn_anew():
    network = np.repeat([0, 1, 2], 10)
    epochs = [
        np.concatenate(list(epoch_batches(np.arange(30), network, 2, 4, np.random.default_rng(seed))))
        for seed in range(2)
    ]
    for items in epochs:
        assert len(set(items)) == 12
        assert np.bincount(network[items]).tolist() == [4, 4, 4]
    assert set(epochs[0]) != set(epochs[1])


def test_a_training_on_parts(sides, tmp_path):
    networks = labelled()
    parts = (selected(networks[start : start + 4]) for start in (0, 4, 8))
    examples = split_examples(parts, SMALL.num_layers, is_large=True)
    config = replace(CONFIG, epochs=30, epoch_samples=None, lr_schedule="cosine", select="mae")
    first = train(examples, sides, tmp_path / "first", config)
    targets = examples.targets(first.target_normalisers)[examples.network[sides["train"]]]
    error = np.abs(predict_parts(first.build(), examples.parts, sides["train"]) - targets).mean()
    assert error < 0.2  # it starts at about 0.85
    assert same_weights(first, train(examples, sides, tmp_path / "again", config))
    train(examples, sides, tmp_path / "stopped", replace(CONFIG, epochs=2))
    resumed = train(examples, sides, tmp_path / "stopped", resume=True)
    assert same_weights(resumed, train(examples, sides, tmp_path / "whole"))


def test_learning_reduces_the_error(splits, sides, tmp_path):
    config = replace(CONFIG, epochs=30, epoch_samples=None, lr_schedule="cosine", select="mae")
    checkpoint = train(splits, sides, tmp_path, config)
    targets = splits.targets(checkpoint.target_normalisers)[splits.network[sides["train"]]]
    error = np.abs(predict(checkpoint.build(), splits.pack, sides["train"]) - targets).mean()
    assert error < 0.2  # it starts at about 0.85
    assert checkpoint.iteration == 30
    assert load_checkpoint(files(tmp_path).best, "PSC_predictor").iteration == checkpoint.best_eval_iteration


def test_same_seed_same_result(splits, sides, tmp_path):
    first, second = (train(splits, sides, tmp_path, name=name) for name in "ab")
    assert same_weights(first, second)
    assert not same_weights(first, train(splits, sides, tmp_path, replace(CONFIG, seed=1), name="c"))


def test_global_random_state_is_left_alone(splits, sides, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(splits, sides, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_going_on_equals_not_having_stopped(splits, sides, tmp_path):
    whole = train(splits, sides, tmp_path, name="whole")
    train(splits, sides, tmp_path, replace(CONFIG, epochs=1))
    resumed = train(splits, sides, tmp_path, resume=True)
    assert same_weights(whole, resumed)
    assert (whole.iteration, whole.best_eval_result) == (resumed.iteration, resumed.best_eval_result)


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5, "lr_schedule": "cosine"}], ids=["plain", "average"])
def test_a_stopped_training_ends_with_the_same_bytes(splits, sides, tmp_path, changes, monkeypatch):
    config = replace(CONFIG, **changes)
    train(splits, sides, tmp_path / "whole", config)
    run_epoch, count = Training.run_epoch, itertools.count(1)

    def stop(self, *arguments):
        if next(count) == 2:
            raise KeyboardInterrupt
        return run_epoch(self, *arguments)

    monkeypatch.setattr(Training, "run_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(splits, sides, tmp_path / "stopped", config)
    train(splits, sides, tmp_path / "stopped", config, resume=True)
    for path in (files(tmp_path / "whole").latest, files(tmp_path / "whole").best):
        assert (tmp_path / "stopped" / path.name).read_bytes() == path.read_bytes()


def test_going_on_needs_the_same_training(splits, sides, tmp_path):
    train(splits, sides, tmp_path, replace(CONFIG, epochs=2), resume=True)  # there is nothing yet to go on with
    for name, value, was in [
        *(("select", "mae", "srcc"), ("seed", 1, CONFIG.seed), ("batch_size", 4, 3), ("initial_lr", 0.02, 0.01)),
        *(("lr_schedule", "cosine", "constant"), ("epoch_samples", None, 2), ("rank_weight", 0.5, 0.0)),
        *(("epochs", 1, 2), ("linear_from", 1.0, 0.0), ("max_gradient_norm", 1.0, 5.0)),
    ]:
        with pytest.raises(InputError, match=rf"run_latest\.pt: cannot go on from it, -{name} was {was}, not {value}"):
            train(splits, sides, tmp_path, replace(CONFIG, **{"epochs": 2, name: value}), resume=True)
    others = {**sides, "dev": sides["train"]}
    with pytest.raises(InputError, match="the hash of its networks was"):
        train(splits, others, tmp_path, resume=True)


def test_a_falling_rate_allows_for_no_more_epochs(splits, sides, tmp_path):
    config = replace(CONFIG, lr_schedule="cosine")
    train(splits, sides, tmp_path, config)
    with pytest.raises(InputError, match="-epochs was 3, not 4"):
        train(splits, sides, tmp_path, replace(config, epochs=4), resume=True)


@pytest.mark.parametrize(("select", "better"), [("srcc", max), ("tau", max), ("mae", min), ("mape", min)])
def test_the_best_epoch_is_kept(splits, sides, tmp_path, select, better, caplog):
    caplog.set_level("INFO")
    checkpoint = train(splits, sides, tmp_path, replace(CONFIG, epochs=6, select=select))
    lines = [message for message in caplog.messages if message.startswith("epoch")]
    values = [float(line.split(f"{select} ")[1].split(",")[0].split(" ")[0]) for line in lines]
    assert len(values) == 6
    assert checkpoint.best_eval_result == pytest.approx(better(values), rel=1e-4)
    assert checkpoint.best_eval_iteration == 1 + values.index(better(values))


def test_report_of_the_test(splits, sides, tmp_path):
    checkpoint = train(splits, sides, tmp_path)
    reports = run_test("PSC_predictor", splits, sides["test"], files(tmp_path), CPU, n_folds=10)
    assert set(reports) == {"nb201"}
    assert reports["nb201"]["networks"]["count"] == 3
    written = json.loads(files(tmp_path).report.read_text())
    assert written["test"]["nb201"]["folds"]["mae"] == reports["nb201"]["folds"]["mae"]
    assert written["target_normalisers"]["nb201"] == list(checkpoint.target_normalisers["nb201"])


def test_json_has_no_nan(splits, sides, tmp_path):
    train(splits, sides, tmp_path)
    one = sides["test"][splits.pack.network[sides["test"]] == 0][:1]
    reports = run_test("PSC_predictor", splits, one, files(tmp_path), CPU)
    assert np.isnan(reports["nb201"]["records"]["srcc"])
    assert json.loads(files(tmp_path).report.read_text())["test"]["nb201"]["records"]["srcc"] is None


def test_gnn_learns_accuracies_themselves(tmp_path):
    examples = network_examples({"hiaml": labelled()})
    sides = {"train": np.arange(8), "dev": np.arange(8, 10)}
    run_training("GNN", examples, sides, SMALL, replace(CONFIG, epochs=40), files(tmp_path), CPU)
    checkpoint = load_checkpoint(files(tmp_path).latest, "GNN")
    scale = examples.accuracy[:8].mean(), examples.accuracy[:8].std()
    assert checkpoint.target_normalisers == {"hiaml": pytest.approx(scale), "all": pytest.approx(scale)}
    predicted = predict(checkpoint.build(), examples.pack, np.arange(8))
    assert predicted == pytest.approx(examples.accuracy[:8], abs=0.015)
    report = run_test("GNN", examples, np.arange(8), files(tmp_path), CPU)["hiaml"]["records"]
    assert report["mae"] < 0.02  # of accuracies, not of z-scores


def test_errors_of_a_family_count_in_its_deviations(tmp_path):
    """The loss of a family does not depend on how far apart its accuracies are."""
    losses = []
    for factor in (1, 1000):
        networks = [(graph, 0.5 + (accuracy - 0.8) / factor) for graph, accuracy in labelled(16)]
        examples = network_examples({"hiaml": labelled(16)[:8], "nb201": networks[8:]})
        goals = Goals.of(examples, "GNN", examples.target_normalisers(np.arange(16)))
        mean, deviation = examples.accuracy[8:].mean(), examples.accuracy[8:].std()
        guess = torch.tensor([*examples.accuracy[:8], *np.full(8, mean + deviation)], dtype=torch.float32)
        losses.append(loss_of(guess, goals, CONFIG).item())
    assert losses == pytest.approx([losses[0]] * 2, rel=1e-2)


def test_the_result_is_the_average_of_the_weights(splits, sides, tmp_path):
    config = replace(CONFIG, ema_decay=0.5)
    latest = train(splits, sides, tmp_path, config)
    best = load_checkpoint(files(tmp_path).best, "PSC_predictor")
    assert (best.optimizer, best.average) == ({}, {})
    plain = train(splits, sides, tmp_path, name="plain")
    assert same_weights(plain, latest)  # averaging does not change the training
    if best.iteration == 3:
        assert all(torch.equal(values, latest.average[f"module.{name}"]) for name, values in best.model.items())
    assert not same_weights(latest, best)


def test_going_on_with_an_average(splits, sides, tmp_path):
    config = replace(CONFIG, ema_decay=0.5)
    whole = train(splits, sides, tmp_path, config, name="whole")
    train(splits, sides, tmp_path, replace(config, epochs=1))
    resumed = train(splits, sides, tmp_path, config, resume=True)
    assert all(torch.equal(values, resumed.average[name]) for name, values in whole.average.items())
    with pytest.raises(InputError, match=r"-ema_decay was 0\.5, not 0\.0"):
        train(splits, sides, tmp_path, resume=True)
