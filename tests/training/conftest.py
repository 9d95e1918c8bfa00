"""A tiny made-up CIFAR-10, where the colour of an image is its class, and a part of the real one."""

import io
import os
import pickle
import tarfile
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest

from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode
from model_src.processes import TaskPool
from model_src.runtime import one_thread
from model_src.training import pool
from model_src.training.cifar10_data import BATCHES
from model_src.training.image_data import ImageData
from tests.conftest import ROOT, conv, regular

CIFAR10 = os.environ.get("AUTOGO_CIFAR10", ROOT.parent / "shared" / "cifar10" / "cifar10_jpeg.tar.xz")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="session", autouse=True)
def one_thread_per_test_process():
    """Tests run side by side; threads that wait for each other's cores take ten times as long."""
    with one_thread():
        yield


@pytest.fixture
def in_this_process(monkeypatch):
    """Trainings begin at once, and tests can replace parts of them."""
    monkeypatch.setattr(pool, "TaskPool", lambda factory, n_jobs, *_, **__: TaskPool(factory, n_jobs))


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 writes: protocol 2, text and bytes alike as byte strings, numpy under its old name."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_py2_string(self, value):
        value = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_py2_string


def write_batch(path, images: np.ndarray, labels: list[int], python2: bool) -> None:
    batch = {
        b"batch_label": path.name.encode(),
        b"labels": labels,
        b"data": images.reshape(len(images), -1),
        b"filenames": [b"x.png"] * len(labels),
    }
    if python2:
        buffer = io.BytesIO()
        Python2Pickler(buffer, protocol=2).dump(batch)
        path.write_bytes(buffer.getvalue().replace(b"numpy._core.", b"numpy.core."))
    else:
        path.write_bytes(pickle.dumps(batch, protocol=4))


def coloured_images(labels: list[int]) -> np.ndarray:
    images = np.zeros((len(labels), 3, 32, 32), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label % 3] = 60 + 60 * (label // 3)
    return images


@pytest.fixture(scope="session")
def cifar_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate(BATCHES):
        labels = [(number + index) % 10 for index in range(20)]
        write_batch(folder / name, coloured_images(labels), labels, python2=number % 2 == 0)
    return folder


@pytest.fixture(scope="session")
def real_images() -> ImageData:
    """2,000 training and 500 test images of the real data set, as many of each class; skips where there are none."""
    if not os.path.exists(CIFAR10):
        pytest.skip(f"no real CIFAR-10 images: {os.path.basename(CIFAR10)} is not beside the repository")
    image = pytest.importorskip("PIL.Image")
    most, taken, parts = {"train": 200, "test": 50}, Counter(), {"train": [], "test": []}
    with tarfile.open(CIFAR10) as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            split, label, _ = member.name.split("/")
            if taken[split, label] < most[split]:
                taken[split, label] += 1
                pixels = np.asarray(image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB"))
                parts[split].append((pixels.transpose(2, 0, 1), CLASSES.index(label)))
    assert [len(parts[split]) for split in parts] == [2000, 500]
    return ImageData(*(np.stack(column) for split in parts for column in zip(*parts[split], strict=True)))


def classifier(c_hidden: int = 8, n_classes: int = 10) -> ComputeGraph:
    """input -> conv stride 4 -> mean -> matmul -> output."""
    nodes = [
        regular("0", "input", 1, 32, 3),
        conv("1", 32, 3, c_hidden, stride=4),
        regular("2", "mean", 19, 8, c_hidden, 1),
        WeightedNode("3", "matmul", 8, (1, 1, 1, 1, c_hidden, n_classes), shape=(c_hidden, n_classes, 0, 0)),
        regular("4", "output", 2, 1, n_classes),
    ]
    return ComputeGraph.from_nodes(f"hidden{c_hidden}", (1, 32, 32, 3), nodes, [(i, i + 1) for i in range(4)])


def of_classes(n_classes: int, dataset: str) -> ImageData:
    """Data with so many classes and no images."""
    return ImageData(*(np.zeros(0, np.uint8),) * 4, dataset, n_classes)


def small_network() -> ComputeGraph:
    """input -> (conv stride 2 -> relu) twice -> 2x2 map -> conv to 1x1 -> relu -> matmul -> output."""
    nodes = [regular("0", "input", 1, 32, 3)]
    for c_in, c_out, h in ((3, 24, 32), (24, 32, 16), (32, 48, 8), (48, 64, 4)):
        nodes.append(conv(str(len(nodes)), h, c_in, c_out, stride=2))
        nodes.append(regular(str(len(nodes)), "relu", 6, h // 2, c_out))
    nodes.append(regular("9", "mean", 19, 2, 64, 1))
    nodes.append(WeightedNode("10", "matmul", 8, (1, 1, 1, 1, 64, 10), shape=(64, 10, 0, 0)))
    nodes.append(regular("11", "output", 2, 1, 10))
    return ComputeGraph.from_nodes("small", (1, 32, 32, 3), nodes, [(i, i + 1) for i in range(11)])
