import pytest

torch = pytest.importorskip("torch")

from model_src.comp_graph.networks.initial import initial_network  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.loop import make_learner, train_network  # noqa: E402
from model_src.training.recipe import Execution, TrainConfig  # noqa: E402
from tests.training.conftest import classifier, small_network  # noqa: E402

SHORT = TrainConfig(epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def data(cifar_folder):
    return load_cifar10(cifar_folder)


def test_initial_weights_are_he_and_glorot_and_repeat():
    networks = [initial_network(classifier(64), 1) for _ in range(2)]
    kernel = networks[0].layers["op_1/conv"].weight
    assert 0.98 * (6 / 27) ** 0.5 < kernel.max() < (6 / 27) ** 0.5
    dense = networks[0].layers["op_3/matmul"]
    assert 0.98 * (6 / 74) ** 0.5 < dense.weight.max() < (6 / 74) ** 0.5
    assert not dense.bias.any()
    for first, second in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(kernel, initial_network(classifier(64), 2).layers["op_1/conv"].weight)


def learner(data, **how):
    made = make_learner(small_network(), SHORT, 0, data, Execution("cpu", **how))
    made.start_epoch(
        torch.randperm(100, generator=torch.Generator().manual_seed(0)).numpy(), torch.ones(100, 2).numpy()
    )
    return made


def test_a_step_follows_the_gradient(data):
    ours = learner(data)
    first, _ = ours.add_gradients(0, 32, 1.0)
    ours.apply_gradients(1e-4)
    second, right = ours.add_gradients(0, 32, 1.0)
    assert second < first
    assert 0 <= right <= 32


def test_dropped_gradients_leave_no_trace(data):
    clean, retried = learner(data), learner(data)
    retried.add_gradients(0, 10, 1.0)
    retried.drop_gradients()
    for one in (clean, retried):
        one.add_gradients(0, 32, 1.0)
        one.apply_gradients(1e-2)
    assert torch.equal(clean.test(0, 20)[0], retried.test(0, 20)[0])


def test_a_test_counts_right_answers_in_evaluation_mode(data, monkeypatch):
    ours = learner(data)
    labels = torch.from_numpy(data.test_labels)
    answers = 50 * torch.nn.functional.one_hot((labels + (torch.arange(20) < 5)) % 10, 10).float()
    modes = []
    monkeypatch.setattr(ours._network, "forward", lambda x: modes.append(ours._network.training) or answers)
    loss, right = ours.test(0, 20)
    assert right == 15
    assert loss == pytest.approx(250)
    assert modes == [False]


def test_maps_are_channels_last(data):
    seen = []
    ours = learner(data)
    ours._network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ours.add_gradients(0, 32, 1.0)
    ours.test(0, 20)
    assert [images.is_contiguous(memory_format=torch.channels_last) for images in seen] == [True, True]
    assert all(images.min() >= 0 and images.max() <= 1 and images.dtype == torch.float32 for images in seen)


def test_bfloat16_is_for_the_network_and_not_for_weights_and_loss(data):
    types = []
    ours = learner(data, bfloat16=True)
    ours._network.layers["op_1/conv"].register_forward_hook(lambda *args: types.append(args[2].dtype))
    loss, _ = ours.add_gradients(0, 32, 1.0)
    ours.apply_gradients(1e-3)
    ours.test(0, 20)
    assert types == [torch.bfloat16] * 2
    assert loss.dtype == torch.float32
    assert {weight.dtype for weight in ours._network.parameters()} == {torch.float32}
    assert not learner(data)._bfloat16  # the published recipe, on a CPU


def test_a_compiled_network_trains_on_whole_batches(data, monkeypatch):
    sizes = []

    def compile(network, **options):
        assert options == {"dynamic": False, "mode": "default"}
        return lambda images: sizes.append(len(images)) or network(images)

    monkeypatch.setattr(torch, "compile", compile)
    plain, compiled = (train_network(small_network(), SHORT, 0, data, Execution("cpu", compile=on)) for on in (0, 1))
    assert sizes == [32] * 6
    assert compiled.last_loss == plain.last_loss


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of the compiler itself
def test_the_compiler_changes_nothing_but_rounding(data):
    plain, compiled = (train_network(small_network(), SHORT, 0, data, Execution("cpu", compile=on)) for on in (0, 1))
    assert compiled.last_loss == pytest.approx(plain.last_loss, rel=1e-3)
