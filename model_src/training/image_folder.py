"""Images of a user: `train/` and `val/` with a folder per class. Needs no PyTorch."""

import os
import warnings
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream
from model_src.files import InputError, naming
from model_src.training.head import with_classes
from model_src.training.image_data import ImageData

TRAIN, VAL = "train", "val"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MOST_BYTES = 4 << 30  # of all images, resized
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # no others are tried: Pillow reads some by starting programs
_MODES = {1: "L", 3: "RGB"}  # channels -> what Pillow calls it

Files = list[tuple[Path, int]]  # each with its class


def images_for(cg: ComputeGraph, folder: str | Path) -> ImageData:
    """Read a folder of images in the size of a network's input.

    Raises:
        InputError: See `load_image_folder`; or the network cannot have an output per class (see `with_classes`).
    """
    h, w, c = cg.input_shape[1:]
    classes = _classes(_expanded(folder))
    try:
        with_classes(correct_cg_for_downstream(cg, h, w, c), len(classes))
    except ValueError as error:
        raise InputError(f"-train_dataset: {len(classes)} classes do not fit the input: {error}") from error
    return load_image_folder(folder, h, w, c)


def load_image_folder(folder: str | Path, h: int, w: int, c: int, seed: int = 0) -> ImageData:
    """Read `train/{class}/*` to learn from and `val/{class}/*` to test on, classes in the order of their names.

    Images are resized to h x w pixels, whatever their proportions, and are grey (c = 1) or RGB (c = 3), without their
    transparency. Hidden files are left out.

    Args:
        folder: With `train/` and `val/`.
        h: Height in pixels.
        w: Width in pixels.
        c: Channels.
        seed: Of the order of the training images, in which their classes are mixed.

    Raises:
        InputError: Folders are missing or their classes differ, there are less than two, a file is no image, damaged or
            too large, or all together are too large.
    """
    folder = _expanded(folder)
    if c not in _MODES:
        raise InputError(f"{folder}: images have 1 or 3 channels, the network's input has {c}")
    classes = _classes(folder)
    train, test = (_files(folder / part, classes) for part in (TRAIN, VAL))
    n_bytes = (len(train) + len(test)) * c * h * w
    if n_bytes > MOST_BYTES:
        size, most = (f"{n / (1 << 30):.1f} GiB" for n in (n_bytes, MOST_BYTES))
        count = len(train) + len(test)
        raise InputError(f"{folder}: {count} images of {h}x{w}x{c} are {size} in memory, more than {most}")
    train = [train[place] for place in np.random.default_rng(seed).permutation(len(train))]
    arrays = (*_read(train, (c, h, w)), *_read(test, (c, h, w)))
    digest = blake2b(digest_size=8)
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(array.data)
    return ImageData(*arrays, f"folder:{folder.resolve().name} ({digest.hexdigest()})", len(classes))


def load_images(folder: str | Path, h: int, w: int, c: int, most: int = 512) -> np.ndarray:
    """Read images below a folder, in whatever folders they are, resized as by `load_image_folder`.

    Args:
        folder: With images; what is no image file by its name is left out.
        h: Height in pixels.
        w: Width in pixels.
        c: Channels.
        most: So many at most, evenly spread over the sorted names.

    Returns:
        uint8 (n, C, H, W).

    Raises:
        InputError: There are less than two, one is damaged or too large, or the network has other than 1 or 3 channels.
    """
    folder = _expanded(folder)
    if c not in _MODES:
        raise InputError(f"{folder}: images have 1 or 3 channels, the network's input has {c}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(files) < 2:
        raise _error(folder, f"at least two image files ({', '.join(SUFFIXES)}) are needed, found {len(files)}")
    places = np.linspace(0, len(files) - 1, min(most, len(files))).astype(int)
    return _read([(files[place], 0) for place in places], (c, h, w))[0]


def _expanded(folder: str | Path) -> Path:
    return Path(os.path.expanduser(folder))


def _classes(folder: Path) -> list[str]:
    """The names of the classes.

    Raises:
        InputError: A folder is missing, the classes of both parts differ, or there are less than two.
    """
    for path in (folder, folder / TRAIN, folder / VAL):
        if not os.path.isdir(path):
            raise _error(path, "there is no such folder")
    names = {part: {path.name for path in _visible(folder / part) if os.path.isdir(path)} for part in (TRAIN, VAL)}
    for here, there in ((TRAIN, VAL), (VAL, TRAIN)):
        for name in sorted(names[here] - names[there]):
            raise _error(folder / here / name, f"there is no such class in {there}")
    if len(names[TRAIN]) < 2:
        raise _error(folder / TRAIN, f"a folder for each of at least two classes is needed, found {len(names[TRAIN])}")
    return sorted(names[TRAIN])


def _files(folder: Path, classes: Sequence[str]) -> Files:
    """The files of all classes, each with its class.

    Raises:
        InputError: A class has none, or there is something else.
    """
    files: Files = []
    for label, name in enumerate(classes):
        paths = _visible(folder / name)
        if not paths:
            raise _error(folder / name, "there are no images of this class")
        for path in paths:
            if path.suffix.lower() not in SUFFIXES or not os.path.isfile(path):
                raise _error(path, f"is not an image file ({', '.join(SUFFIXES)})")
            files.append((path, label))
    return files


def _visible(folder: Path) -> list[Path]:
    with naming(folder):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read(files: Files, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, C, H, W) and labels (n,)."""
    images = np.empty((len(files), *shape), np.uint8)
    for place, (path, _) in enumerate(tqdm(files, unit=" images", desc="reading images", delay=2)):
        images[place] = _pixels(path, shape)
    return images, np.array([label for _, label in files], np.int64)


def _pixels(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """An image, uint8 (C, H, W).

    Raises:
        InputError: It cannot be read.
    """
    c, h, w = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                resized = _plain(image, _MODES[c]).resize((w, h), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise _error(path, "is no image, or damaged") from error
    except Exception as error:  # of many kinds: whatever Pillow's readers meet in a damaged file
        raise _error(path, f"cannot be read as an image: {getattr(error, 'strerror', None) or error}") from error
    return np.asarray(resized).reshape(h, w, c).transpose(2, 0, 1)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """An image with 8 bits per channel and nothing but the channels of a mode."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return image.convert(mode)


def _error(path: Path, reason: str) -> InputError:
    return InputError(" ".join(f"{path}: {reason}".split()))
