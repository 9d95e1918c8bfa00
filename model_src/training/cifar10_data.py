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


def check_cifar10(folder: str | Path = CIFAR10_DIR) -> None:
    """Check that the files are there, before hours of work that need them afterwards.

    Raises:
        InputError: A file is missing; the text says what to put where.
    """
    missing = [name for name in (*TRAIN_BATCHES, *TEST_BATCHES) if not (Path(folder) / name).is_file()]
    if missing:
        raise InputError(
            f"{folder}: CIFAR-10 is not there (no {missing[0]}): unpack cifar-10-python.tar.gz from "
            "https://www.cs.toronto.edu/~kriz/cifar.html so that this folder holds its six batch files"
        )


def load_cifar10(folder: str | Path = CIFAR10_DIR) -> Cifar10:
    """Read the training and test images.

    Raises:
        InputError: A file is missing, damaged or of another layout.
    """
    check_cifar10(folder)
    return Cifar10(*_load_batches(Path(folder), TRAIN_BATCHES), *_load_batches(Path(folder), TEST_BATCHES))


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
