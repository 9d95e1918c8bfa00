import logging

import pytest

torch = pytest.importorskip("torch")

from contextlib import nullcontext  # noqa: E402
from dataclasses import replace  # noqa: E402

from model_src.training import cost  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.cost import patience  # noqa: E402
from model_src.training.recipe import Execution, TrainConfig  # noqa: E402
from tests.training.conftest import classifier  # noqa: E402

CPU = Execution("cpu")


@pytest.fixture(scope="module")
def data(cifar_folder):
    return load_cifar10(cifar_folder)


def test_the_speed_is_measured(data):
    assert cost.images_per_second(classifier(), TrainConfig(epochs=2, batch_size=32), data, CPU) > 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (119, "119 s"), (600, "10 min"), (7300, "2 h"), (100_000, "28 h"), (200_000, "2 days 8 h")],
)
def test_times_are_for_people(seconds, text):
    assert cost.duration(seconds) == text


def test_tests_cost_a_third(data):
    assert cost.images_per_training(TrainConfig(epochs=3), data) == pytest.approx(3 * 100 + 3 * 20 / 3)
    config = TrainConfig(epochs=5, train_images=40, epochs_per_test=2)
    assert cost.images_per_training(config, data) == pytest.approx(5 * 40 + 3 * 20 / 3)


def test_the_cost_is_that_of_all_flops_at_the_measured_speed(data, monkeypatch, caplog):
    monkeypatch.setattr(cost, "images_per_second", lambda cg, *_: {"hidden8": 10.0}[cg.name])
    small, large = classifier(8), classifier(16)
    with caplog.at_level(logging.INFO):
        cost.say_cost([small, large, large], TrainConfig(epochs=1), data, CPU)
    # 100 images and 20 tested ones at 10 a second; the other two networks cost twice as much each.
    assert caplog.messages == [
        "3 trainings on the CPU will take about 53 s (measured: 10 images/s with hidden8 of 0.0 MFLOPs)"
    ]


def test_trainings_at_a_time_share_the_cost(data, monkeypatch, caplog):
    threads = []
    monkeypatch.setattr(cost, "images_per_second", lambda *_: threads.append(torch.get_num_threads()) or 10.0)
    monkeypatch.setattr(cost, "one_thread", lambda: threads.append("one") or nullcontext())
    with caplog.at_level(logging.INFO):
        for n_jobs in (None, 1, 2, 9):
            cost.say_cost([classifier(8)] * 3, TrainConfig(epochs=1), data, CPU, n_jobs)
    assert [message.split(" (")[0].split("about ")[1] for message in caplog.messages] == [
        "32 s",
        "32 s",
        "16 s",
        "11 s",
    ]
    assert threads.count("one") == 3


def test_a_network_that_cannot_be_built_is_left_out_of_the_measurement(data, caplog):
    wrong = replace(classifier(4), input_shape=(1, 8, 8, 3))
    with caplog.at_level(logging.INFO):
        cost.say_cost([wrong, classifier()], TrainConfig(), data, CPU)
        cost.say_cost([wrong], TrainConfig(), data, CPU)
        cost.say_cost([], TrainConfig(), data, CPU)
    (message,) = caplog.messages
    assert "with hidden8" in message


def test_patience_grows_with_the_work(data):
    few, many = classifier(4), classifier(64)
    limits = [patience([few], TrainConfig(epochs=n), data) - 3600 for n in (1, 10)]
    assert 0 < limits[0] * 9 < limits[1]
    assert (
        patience([few, many], TrainConfig(), data)
        == patience([many], TrainConfig(), data)
        > patience([few], TrainConfig(), data)
    )
    assert patience([], TrainConfig(), data) == 3600
