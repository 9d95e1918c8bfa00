"""The CIFAR-10 images in the official Python layout. Needs no PyTorch."""

from pathlib import Path

import numpy as np

from constants import DATA_DIR
from model_src.files import InputError, load_pickle
from model_src.training.image_data import N_CLASSES, ImageData

CIFAR10_DIR = DATA_DIR / "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)
BATCHES = (*TRAIN_BATCHES, *TEST_BATCHES)

_MULTIARRAY = {
    (f"numpy.{core}.multiarray", "_reconstruct"): np.empty((0,)).__reduce__()[0] for core in ("core", "_core")
}
_ARRAY_CLASSES = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, **_MULTIARRAY}


def is_complete(folder: str | Path) -> bool:
    """Whether all batch files are there."""
    return all((Path(folder) / name).is_file() for name in BATCHES)


def what_to_put(folder: str | Path) -> str:
    """What a user does where the images cannot be downloaded; a folder below the present one is named from there."""
    folder = Path(folder)
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    page = "https://www.cs.toronto.edu/~kriz/cifar.html"
    return f"unpack cifar-10-python.tar.gz from {page} so that {folder} holds its six batch files"


def load_cifar10(folder: str | Path = CIFAR10_DIR) -> ImageData:
    """Read the training and test images.

    Raises:
        InputError: A file is missing (the text says what to put where), damaged or of another layout.
    """
    folder = Path(folder)
    if not is_complete(folder):
        raise InputError(f"CIFAR-10 is not there: {what_to_put(folder)}")
    return ImageData(*_load_batches(folder, TRAIN_BATCHES), *_load_batches(folder, TEST_BATCHES))


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
