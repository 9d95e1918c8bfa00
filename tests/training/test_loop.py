import logging
import math
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

from model_src.comp_graph.inheritance import all_of  # noqa: E402
from model_src.comp_graph.networks import initial  # noqa: E402
from model_src.comp_graph.networks.initial import initial_network  # noqa: E402
from model_src.files import InputError  # noqa: E402
from model_src.training import cifar10  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.loop import (  # noqa: E402
    TrainingLoop,
    check_execution,
    make_learner,
    train_network,
    try_to_train,
)
from model_src.training.portions import Portions, parts  # noqa: E402
from model_src.training.recipe import Execution, FastConfig, TrainConfig, TrainingError  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.training.conftest import classifier, small_network  # noqa: E402

SHORT = TrainConfig(epochs=2, batch_size=32)
CPU = Execution("cpu")


@pytest.fixture(scope="module")
def data(cifar_folder):
    return load_cifar10(cifar_folder)


class Recorder:
    """A learner that learns nothing and remembers what it was asked for; it holds `most` images at once."""

    n_train, n_test, test_batch_size, device_name = 100, 20, 15, "nowhere"

    def __init__(self, most=1000, losses=()):
        self.most, self.losses, self.added, self.tested, self.rates, self.shares = most, list(losses), [], [], [], []
        self.plans, self.n_dropped = [], 0

    def start_epoch(self, order, scales):
        self.plans.append(order)

    def add_gradients(self, start, stop, share):
        if stop - start > self.most:
            raise MemoryError("too many")
        self.added.append((start, stop))
        self.shares.append(share)
        return (self.losses.pop(0) if self.losses else 1.0) * (stop - start), 0

    def apply_gradients(self, rate):
        self.rates.append(rate)

    def drop_gradients(self):
        self.n_dropped += 1

    def state(self):
        return {}

    def test(self, start, stop):
        if stop - start > self.most:
            raise MemoryError("too many")
        self.tested.append((start, stop))
        return 2.0 * (stop - start), (stop - start) / 4


def test_epochs_steps_and_learning_rates():
    learner = Recorder()
    tests = TrainingLoop(learner, SHORT, 0, "x").run(progress=False).tests
    assert learner.added == [(0, 32), (32, 64), (64, 96), (96, 100)] * 2
    assert learner.shares == [1.0] * 8
    assert learner.rates[0] == 1e-3
    assert learner.rates[4] == pytest.approx((1e-3 + 1e-6) / 2)
    assert tests == [(2.0, 0.25)] * 2
    assert learner.tested == [(0, 10), (10, 20)] * 2
    assert learner.plans[0].tolist() != learner.plans[1].tolist()


def test_tests_may_be_rarer_but_the_last_epoch_is_tested():
    config = replace(SHORT, epochs=5, epochs_per_test=2)
    assert len(TrainingLoop(Recorder(), config, 0, "x").run(progress=False).tests) == 3


