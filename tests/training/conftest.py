"""A tiny made-up CIFAR-10: the colour of an image is its class."""

import io
import pickle

import numpy as np
import pytest

from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode
from model_src.training.cifar10_data import TEST_BATCHES, TRAIN_BATCHES
from tests.conftest import conv, regular


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 writes: protocol 2, text and bytes alike as byte strings, numpy under its old name."""

    dispatch = dict(pickle._Pickler.dispatch)

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
    for number, name in enumerate((*TRAIN_BATCHES, *TEST_BATCHES)):
        labels = [(number + index) % 10 for index in range(20)]
        write_batch(folder / name, coloured_images(labels), labels, python2=number % 2 == 0)
    return folder


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
