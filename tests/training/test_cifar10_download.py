import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from model_src.files import InputError
from model_src.training.cifar10_data import BATCHES, load_cifar10
from model_src.training.cifar10_download import ARCHIVE_MD5, ARCHIVE_URL, download_cifar10, fetch_cifar10


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def make_archive(path, cifar_folder, change=lambda name, content: [(name, content)], **kind):
    """An archive as the official one, `kind` gives fields of its first member other values."""
    with tarfile.open(path, "w:gz") as tar:
        for name in ("batches.meta", "readme.html", *BATCHES):
            content = (cifar_folder / name).read_bytes() if name in BATCHES else b"not needed"
            for new_name, new_content in change(f"cifar-10-batches-py/{name}", content):
                member = tarfile.TarInfo(new_name)
                member.size = len(new_content)
                tar.addfile(member, io.BytesIO(new_content))
    return path


@pytest.fixture(scope="module")
def archive(cifar_folder, tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "cifar-10-python.tar.gz", cifar_folder)


@pytest.fixture
def server(archive):
    """Serves the archive under `/whole`, half of it under `/half`; nothing else is there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = archive.read_bytes()
            if self.path not in ("/whole", "/half"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.path == "/whole" else content[: len(content) // 2])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def only_files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_official_archive_is_meant():
    assert ARCHIVE_URL == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert ARCHIVE_MD5 == "c58f30108f718f92721af3b95e74349a"


def test_absent_images_are_downloaded_and_present_ones_are_not(server, archive, cifar_folder, tmp_path, capsys):
    folder = tmp_path / "new" / "images"
    data = fetch_cifar10(folder, f"{server}/whole", md5(archive))
    np.testing.assert_array_equal(data.train_images, load_cifar10(cifar_folder).train_images)
    assert "whole: 100%" in capsys.readouterr().err
    assert only_files(tmp_path) == sorted(BATCHES)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["images"]
    fetch_cifar10(folder, f"{server}/nothing")


def test_a_folder_that_lacks_a_file_is_completed(archive, cifar_folder, tmp_path):
    for name in BATCHES[1:]:
        (tmp_path / name).write_bytes((cifar_folder / name).read_bytes())
    (tmp_path / "mine.txt").write_text("stays")
    fetch_cifar10(tmp_path, archive.as_uri(), md5(archive))
    assert only_files(tmp_path) == sorted([*BATCHES, "mine.txt"])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/half", r"cut short after \d+ of \d+ bytes"),
        ("/nothing", "/nothing: Not Found"),
    ],
)
def test_failed_downloads_leave_nothing_and_say_what_to_do(server, archive, tmp_path_factory, path, reason):
    parent = tmp_path_factory.mktemp("d")  # a short name: long lines lose their middle
    folder = parent / "images"
    with pytest.raises(InputError, match=reason) as caught:
        fetch_cifar10(folder, server + path, md5(archive))
    text = str(caught.value)
    assert "\n" not in text
    assert "unpack cifar-10-python.tar.gz from https://www.cs.toronto.edu" in text
    assert f"so that {folder} holds its six batch files" in text
    assert not list(parent.iterdir())


def test_no_network_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"nor can it be downloaded .*Connection refused.*: unpack") as caught:
        fetch_cifar10(tmp_path / "images", "http://127.0.0.1:9/x")
    assert "\n" not in str(caught.value)


def test_another_archive_is_refused(server, tmp_path):
    with pytest.raises(InputError, match=f"the download has MD5 [0-9a-f]{{32}}, not {ARCHIVE_MD5}"):
        download_cifar10(tmp_path / "images", f"{server}/whole")
    assert not list(tmp_path.iterdir())


def renamed(new):
    return lambda name, content: [(new if name.endswith("data_batch_3") else name, content)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (renamed("cifar-10-batches-py/other"), "the archive has no data_batch_3"),
        (renamed("cifar-10-batches-py/data_batch_2"), "data_batch_2 in the archive is not a plain file"),
        (
            lambda name, content: [(name, bytes(2**26 + 1) if name.endswith("batch_1") else content)],
            "data_batch_1 in the archive is not a plain file",
        ),
    ],
)
def test_archives_with_other_members_are_refused(cifar_folder, tmp_path, change, reason):
    archive = make_archive(tmp_path / "archive.tar.gz", cifar_folder, change)
    with pytest.raises(InputError, match=reason):
        download_cifar10(tmp_path / "images", archive.as_uri(), md5(archive))
    assert [path.name for path in tmp_path.iterdir()] == ["archive.tar.gz"]


def test_no_member_is_written_elsewhere(cifar_folder, tmp_path):
    def change(name, content):
        return [(name, content), ("../escaped", b"x"), (f"/{tmp_path}/absolute", b"x")][: 1 if "batch_" in name else 3]

    archive = make_archive(tmp_path / "archive.tar.gz", cifar_folder, change)
    download_cifar10(tmp_path / "images", archive.as_uri(), md5(archive))
    assert only_files(tmp_path) == sorted(["archive.tar.gz", *BATCHES])


def test_links_are_refused(cifar_folder, tmp_path):
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(InputError, match="test_batch in the archive is not a plain file"):
        download_cifar10(tmp_path / "images", archive.as_uri(), md5(archive))


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00cut"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"archive\.tar\.gz: not an archive, or damaged"):
        download_cifar10(tmp_path / "images", archive.as_uri(), md5(archive))
    assert [path.name for path in tmp_path.iterdir()] == ["archive.tar.gz"]


def test_a_folder_that_cannot_be_written_is_named(archive, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"File exists|Not a directory"):
        download_cifar10(tmp_path / "file" / "images", archive.as_uri(), md5(archive))