def test_images_that_are_held_out_are_for_all_tests_but_the_last():
    config = replace(SHORT, epochs=5, epochs_per_test=2, held_out=8)
    learner = Recorder()
    assert len(TrainingLoop(learner, config, 0, "x").run(progress=False).tests) == 4
    assert learner.tested == [(0, 8)] * 3 + [(8, 20)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training(bad):
    learner = Recorder(losses=[1.0] * 6 + [bad])
    with pytest.raises(TrainingError, match="the loss is not a finite number in epoch 2"):
        TrainingLoop(learner, SHORT, 0, "x").run(progress=False)
    assert len(learner.added) == 8


def test_a_test_that_gives_no_number_is_no_result(data, monkeypatch):
    monkeypatch.setattr(cifar10.TorchLearner, "test", lambda *_: (math.nan, 2))
    reason = try_to_train(classifier(), SHORT, 0, data, CPU)
    assert reason == "TrainingError: the loss on the test images is not a finite number"


def test_a_batch_that_is_too_large_is_halved_for_good(caplog):
    learner = Recorder(most=9)
    with caplog.at_level(logging.WARNING):
        tests = TrainingLoop(learner, SHORT, 0, "rank 3").run(progress=False).tests
    assert learner.added[:4] == [(0, 8), (8, 16), (16, 24), (24, 32)]
    assert learner.added[12:14] == [(96, 100), (0, 8)]
    assert learner.shares[:4] == [0.25] * 4
    assert learner.shares[12] == 1
    assert learner.n_dropped == 2
    assert len(learner.rates) == 8
    assert tests == [(2.0, 0.25)] * 2
    assert learner.tested == [(0, 6), (6, 13), (13, 20)] * 2
    assert [record.message for record in caplog.records] == [
        f"rank 3: out of memory with {whole} images at once; going on with parts of {half}, the steps stay the same"
        for whole, half in ((32, 16), (16, 8), (15, 8))
    ]


def test_memory_for_a_single_image_is_needed():
    with pytest.raises(MemoryError, match="too many"):
        TrainingLoop(Recorder(most=0), SHORT, 0, "x").run(progress=False)


def test_parts_cover_a_range_evenly():
    assert list(parts(0, 32, 32)) == [(0, 32)]
    assert list(parts(10, 20, 4)) == [(10, 13), (13, 16), (16, 20)]


def test_portions_do_undone_work_again():
    done = []

    def work(start, stop):
        if stop - start > 2:
            raise MemoryError
        done.append((start, stop))
        return stop - start, 1

    assert Portions(8, "x").sums(work, 0, 5, done.clear) == (5, 3)
    assert done == [(0, 1), (1, 3), (3, 5)]


class Hungry(torch.nn.Module):
    """Raises what PyTorch raises when the memory is used up, above a number of images."""

    def __init__(self, network, error, most):
        super().__init__()
        self.network, self.error, self.most = network, error, most

    def forward(self, x):
        logits = self.network(x)
        if len(x) > self.most:
            raise self.error
        return logits


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_network_too_large_for_the_memory_learns_the_same_in_parts(data, monkeypatch, error):
    whole = train_network(small_network(), SHORT, 0, data, CPU)
    build = initial.initial_network
    monkeypatch.setattr(initial, "initial_network", lambda *args: Hungry(build(*args), error, 7))
    in_parts = train_network(small_network(), SHORT, 0, data, CPU)
    assert in_parts.last_loss == pytest.approx(whole.last_loss, rel=1e-4)
    assert in_parts.last_accuracy == whole.last_accuracy


def test_other_errors_are_not_taken_for_lack_of_memory(data, monkeypatch):
    build = initial.initial_network
    monkeypatch.setattr(initial, "initial_network", lambda *args: Hungry(build(*args), RuntimeError("broken"), 7))
    with pytest.raises(RuntimeError, match=r"^broken$"):
        train_network(small_network(), SHORT, 0, data, CPU)


def test_colours_are_learnt_and_a_seed_repeats(data):
    config = TrainConfig(epochs=100, batch_size=25)
    first = train_network(classifier(), config, 0, data, CPU)
    assert first.last_accuracy > 0.6
    assert first.best_accuracy >= first.last_accuracy
    assert first.seconds > 0
    assert first.last_loss < math.log(10)
    assert first.device == "cpu"
    short = [train_network(classifier(), SHORT, seed, data, CPU).last_loss for seed in (0, 0, 1)]
    assert short[0] == short[1] != short[2]


def test_real_images_are_learnt(real_images):
    result = train_network(small_network(), TrainConfig(epochs=2, batch_size=32), 0, real_images, CPU)
    assert result.last_accuracy > 0.2
    assert result.last_loss < math.log(10)


def test_the_first_images_are_enough(data):
    few = train_network(classifier(), replace(SHORT, train_images=40), 0, data, CPU)
    assert few.last_loss == train_network(classifier(), SHORT, 0, data.split(40), CPU).last_loss


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (classifier(n_classes=4), "ends in .*4,.* not in one vector of 10 classes"),
        (replace(classifier(), input_shape=(1, 224, 224, 3)), "CIFAR-10 images are 32x32x3"),
    ],
)
def test_networks_that_do_not_fit_are_refused(data, graph, reason):
    with pytest.raises(ValueError, match=reason):
        train_network(graph, SHORT, 0, data, CPU)
    assert try_to_train(graph, SHORT, 0, data, CPU).startswith("ValueError: ")


