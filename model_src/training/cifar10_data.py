"""The CIFAR-10 images in the official Python layout. Needs no PyTorch."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from constants import DATA_DIR
from model_src.files import InputError, load_pickle

CIFAR10_DIR = DATA_DIR / "cifar-10-batches-py"
N_CLASSES = 10
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)
BATCHES = (*TRAIN_BATCHES, *TEST_BATCHES)

_MULTIARRAY = {
    (f"numpy.{core}.multiarray", "_reconstruct"): np.empty((0,)).__reduce__()[0] for core in ("core", "_core")
}
_ARRAY_CLASSES = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, **_MULTIARRAY}


class Cifar10(NamedTuple):
    """Images as uint8 (n, 3, 32, 32), labels as int64 (n,) from 0 to 9."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def split(self, count: int | None = None, held_out: int = 0) -> "Cifar10":
        """The same with only the first training images (None keeps all) of those that are not held out.

        Args:
            count: Training images.
            held_out: The last so many training images come before the test images instead.

        Raises:
            InputError: Nothing is left to learn from.
        """
        left = len(self.train_images) - held_out
        if left < 1:
            raise InputError(f"{held_out} of {len(self.train_images)} training images cannot be held out")
        images, labels = self.train_images[:left][:count], self.train_labels[:left][:count]
        if not held_out:
            return Cifar10(images, labels, self.test_images, self.test_labels)
        test_images = np.concatenate([self.train_images[left:], self.test_images])
        return Cifar10(images, labels, test_images, np.concatenate([self.train_labels[left:], self.test_labels]))


def is_complete(folder: str | Path) -> bool:
    """Whether all batch files are there."""
    return all((Path(folder) / name).is_file() for name in BATCHES)


def what_to_put(folder: str | Path) -> str:
    """What a user does where the images cannot be downloaded."""
    page = "https://www.cs.toronto.edu/~kriz/cifar.html"
    return f"unpack cifar-10-python.tar.gz from {page} so that {folder} holds its six batch files"


def load_cifar10(folder: str | Path = CIFAR10_DIR) -> Cifar10:
    """Read the training and test images.

    Raises:
        InputError: A file is missing (the text says what to put where), damaged or of another layout.
    """
    folder = Path(folder)
    if not is_complete(folder):
        raise InputError(f"CIFAR-10 is not there: {what_to_put(folder)}")
    return Cifar10(*_load_batches(folder, TRAIN_BATCHES), *_load_batches(folder, TEST_BATCHES))


def _load_batches(folder: Path, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    batches = [_load_batch(folder / name) for name in names]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, labels


def _load_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch = load_pickle(path, _ARRAY_CLASSES, encoding="bytes")
    try:
        images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], dtype=np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a CIFAR-10 batch ({type(error).__name__}: {error})") from error
    if labels.shape != images.shape[:1] or not labels.size or labels.min() < 0 or labels.max() >= N_CLASSES:
        raise InputError(f"{path}: not a CIFAR-10 batch ({len(images)} images, labels of shape {labels.shape})")
    return images, labels
