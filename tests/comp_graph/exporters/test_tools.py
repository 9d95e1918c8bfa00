"""What others do with a written module: trace, compile, prune and train it."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from model_src.comp_graph.exporters.files import export_network, network_of  # noqa: E402
from model_src.comp_graph.load import load_cg  # noqa: E402
from tests.comp_graph.exporters.test_files import pools, row  # noqa: E402
from tests.comp_graph.twins import everything, with_random_statistics  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

TRACERS = {
    "fx": lambda module, images: torch.fx.symbolic_trace(module),
    "export": lambda module, images: torch.export.export(
        module, (images,), dynamic_shapes=({0: torch.export.Dim("n")},)
    ).module(),
    "jit trace": lambda module, images: torch.jit.trace(module, images),
    "jit script": lambda module, images: torch.jit.script(module),
}
GRAPHS = {
    "everything": everything,
    "pools": pools,
    "row": row,
    "nb201": lambda: load_cg(ROOT / "architectures" / "nb201_best.pkl"),
    "inception": lambda: load_cg(ROOT / "architectures" / "inception_best.pkl"),
}


@pytest.fixture(params=[name if name != "inception" else pytest.param(name, marks=pytest.mark.slow) for name in GRAPHS])
def written(request, tmp_path):
    """A module read from its file, with its weights."""
    cg = GRAPHS[request.param]()
    source, weights, _ = export_network(cg, tmp_path / "rank_0", ["torch"], with_random_statistics(network_of(cg)))
    spec = spec_from_file_location("rank_0", source)
    namespace = module_from_spec(spec)
    spec.loader.exec_module(namespace)
    module = namespace.Network().eval()
    module.load_state_dict(torch.load(weights, weights_only=True))
    return module


@pytest.mark.filterwarnings("ignore")  # PyTorch's own
def test_a_written_module_can_be_traced(written):
    images = torch.randn(2, *written.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = written(images)
        for trace in TRACERS.values():
            torch.testing.assert_close(trace(written, images)(images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("written", ["nb201", "inception"], indirect=True)
def test_a_written_module_can_be_pruned(written):
    tp = pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed")
    images = torch.randn(2, *written.input_size)
    graph = tp.DependencyGraph().build_dependency(written, example_inputs=images)
    first = next(layer for layer in written.modules() if isinstance(layer, torch.nn.Conv2d))
    before = first.out_channels
    group = graph.get_pruning_group(first, tp.prune_conv_out_channels, idxs=[0])
    assert graph.check_pruning_group(group)
    group.prune()
    assert first.out_channels == before - 1
    assert written(images).shape == (2, 10)


def image_folder(folder: Path, n_classes: int = 3) -> Path:
    """Images whose class is their brightness."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 2)):
        for label in range(n_classes):
            (folder / part / f"class_{label}").mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(40 + 80 * label, 10, (12, 10, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / f"class_{label}" / f"{number}.png")
    return folder


def finetune(script: Path, images: Path, *flags: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, script, "rank_0", images, "-batch_size", "4", *flags]
    return subprocess.run(command, cwd=script.parent.parent, env=environment, capture_output=True, text=True)


def test_the_script_beside_a_module_trains_it(tmp_path):
    """In a process that cannot see this repository; a classifier of ten classes becomes one of three."""
    out, images = tmp_path / "out", image_folder(tmp_path / "images")
    _, weights, script = export_network(everything(), out / "rank_0", ["torch"])
    assert script == out / "finetune.py"
    done = finetune(script, images, "-epochs", "2")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("epoch 1: ")
    assert second.endswith(" % of the validation images are right")
    before, after = (torch.load(path, weights_only=True) for path in (weights, out / "rank_0_finetuned.pt"))
    assert before.keys() == after.keys()
    assert after["matmul_fc.weight"].shape == (3, 24)
    assert not torch.equal(before["conv_conv.weight"], after["conv_conv.weight"])


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The script beside a written module, in a process that has it, too."""
    *_, script = export_network(everything(), tmp_path_factory.mktemp("script") / "rank_0", ["torch"])
    return script


@pytest.fixture
def reader(script):
    """The script as a module."""
    spec = spec_from_file_location("finetune", script)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_classes_are_those_to_learn_from(reader, tmp_path):
    images = image_folder(tmp_path / "images")
    shutil.rmtree(images / "val" / "class_0")
    for name in (".DS_Store", "Thumbs.db", "._0.png", "notes.txt"):
        (images / "train" / "class_1" / name).write_bytes(b"no image")
        (images / "val" / name).write_bytes(b"no image")
    (images / "train" / ".cache").mkdir()
    train, val = reader.read(images, (3, 9, 9))
    assert train.classes == val.classes == ["class_0", "class_1", "class_2"]
    assert [label for _, label in train.files] == [0] * 8 + [1] * 8 + [2] * 8
    assert {(path.parent.name, label) for path, label in val.files} == {("class_1", 1), ("class_2", 2)}


def test_a_folder_that_cannot_be_learnt_from_is_one_line(script, reader, tmp_path):
    images = image_folder(tmp_path / "images")
    for folder, reason in (
        (tmp_path / "none", f"{tmp_path}/none/train: there is no such folder"),
        (tmp_path / "images", f"{images}/val/new: there is no such class in train"),
        (tmp_path / "empty", f"{tmp_path}/empty/train: there are no images in folders of classes"),
    ):
        for name in ("images/val/new", "empty/train/a", "empty/val/a"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        with pytest.raises(ValueError, match=re.escape(reason)):
            reader.read(folder, (3, 9, 9))
    done = finetune(script, images)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"finetune.py: error: {images}/val/new: there is no such class in train"
