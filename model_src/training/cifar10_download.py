"""Fetching the official CIFAR-10 archive. Needs no PyTorch."""

import os
import shutil
import tarfile
import tempfile
from hashlib import md5
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import HTTPError
from urllib.request import urlopen

from tqdm import tqdm

from model_src.files import InputError
from model_src.training.cifar10_data import BATCHES, CIFAR10_DIR, is_complete, load_cifar10, what_to_put
from model_src.training.image_data import ImageData

ARCHIVE_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 18
_MOST_BYTES = 1 << 26  # of an unpacked batch file, which has 31 MB


def fetch_cifar10(folder: str | Path = CIFAR10_DIR, url: str = ARCHIVE_URL, checksum: str = ARCHIVE_MD5) -> ImageData:
    """Read the training and test images, after downloading them where they are absent.

    Raises:
        InputError: They cannot be downloaded (the text says what to put where), or a file is damaged.
    """
    if not is_complete(folder):
        try:
            download_cifar10(folder, url, checksum)
        except InputError as error:
            raise InputError(
                f"CIFAR-10 is not there, nor can it be downloaded ({error}): {what_to_put(folder)}"
            ) from error
    return load_cifar10(folder)


def download_cifar10(folder: str | Path, url: str = ARCHIVE_URL, checksum: str = ARCHIVE_MD5) -> None:
    """Download the archive, check it, and put its batch files, and nothing else, into a folder.

    The files appear complete or not at all: everything happens in a temporary folder beside it.

    Args:
        folder: Where the batch files go.
        url: Of the archive.
        checksum: MD5 of the archive, in hexadecimal digits.

    Raises:
        InputError: There is no network, the download is cut short, or the archive is not the expected one.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            archive, unpacked = Path(temporary) / "archive", Path(temporary) / "unpacked"
            if (found := _fetch(url, archive)) != checksum:
                raise InputError(f"{url}: the download has MD5 {found}, not {checksum}")
            _unpack(archive, unpacked)
            folder.mkdir(exist_ok=True)
            for path in unpacked.iterdir():
                os.replace(path, folder / path.name)
    except HTTPError as error:
        error.close()
        raise InputError(f"{url}: {error.reason}") from None
    except OSError as error:  # URLError and timeouts, too
        raise InputError(f"{url}: {getattr(error, 'reason', None) or error.strerror or error}") from error
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{url}: not an archive, or damaged: {error}") from error


def _fetch(url: str, path: Path) -> str:
    """Write what is behind a URL to a file; returns its MD5."""
    digest = md5(usedforsecurity=False)
    with urlopen(url, timeout=_TIMEOUT) as source, path.open("wb") as target:
        size = int(source.headers.get("Content-Length") or 0)
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=url.rpartition("/")[2]) as bar:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    if size and path.stat().st_size != size:
        raise InputError(f"{url}: cut short after {path.stat().st_size} of {size} bytes")
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Write the batch files of an archive, by their last names; everything else in it is left where it is.

    Raises:
        InputError: A batch file is missing, twice there, no plain file or too large.
    """
    folder.mkdir()
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            if name in BATCHES:
                source = tar.extractfile(member) if member.isfile() and member.size <= _MOST_BYTES else None
                if source is None or (folder / name).exists():
                    raise InputError(f"{member.name} in the archive is not a plain file of a batch's size")
                _write(source, folder / name)
    missing = [name for name in BATCHES if not (folder / name).exists()]
    if missing:
        raise InputError(f"the archive has no {missing[0]}")


def _write(source: IO[bytes], path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)
