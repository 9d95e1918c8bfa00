import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

from model_src.comp_graph.load import load_cg  # noqa: E402
from model_src.comp_graph.tf_comp_graph_output_torch import build_torch_network  # noqa: E402
from model_src.training import loop  # noqa: E402
from model_src.training.cifar10 import TorchLearner  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.loop import train_network  # noqa: E402
from model_src.training.recipe import Execution, FastConfig, TrainConfig  # noqa: E402
from model_src.training.state import NETWORK  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.training.conftest import small_network  # noqa: E402

CPU = Execution("cpu")
RECIPES = [TrainConfig(epochs=3, batch_size=32), FastConfig(epochs=3, batch_size=32, held_out=20)]
BOTH = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


@pytest.fixture(scope="module")
def data(cifar_folder):
    return load_cifar10(cifar_folder)


class Stopped(Exception):
    pass


def stop_in_epoch(monkeypatch, number):
    """Let trainings stop in an epoch, as if they were killed."""
    start = TorchLearner.start_epoch
    begun = []

    def start_epoch(self, *plan):
        begun.append(plan)
        if len(begun) == number:
            raise Stopped
        start(self, *plan)

    monkeypatch.setattr(TorchLearner, "start_epoch", start_epoch)
    return begun


@BOTH
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_training_ends_as_if_it_were_not(data, tmp_path, monkeypatch, recipe, epoch):
    path, whole = tmp_path / "t.safetensors", tmp_path / "whole.safetensors"
    expected = train_network(small_network(), recipe, 0, data, CPU, state_path=whole)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, epoch)
        with pytest.raises(Stopped):
            train_network(small_network(), recipe, 0, data, CPU, state_path=path)
    begun = stop_in_epoch(monkeypatch, 4)
    result = train_network(small_network(), recipe, 0, data, CPU, state_path=path)
    assert replace(result, seconds=0) == replace(expected, seconds=0)
    assert len(begun) == 4 - epoch
    first, second = load_file(path), load_file(whole)
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("recipe", [replace(recipe, epochs=2) for recipe in RECIPES], ids=lambda recipe: recipe.name)
def test_norms_and_single_numbers_go_on_too(data, tmp_path, monkeypatch, recipe):
    network, path = load_cg(ROOT / "architectures" / "two_path_best.pkl"), tmp_path / "t.safetensors"
    whole = train_network(network, replace(recipe, train_images=40), 0, data, CPU)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2)
        with pytest.raises(Stopped):
            train_network(network, replace(recipe, train_images=40), 0, data, CPU, state_path=path)
    begun = stop_in_epoch(monkeypatch, 3)
    result = train_network(network, replace(recipe, train_images=40), 0, data, CPU, state_path=path)
    assert replace(result, seconds=0) == replace(whole, seconds=0)
    assert len(begun) == 1


@BOTH
def test_a_finished_training_is_not_repeated_and_leaves_its_weights(data, tmp_path, monkeypatch, recipe):
    path = tmp_path / "t.safetensors"
    first = train_network(small_network(), recipe, 0, data, CPU, state_path=path)
    stop_in_epoch(monkeypatch, 1)
    assert train_network(small_network(), recipe, 0, data, CPU, state_path=path) == first
    tensors = load_file(path)
    assert all(name.startswith(NETWORK) for name in tensors)
    network = build_torch_network(small_network())
    network.load_state_dict({name.removeprefix(NETWORK): torch.from_numpy(tensors[name]) for name in tensors})


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def text(path):
    path.write_text("nothing")


def of_another_seed(path):
    _rewrite(path, lambda about: about["identity"].update(seed=1))


def without_epoch(path):
    _rewrite(path, lambda about: about.pop("epoch"))


def without_text(path):
    save_file(load_file(path), path)


def of_another_shape(path):
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith(NETWORK))
    _rewrite(path, lambda about: None, {**tensors, name: np.zeros(3, np.float32)})


def _rewrite(path, change, tensors=None):
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["training"])
    change(about)
    save_file(load_file(path) if tensors is None else tensors, path, {"training": json.dumps(about)})


@pytest.mark.parametrize(
    "damage",
    [truncate, text, of_another_seed, without_epoch, without_text, of_another_shape],
    ids=lambda one: one.__name__,
)
def test_a_damaged_or_foreign_state_is_not_gone_on_from(data, tmp_path, monkeypatch, caplog, damage):
    path, recipe = tmp_path / "t.safetensors", RECIPES[1]
    expected = train_network(small_network(), recipe, 0, data, CPU, state_path=path)
    damage(path)
    with caplog.at_level(logging.WARNING):
        result = train_network(small_network(), recipe, 0, data, CPU, state_path=path)
    assert replace(result, seconds=0) == replace(expected, seconds=0)
    (message,) = caplog.messages
    assert str(path) in message
    assert "begins anew" in message
    assert "\n" not in message


SCRIPT = """
import sys
from dataclasses import asdict
from pathlib import Path
import torch
from model_src.training import loop
from model_src.training.cifar10_data import load_cifar10
from model_src.training.recipe import Execution, FastConfig
from tests.training.conftest import small_network
torch.set_num_threads(1)
recipe = FastConfig(epochs=3, batch_size=32)
data, path = load_cifar10(sys.argv[1]), Path(sys.argv[2])
result = loop.train_network(small_network(), recipe, 0, data, Execution("cpu"), state_path=path)
print(result.last_loss, result.last_accuracy)
"""


def test_a_training_that_is_killed_goes_on(cifar_folder, tmp_path):
    path, command = tmp_path / "t.safetensors", [sys.executable, "-c", SCRIPT, str(cifar_folder)]
    killer = SCRIPT.replace(
        "recipe =",
        "import os; s = loop.StateFile.save; n = []\n"
        "def save(self, state):\n    s(self, state); state.epoch == 2 and os.kill(os.getpid(), 9)\n"
        "loop.StateFile.save = save\nrecipe =",
    )
    killed = subprocess.run([sys.executable, "-c", killer, str(cifar_folder), str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [path.name]
    outputs = [
        subprocess.run([*command, str(file)], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for file in (path, tmp_path / "whole.safetensors")
    ]
    assert outputs[0] == outputs[1] != ""


def test_loops_without_a_file_keep_nothing(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_network(small_network(), RECIPES[0], 0, data, CPU)
    assert not list(tmp_path.iterdir())
    assert loop.NOWHERE.load({}) is None
