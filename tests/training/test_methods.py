import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.networks.initial import initial_network  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork  # noqa: E402
from model_src.training.cifar10 import has_bfloat16  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.loop import make_learner, train_network  # noqa: E402
from model_src.training.methods import FastMethod, PublishedMethod, features, moved, zoom  # noqa: E402
from model_src.training.recipe import Execution, FastConfig, TrainConfig  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.training.conftest import classifier, small_network  # noqa: E402

CPU = Execution("cpu")
SHORT = FastConfig(epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def data(cifar_folder):
    return load_cifar10(cifar_folder)


def fast(data, config=SHORT):
    return FastMethod(config, torch.from_numpy(data.train_images))


def test_zoom_keeps_mirrors_and_shrinks():
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(zoom(images, torch.tensor([[1.0, 1.0]])), images)
    torch.testing.assert_close(zoom(images, torch.tensor([[-1.0, 1.0]])), images.flip(3))
    # At scale 2 the outer samples lie outside and repeat the border; rows and columns are scaled on their own.
    wide = zoom(images, torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(wide[0, 0, 0], torch.tensor([0.0, 0.5, 2.5, 3.0]))


def test_images_are_moved_mirrored_and_reflected():
    images = torch.arange(2 * 12, dtype=torch.uint8).reshape(2, 1, 3, 4)
    there = moved(images, torch.tensor([[0, 0, 0], [0, 0, 1]]))
    assert torch.equal(there[0], images[0])
    assert torch.equal(there[1], images[1].flip(2))
    # As torch's own reflecting pad and a crop.
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect")
    for down, right in ((1, -2), (-2, 2), (2, 0)):
        expected = padded[:, :, 2 - down : 5 - down, 2 - right : 6 - right]
        plain, mirrored = (moved(images, torch.tensor([[down, right, flip]] * 2)).float() for flip in (0, 1))
        assert torch.equal(plain, expected)
        assert torch.equal(mirrored, expected.flip(3))


def test_the_penalty_lies_on_kernels_only():
    network = TorchNetwork(classifier(), enable_bias=True)
    kernels, others = PublishedMethod(TrainConfig()).optimiser(network).param_groups
    assert kernels["weight_decay"] == 2e-5
    assert [kernel.ndim for kernel in kernels["params"]] == [4]
    assert others["weight_decay"] == 0
    assert len(others["params"]) == 3
    assert kernels["momentum"] == 0.9
    assert kernels["lr"] == 1e-3


def test_fast_weights_decay_but_no_biases_and_norms(data):
    network = initial_network(load_cg(ROOT / "architectures" / "hiaml_best.pkl"), 0)
    weights, others = fast(data).optimiser(network).param_groups
    assert (weights["weight_decay"], others["weight_decay"]) == (5e-4, 0)
    assert weights["nesterov"]
    assert {weight.ndim for weight in weights["params"]} == {2, 4}
    assert {weight.ndim for weight in others["params"]} == {1}
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert norms
    assert {layer.momentum for layer in norms} == {0.1}


def test_large_features_learn_as_if_they_were_divided(data):
    plain = fast(data).plain(torch.from_numpy(data.train_images[:32]))
    size = plain.square().mean().sqrt().item()

    def outputs(divisor, config, fresh=True):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        if not fresh:
            network[1].weight.data /= 4
        method = fast(data, config)
        optimiser = method.optimiser(network, fresh)
        for _ in range(3):
            logits = network(plain / divisor)
            yield logits.detach()
            method.loss(logits, torch.arange(32) % 10).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            for group in optimiser.param_groups:
                group["lr"] = 0.1 * group.get("share", 1)
            optimiser.step()
            optimiser.zero_grad()

    expected = list(outputs(4, SHORT))
    for fresh in (True, False):
        found = list(outputs(1, replace(SHORT, most_features=size / 4), fresh))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
    assert not torch.allclose(expected[0], expected[2])


def test_features_are_what_enters_the_last_layer_and_nothing_changes():
    network = initial_network(load_cg(ROOT / "architectures" / "hiaml_best.pkl"), 0).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    last, size = features(network, torch.rand(4, 3, 32, 32))
    assert last is [layer.weight for layer in network.modules() if isinstance(layer, torch.nn.Linear)][-1]
    assert 0.1 < size < 2
    assert not network.training
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
    ends_in_softmax = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2), torch.nn.Softmax(1))
    assert features(ends_in_softmax, torch.rand(2, 1, 2, 2)) == (None, 0.0)


def test_fast_channels_have_mean_0_and_deviation_1(data):
    seen = fast(data).plain(torch.from_numpy(data.train_images))
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    black = data._replace(train_images=0 * data.train_images)
    assert fast(black).plain(torch.from_numpy(black.train_images)).isfinite().all()


def test_labels_are_smoothed(data):
    logits, labels = torch.tensor([[50.0] + 9 * [0.0]]), torch.tensor([0])
    assert fast(data).loss(logits, labels) == pytest.approx(0.1 * 0.9 * 50)


def test_a_large_gradient_is_scaled_down(data):
    def change(most):
        learner = make_learner(classifier(), replace(SHORT, most_gradient=most), 0, data, CPU)
        learner.start_epoch(*SHORT.plan(100, np.random.default_rng(0)))
        before = {name: value.copy() for name, value in learner.state().items()}
        learner.add_gradients(0, 32, 1.0)
        learner.apply_gradients(1.0)
        return sum(((learner.state()[name] - before[name]) ** 2).sum() for name in before) ** 0.5

    assert change(1e-3) < 0.01 < change(1e3)


def test_a_test_looks_at_mirror_images_too(data):
    learner = make_learner(classifier(), SHORT, 0, data, CPU)
    mirrored = make_learner(classifier(), SHORT, 0, data._replace(test_images=data.test_images[..., ::-1].copy()), CPU)
    assert float(learner.test(0, 20)[0]) == pytest.approx(float(mirrored.test(0, 20)[0]), rel=1e-2)
    assert make_learner(classifier(), SHORT, 1, data, CPU).test(0, 20) != learner.test(0, 20)


def test_a_cpu_that_has_bfloat16_uses_it_by_the_fast_recipe(data, monkeypatch):
    types = []
    for able in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able})
        assert has_bfloat16(torch.device("cpu")) == able
        learner = make_learner(small_network(), SHORT, 0, data, CPU)
        learner._network.layers["op_1/conv"].register_forward_hook(lambda *args: types.append(args[2].dtype))
        learner.test(0, 20)
    assert types == 2 * [torch.bfloat16] + 2 * [torch.float32]


def test_colours_are_learnt_quickly_and_a_seed_repeats(data):
    config = FastConfig(epochs=20, batch_size=10, peak_rate=0.05)
    result = train_network(classifier(), config, 0, data, CPU)
    assert result.last_accuracy > 0.6
    losses = [train_network(classifier(), SHORT, seed, data, CPU).last_loss for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_what_is_held_out_is_not_learnt_and_tested_first(data):
    config = replace(SHORT, held_out=20)
    result = train_network(classifier(), config, 0, data, CPU)
    without = data._replace(train_images=data.train_images[:80], train_labels=data.train_labels[:80])
    expected = train_network(classifier(), SHORT, 0, without, CPU)
    assert result.last_loss == expected.last_loss
    assert result.best_accuracy == result.last_accuracy == expected.last_accuracy
    held_out = without._replace(test_images=data.train_images[80:], test_labels=data.train_labels[80:])
    assert result.held_out_accuracy == train_network(classifier(), SHORT, 0, held_out, CPU).last_accuracy
    assert expected.held_out_accuracy is None
