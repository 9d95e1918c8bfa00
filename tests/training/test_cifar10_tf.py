"""The TensorFlow training is the PyTorch training, up to rounding."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")

from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.files import InputError  # noqa: E402
from model_src.training import cifar10_tf, methods  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.loop import TrainingLoop, make_learner, train_network, try_to_train  # noqa: E402
from model_src.training.recipe import Execution, TrainConfig  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.training.conftest import classifier, small_network  # noqa: E402

SHORT = TrainConfig(epochs=2, batch_size=32, framework="TensorFlow")
CPU = Execution("cpu")


@pytest.fixture(scope="module")
def data(cifar_folder):
    return load_cifar10(cifar_folder)


def loops(graph, data):
    """The same training in both frameworks, its first epoch planned."""
    plan = SHORT.plan(len(data.train_images), np.random.default_rng(0))
    for framework in ("PyTorch", "TensorFlow"):
        config = replace(SHORT, framework=framework)
        loop = TrainingLoop(make_learner(graph, config, 0, data, CPU), config, 0, framework)
        loop.learner.start_epoch(*plan)
        yield loop


def test_both_zoom_alike():
    rng = np.random.default_rng(0)
    images = rng.random((6, 5, 8, 3), np.float32)
    scales = TrainConfig(zoom=0.5).plan(6, rng)[1]
    ours = methods.zoom(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(scales))
    theirs = cifar10_tf.zoom(tf.constant(images), tf.constant(scales))
    np.testing.assert_allclose(theirs, ours.permute(0, 2, 3, 1), atol=1e-5)


def test_an_interrupted_training_ends_as_if_it_were_not(data, tmp_path, monkeypatch):
    config, path = replace(SHORT, epochs=3), tmp_path / "t.safetensors"
    whole = train_network(small_network(), config, 0, data, CPU)
    start, begun = cifar10_tf.KerasLearner.start_epoch, []

    def start_epoch(self, *plan):
        begun.append(plan)
        if len(begun) == 3:
            raise KeyboardInterrupt
        start(self, *plan)

    monkeypatch.setattr(cifar10_tf.KerasLearner, "start_epoch", start_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_network(small_network(), config, 0, data, CPU, state_path=path)
    result = train_network(small_network(), config, 0, data, CPU, state_path=path)
    assert len(begun) == 4
    assert result.last_loss == pytest.approx(whole.last_loss, rel=1e-5)


def test_both_start_alike_and_take_the_same_steps(data):
    ours, theirs = loops(small_network(), data)
    assert theirs.test(0, 20) == pytest.approx(ours.test(0, 20), rel=1e-5)
    for start in (0, 32, 64):
        (loss, right), (other_loss, other_right) = (map(float, loop.step(start, start + 32)) for loop in (ours, theirs))
        assert other_loss == pytest.approx(loss, rel=1e-4)
        assert other_right == right
    assert theirs.test(0, 20) == pytest.approx(ours.test(0, 20), rel=1e-3)


@pytest.mark.slow
def test_parts_of_a_batch_add_up(data, monkeypatch):
    whole = train_network(small_network(), SHORT, 0, data, CPU)
    learn = cifar10_tf.KerasLearner._learn

    def hungry(self, chosen, scales, share):
        too_many = tf.debugging.assert_less(tf.size(chosen), 9)  # stands for the allocator: raised when it runs
        with tf.control_dependencies([too_many]):
            return learn(self, tf.identity(chosen), scales, share)

    monkeypatch.setattr(cifar10_tf.KerasLearner, "_learn", hungry)
    monkeypatch.setattr(tf.errors, "ResourceExhaustedError", tf.errors.InvalidArgumentError)
    in_parts = train_network(small_network(), SHORT, 0, data, CPU)
    assert in_parts.last_loss == pytest.approx(whole.last_loss, rel=1e-4)


def test_real_images_are_learnt(real_images):
    result = train_network(small_network(), SHORT, 0, real_images, CPU)
    assert result.last_accuracy > 0.2
    assert result.last_loss < math.log(10)


def test_what_cannot_be_trained_gives_the_reason(data):
    assert "ends in [(4,)] per image" in try_to_train(classifier(n_classes=4), SHORT, 0, data, CPU)
    diverging = replace(SHORT, learning_rate=1e38)
    assert try_to_train(classifier(), diverging, 0, data, CPU).startswith("TrainingError: the loss is not a finite")


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_devices_have_the_names_of_pytorch():
    assert cifar10_tf.choose_tf_device("cpu") == cifar10_tf.choose_tf_device(None) == ("/CPU:0", "cpu")
    with pytest.raises(InputError, match="-device_str cuda:1: TensorFlow sees 0 GPUs"):
        cifar10_tf.choose_tf_device("cuda:1")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["nb201", "hiaml", "inception", "two_path", "nb101"])
def test_shipped_networks_start_alike(data, family):
    ours, theirs = loops(load_cg(ROOT / "architectures" / f"{family}_best.pkl"), data)
    assert theirs.test(0, 20) == pytest.approx(ours.test(0, 20), rel=1e-3)
    losses = [float(loop.step(0, 32)[0]) for loop in (ours, theirs)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
