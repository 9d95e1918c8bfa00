from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork  # noqa: E402
from model_src.training import cifar10  # noqa: E402
from model_src.training.cifar10 import (  # noqa: E402
    TrainConfig,
    TrainingError,
    accuracy_on,
    augmented_batches,
    initialise,
    make_optimiser,
    train_network,
    zoom,
)
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from tests.training.conftest import classifier  # noqa: E402

SHORT = TrainConfig(epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def data(cifar_folder):
    return load_cifar10(cifar_folder)


def test_zoom_keeps_mirrors_and_shrinks():
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(zoom(images, torch.tensor([[1.0, 1.0]])), images)
    torch.testing.assert_close(zoom(images, torch.tensor([[-1.0, 1.0]])), images.flip(3))
    # At scale 2 the outer samples lie outside and repeat the border; rows and columns are scaled on their own.
    wide = zoom(images, torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(wide[0, 0, 0], torch.tensor([0.0, 0.5, 2.5, 3.0]))


def test_an_epoch_shows_every_image_once_zoomed_and_flipped(data):
    images = torch.from_numpy(data.train_images)
    identity = torch.arange(len(images))
    batches = list(augmented_batches(images, identity, SHORT, torch.Generator().manual_seed(0)))
    assert [len(labels) for _, labels in batches] == [32, 32, 32, 4]
    order = torch.cat([labels for _, labels in batches])
    assert order.tolist() != identity.tolist() and sorted(order.tolist()) == identity.tolist()
    # The made-up images are of one colour each, which no zoom and no flip changes.
    torch.testing.assert_close(torch.cat([pixels for pixels, _ in batches]), images[order].float() / 255)


def test_zoom_factors_and_flips_are_drawn_as_the_recipe_says(monkeypatch):
    drawn = []
    monkeypatch.setattr(cifar10, "zoom", lambda images, scales: drawn.append(scales) or images)
    images = torch.zeros(2000, 3, 1, 1, dtype=torch.uint8)
    list(augmented_batches(images, torch.zeros(2000), SHORT, torch.Generator().manual_seed(0)))
    scales = torch.cat(drawn)
    assert 0.8 <= scales.abs().min() < 0.81 and 1.19 < scales.abs().max() <= 1.2
    assert 0.45 < (scales[:, 0] < 0).float().mean() < 0.55 and (scales[:, 1] > 0).all()


def test_initial_weights_are_he_and_glorot_and_repeat():
    networks = [TorchNetwork(classifier(64), enable_bias=True) for _ in range(2)]
    for network in networks:
        initialise(network, torch.Generator().manual_seed(1))
    kernel, bias = networks[0].layers["op_1/conv"].weight, networks[0].layers["op_1/conv"].bias
    assert 0.98 * (6 / 27) ** 0.5 < kernel.max() < (6 / 27) ** 0.5 and not bias.any()
    dense = networks[0].layers["op_3/matmul"].weight
    assert 0.98 * (6 / 74) ** 0.5 < dense.max() < (6 / 74) ** 0.5
    for first, second in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(first, second)


def test_the_penalty_lies_on_kernels_only():
    network = TorchNetwork(classifier(), enable_bias=True)
    kernels, others = make_optimiser(network, TrainConfig()).param_groups
    assert kernels["weight_decay"] == 2e-5 and [kernel.ndim for kernel in kernels["params"]] == [4]
    assert others["weight_decay"] == 0 and len(others["params"]) == 3
    assert kernels["momentum"] == 0.9 and kernels["lr"] == 1e-3


def test_the_learning_rate_falls_along_a_cosine_to_a_thousandth(data, monkeypatch):
    rates = []
    step = cifar10.CentredRMSprop.step
    monkeypatch.setattr(
        cifar10.CentredRMSprop, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))
    )
    train_network(classifier(), replace(SHORT, epochs=3), 0, data, "cpu")
    assert len(rates) == 12 and rates[0] == 1e-3
    assert rates[6] == pytest.approx((1e-3 + 1e-6) / 2) and 1e-6 < rates[-1] < 2e-5


def test_colours_are_learnt_and_a_seed_repeats(data):
    config = TrainConfig(epochs=100, batch_size=25)
    first = train_network(classifier(), config, 0, data, "cpu")
    assert first.last_accuracy > 0.6 and first.best_accuracy >= first.last_accuracy and first.seconds > 0
    short = [train_network(classifier(), SHORT, seed, data, "cpu").last_accuracy for seed in (0, 0)]
    assert short[0] == short[1]


def test_accuracy_is_the_share_of_right_answers(data):
    images, labels = torch.from_numpy(data.test_images), torch.from_numpy(data.test_labels)
    answers = torch.nn.functional.one_hot((labels + (torch.arange(20) < 5)) % 10, 10).float()
    network = torch.nn.Identity()
    network.forward = lambda x: answers
    assert accuracy_on(network, images, labels) == 0.75


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (classifier(n_classes=4), "ends in .*4,.* not in one vector of 10 classes"),
        (replace(classifier(), input_shape=(1, 224, 224, 3)), "CIFAR-10 images are 32x32x3"),
    ],
)
def test_networks_that_do_not_fit_are_refused(data, graph, reason):
    with pytest.raises(ValueError, match=reason):
        train_network(graph, SHORT, 0, data, "cpu")


def test_a_loss_that_is_no_number_ends_the_training(data):
    with pytest.raises(TrainingError, match="not a finite number in epoch"):
        train_network(classifier(), replace(SHORT, learning_rate=1e38, epochs=5), 0, data, "cpu")


def test_the_bar_shows_loss_accuracy_and_rate(data, capsys):
    train_network(classifier(), SHORT, 0, data, "cpu", progress=True, title="rank 3")
    text = capsys.readouterr().err
    for part in ("rank 3 epoch 2, test 0.", "loss ", "accuracy ", "images/s"):
        assert part in text
