"""Weights that the input of a search comes with: results inherit them, folders and exports carry them."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from safetensors.numpy import load_file  # noqa: E402
from torch import nn  # noqa: E402

import autogo  # noqa: E402
from model_src.comp_graph.importers.torch import from_torch  # noqa: E402
from model_src.comp_graph.load import load_network  # noqa: E402
from model_src.comp_graph.networks.initial import initial_network  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output_torch import TorchNetwork  # noqa: E402
from model_src.comp_graph.weights import WeightedGraph  # noqa: E402
from model_src.files import InputError  # noqa: E402
from model_src.search.config import SearchConfig  # noqa: E402
from model_src.search.published_text import mutation_text  # noqa: E402
from model_src.search.report import frontier_table, pareto_rows  # noqa: E402
from model_src.search.session import search  # noqa: E402
from model_src.search.workers import Workers  # noqa: E402
from tests.search.conftest import TinyFactory  # noqa: E402
from tests.test_autogo import arguments, result_folder  # noqa: E402
from tests.training.conftest import cifar_folder, in_this_process  # noqa: E402, F401

CONFIG = SearchConfig(
    "nb201", epoch=1, min_flops_decrease_percent=-10, max_flops_decrease_percent=100, rescore_per_iter=12
)


@pytest.fixture(scope="module")
def weights(source):
    """Of nb201_best: every number tells its layer."""
    network = initial_network(source, 0)
    layers = {step.name: step.node.str_id for step in network.plan.steps}
    found = {}
    for number, (key, values) in enumerate(network.state_dict().items()):
        layer, _, name = key.removeprefix("layers.").rpartition(".")
        if values.ndim:
            found.setdefault(layers[layer], {})[name] = np.full(values.shape, number / 1000, np.float32)
    return found


@pytest.fixture(scope="module")
def result(source, weights):
    with Workers(TinyFactory(), 1) as workers:
        return search(source, CONFIG, workers=workers, weights=weights)


def test_layers_that_no_swap_brought_in_inherit(result, weights):
    assert result.networks
    for one in result.networks:
        origins = dict(zip([node.str_id for node in one.graph.nodes], one.node_ids, strict=True))
        kept = {name for name, origin in origins.items() if origin in weights}
        assert one.inherited.weights.keys() <= kept
        assert len(one.inherited.weights) > 0.5 * len(kept) > 0
        assert all(one.inherited.weights[name] is weights[origins[name]] for name in one.inherited.weights)
        brought = {name for name, origin in origins.items() if origin.startswith("1.")}
        assert not brought & one.inherited.weights.keys()
        assert one.inherited.new & brought


def test_modules_have_the_inherited_weights_and_seeded_others(result, weights):
    one = result.networks[0]
    first, second, other = (one.module(seed).state_dict() for seed in (0, 0, 1))
    steps = {step.name: step.node.str_id for step in one.module().plan.steps}
    differ = set()
    for key in first:
        assert torch.equal(first[key], second[key])
        if not torch.equal(first[key], other[key]):
            differ.add(steps[key.removeprefix("layers.").rpartition(".")[0]])
    assert differ <= one.inherited.new
    assert not one.module().training


def test_the_report_counts_them(result):
    rows = pareto_rows(result)
    for row, one in zip(rows[1:], result.networks, strict=True):
        assert (row["inherited"], row["not_inherited"]) == (len(one.inherited.weights), len(one.inherited.new))
    assert rows[0]["not_inherited"] == 0
    table = frontier_table(result, rows).splitlines()
    assert table[0].endswith("layers inherited  output differs by")
    assert table[2].split()[-4:-1] == result.networks[0].inherited.summary.split()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda own, name: own.pop(name), r"its weight has shape \(.*\), in the weights that are given none"),
        (
            lambda own, name: own[name].pop("weight"),
            r"its weight has shape \(.*\), in the weights that are given none",
        ),
        (
            lambda own, name: own[name].update(weight=np.zeros((2, 3, 1, 1), np.float32)),
            r"its weight has shape \(.*\), in the weights that are given \(2, 3, 1, 1\)",
        ),
        (lambda own, name: own[name].update(scale=np.zeros(3)), r"its scale has shape none, in the weights"),
        (lambda own, name: own.update(other=own[name]), "there are weights of node 'other', which the graph does not"),
    ],
)
def test_weights_are_those_of_all_layers(source, weights, change, reason):
    own = {name: dict(layer) for name, layer in weights.items()}
    conv = next(node for node in source.nodes if node.operation.name == "conv")
    change(own, conv.str_id)
    where = "" if "other" in reason else re.escape(f"node {conv.str_id} ({conv.label}): ")
    with pytest.raises(InputError, match=where + reason):
        search(source, CONFIG, weights=own)


def test_a_file_without_the_weights_of_a_layer_is_refused(tmp_path, source, weights):
    first = next(name for name in weights if len(weights[name]) > 1)
    less = {name: layer for name, layer in weights.items() if name != first}
    WeightedGraph(source, less).save(tmp_path / "mine.pkl")
    with pytest.raises(InputError, match=rf"mine\.pkl: node {re.escape(first)} "):
        autogo.main(arguments(tmp_path, model_path=tmp_path / "mine.pkl"))
    assert not (tmp_path / "out").exists()


def test_without_weights_nothing_is_said(source):
    with Workers(TinyFactory(), 1) as workers:
        plain = search(source, CONFIG, workers=workers)
    assert all(one.inherited is None for one in plain.networks)
    assert "inherited" not in pareto_rows(plain)[0]


class Residual(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        body = (*block(c_in, c_out, stride), nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out))
        skip = (nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)) if stride > 1 else ()
        self.body, self.skip = nn.Sequential(*body), nn.Sequential(*skip)

    def forward(self, x):
        return torch.relu(self.body(x) + self.skip(x))


def trained_resnet(steps: int = 3) -> nn.Module:
    """A residual network after a few steps on noise."""
    torch.manual_seed(0)
    blocks = (Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 32, 1), Residual(32, 64, 2))
    module = nn.Sequential(*block(3, 16, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
        optimizer.step()
    return module.eval()


def shape_of(node) -> list:
    return [node.resolution[4:], node.state_dict().get("shape"), node.strides]


def test_every_unchanged_layer_of_a_trained_network_keeps_its_weights():
    module, images = trained_resnet(), torch.randn(4, 3, 32, 32)
    source = from_torch(module, images, "mine").weighted()
    config = replace(CONFIG, model_family="generic", max_score_drop="9")
    with Workers(TinyFactory(), 1) as workers:
        result = search(source.graph, config, workers=workers, weights=source.weights)
    assert len(result.networks) > 1
    old = {node.str_id: node for node in source.graph.nodes}
    for one in result.networks:
        network, n_same = one.module(), 0
        layers = {step.node.str_id: network.layers[step.name] for step in network.plan.steps}
        for node, origin in zip(one.graph.nodes, one.node_ids, strict=True):
            before = old.get(origin)
            if before is None or origin not in source.weights:
                continue
            if shape_of(node) != shape_of(before):
                continue
            n_same += 1
            for name, value in source.weights[origin].items():
                np.testing.assert_array_equal(layers[node.str_id].state_dict()[name].numpy(), value)
        assert n_same == len(one.inherited.weights) > 10
    rows = pareto_rows(result)
    assert rows[0]["output_distance"] == "0.000000"
    assert [float(row["output_distance"]) for row in rows[1:]] == pytest.approx(result.distances, abs=1e-6)
    assert min(result.distances) > 0
    text = f"Rank 0: {result.networks[0].inherited.summary} layers inherited, output differs by"
    assert f"{text} {result.distances[0]:.2f}\n" in mutation_text(result)


def test_calibration_takes_statistics_of_results_from_images(tmp_path):
    module = trained_resnet()
    from_torch(module, torch.zeros(1, 3, 32, 32), "mine").save(tmp_path / "mine.pkl")
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for number in range(6):
        (folder / str(number % 2)).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / str(number % 2) / f"{number}.png")
    flags = {
        "model_path": tmp_path / "mine.pkl",
        "model_family": "generic",
        "rescore_per_iter": 20,
        "max_score_drop": 9,
    }
    autogo.main([*arguments(tmp_path, **flags), "-calibration_data", str(folder)])
    calibrated = load_network(result_folder(tmp_path) / "rank_0.pkl")
    norms = [node.str_id for node in calibrated.graph.nodes if node.operation.name == "batchnorm"]
    original = {values.tobytes() for name, values in numbers_of(module) if "running" in name}
    assert norms
    for name in norms:
        assert calibrated.weights[name]["running_mean"].tobytes() not in original

    with pytest.raises(InputError, match=r"^-calibration_data: .*/none: at least two image files .* found 0$"):
        autogo.main([*arguments(tmp_path, **flags), "-calibration_data", str(tmp_path / "none")])


def numbers_of(module: nn.Module):
    return [(name, values.numpy()) for name, values in module.state_dict().items()]


def block(c_in, c_out, stride):
    return nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()


def test_a_trained_network_comes_in_and_leaves_with_its_weights(tmp_path, cifar_folder):  # noqa: F811
    torch.manual_seed(0)
    blocks = (*block(3, 32, 1), *block(32, 64, 2), *block(64, 64, 1), *block(64, 128, 2), *block(128, 128, 1))
    module = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)).eval()
    from_torch(module, torch.zeros(1, 3, 32, 32), "mine").save(tmp_path / "mine.pkl")
    flags = {"model_path": tmp_path / "mine.pkl", "model_family": "generic", "rescore_per_iter": 20, "export": "torch"}
    autogo.main(arguments(tmp_path, **flags, max_score_drop=9))
    folder = result_folder(tmp_path)
    with (folder / "pareto.csv").open(newline="") as file:
        source, *results = csv.DictReader(file)
    assert results
    assert source["inherited"] == "11"
    images = torch.randn(2, 3, 32, 32)
    own = load_network(folder / "input.pkl")
    restored = TorchNetwork(own.graph)
    restored.load_state_dict({name: torch.from_numpy(one) for name, one in own.state().items()}, strict=False)
    with torch.inference_mode():
        torch.testing.assert_close(restored.eval()(images), module(images), rtol=1e-5, atol=1e-5)
    trained = [layer.weight for layer in module if isinstance(layer, nn.Conv2d)]
    for row in results:
        found = load_network(folder / row["file"])
        network = TorchNetwork(found.graph)
        saved = load_file(folder / row["file"].replace(".pkl", ".safetensors"))
        network.load_state_dict({name: torch.from_numpy(one) for name, one in saved.items()})
        kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        n_same = sum(
            any(one.shape == kernel.shape and torch.equal(one, kernel) for kernel in kernels) for one in trained
        )
        assert n_same >= 1
        exported = torch.load(folder / row["file"].replace(".pkl", ".pt"), weights_only=True)
        assert any(values.shape == trained[0].shape for values in exported.values())
        assert int(row["inherited"]) >= 2
    _check_trainings(folder, cifar_folder)


def _check_trainings(folder, images):
    """Trainings begin with what is inherited, unless fresh weights are asked for; both are kept."""
    flags = {"num_train_cgs": 1, "num_runs_cg": 1, "train_epochs": 1, "train_images": 20, "train_batch_size": 10}
    argv = ["-resume", str(folder), "-train_input_cg", "-train_data_dir", str(images), "-device_str", "cpu"]
    argv += [f"-{name}={value}" for name, value in flags.items()]
    recipes = []
    for more in ([], ["-from_scratch"]):
        autogo.main([*argv, *more])
        content = json.loads((folder / "train_result.json").read_text())
        recipes.append(content["recipe"].get("weights"))
        assert [one["rank"] for one in content["trained"]] == [None, 0]
    assert recipes == ["inherited", None]
    assert [entry["recipe"].get("weights") for entry in content["other_runs"]] == ["inherited"] * 2
    assert len(list((folder / "weights").iterdir())) == 4