def test_a_training_that_diverges_gives_the_reason(data):
    config = replace(SHORT, learning_rate=1e38, epochs=5)
    assert try_to_train(classifier(), config, 0, data, CPU).startswith("TrainingError: the loss is not a finite number")


def test_the_bar_shows_loss_accuracy_rate_and_time_left(data, capsys):
    train_network(classifier(), SHORT, 0, data, CPU, progress=True, title="rank 3")
    text = capsys.readouterr().err
    for part in ("rank 3 epoch 2, test 0.", "loss ", "accuracy ", "images/s", "<00:00"):
        assert part in text


def test_a_framework_is_imported_when_it_trains():
    code = (
        "import sys, model_src.training.frontier, model_src.training.labels, gen_families; "
        "print([m for m in ('torch', 'tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_devices_and_frameworks_are_checked(data, monkeypatch):
    for check in (check_execution, lambda *args: try_to_train(classifier(), args[0], 0, data, args[1])):
        with pytest.raises(InputError, match="-device_str abacus"):
            check(SHORT, Execution("abacus"))
    with pytest.raises(InputError, match="-train_type TensorFlow: the fast recipe is for PyTorch"):
        check_execution(FastConfig(framework="TensorFlow"), CPU)
    monkeypatch.setattr("model_src.training.loop.find_spec", lambda _: None)
    check_execution(SHORT, CPU)
    with pytest.raises(InputError, match="-train_type TensorFlow: TensorFlow is not installed"):
        check_execution(replace(SHORT, framework="TensorFlow"), CPU)


def test_a_training_begins_with_what_is_inherited(data):
    graph, config = small_network(), replace(SHORT, epochs=1)
    layers = {step.name: step.node.str_id for step in initial_network(graph, 0).plan.steps}
    weights: dict = {}
    for key, values in initial_network(graph, 7).state_dict().items():
        layer, _, name = key.removeprefix("layers.").rpartition(".")
        weights.setdefault(layers[layer], {})[name] = values.numpy()
    learners = [
        make_learner(graph, config, seed, data, CPU, inherited) for seed, inherited in ((0, all_of(weights)), (7, None))
    ]
    assert learners[0].test(0, 20) == learners[1].test(0, 20)
    assert learners[0].test(0, 20) != make_learner(graph, config, 0, data, CPU).test(0, 20)
    runs = [train_network(graph, config, seed, data, CPU, inherited=all_of(weights)) for seed in (0, 1)]
    assert runs[0].last_loss != runs[1].last_loss  # another order


def test_a_state_with_inherited_weights_is_another_training(data, tmp_path, caplog):
    weights: dict = {}
    for inherited in (None, all_of(weights)):
        train_network(small_network(), SHORT, 0, data, CPU, state_path=tmp_path / "t.safetensors", inherited=inherited)
    (message,) = caplog.messages
    assert "it is of another training" in message


def test_a_head_for_other_classes_does_not_inherit(data):
    labels = {"train_labels": data.train_labels % 4, "test_labels": data.test_labels % 4}
    few = data._replace(dataset="colours", n_classes=4, **labels)
    graph, made = small_network(), initial_network(small_network(), 7)
    weights = {
        step.node.str_id: {name: value.numpy() for name, value in layer.state_dict().items()}
        for step, layer in zip(made.plan.steps, made.layers.values(), strict=True)
        if layer.state_dict()
    }
    learner = make_learner(graph, SHORT, 0, few, CPU, all_of(weights))
    state = learner.state()
    kernel = next(name for name in state if name.endswith("op_1/conv.weight"))
    assert (state[kernel] == weights["1"]["weight"]).all()
    head = next(name for name in state if "matmul" in name and name.endswith("weight"))
    assert state[head].shape == (4, 64)
