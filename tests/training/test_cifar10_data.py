import pickle

import numpy as np
import pytest

from model_src.files import InputError
from model_src.training.cifar10_data import load_cifar10, what_to_put
from tests.training.conftest import coloured_images


def test_both_pickle_dialects_are_read(cifar_folder):
    data = load_cifar10(cifar_folder)
    assert data.train_images.shape == (100, 3, 32, 32)
    assert data.train_images.dtype == np.uint8
    assert data.test_labels.tolist() == [(5 + index) % 10 for index in range(20)]
    assert data.train_labels[20:23].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(data.train_images, coloured_images(data.train_labels.tolist()))


def test_an_absent_set_says_what_to_put_where(tmp_path):
    words = f"CIFAR-10 is not there: unpack cifar-10-python.tar.gz .* so that {tmp_path} holds its six batch files"
    with pytest.raises(InputError, match=words) as error:
        load_cifar10(tmp_path)
    assert "\n" not in str(error.value)


def test_the_first_images_leave_the_tests_alone(cifar_folder):
    data = load_cifar10(cifar_folder)
    few = data.split(30)
    assert few.train_images.shape == (30, 3, 32, 32)
    assert few.train_labels.tolist() == data.train_labels[:30].tolist()
    assert len(few.test_images) == len(few.test_labels) == 20
    assert len(data.split().train_images) == 100


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {b"data": np.zeros((2, 3072), np.uint8)},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 10]},
        {b"data": np.zeros((2, 3000), np.uint8), b"labels": [1, 1]},
    ],
)
def test_other_layouts_are_refused(cifar_folder, tmp_path, content):
    for path in cifar_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="data_batch_3: not a CIFAR-10 batch"):
        load_cifar10(tmp_path)


def test_a_file_that_would_run_code_is_refused(cifar_folder, tmp_path):
    for path in cifar_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "test_batch").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match=r"os\.system, which is not allowed"):
        load_cifar10(tmp_path)


def test_a_folder_below_the_present_one_is_named_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "so that data/images holds" in what_to_put(tmp_path / "data" / "images")
    assert f"so that {tmp_path.parent} holds" in what_to_put(tmp_path.parent)
