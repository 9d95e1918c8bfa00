import logging
import os
import subprocess
import sys

import pytest
import torch

from model_src.files import InputError
from model_src.runtime import choose_device, device_names, log_to, made_by, random_stream, torch_seed
from tests.conftest import ROOT

QUIET = """
import logging, sys
logging.basicConfig(level=logging.INFO)
from model_src.runtime import import_tensorflow
tensorflow = import_tensorflow()
model = tensorflow.keras.Sequential([tensorflow.keras.layers.Input((8, 8, 3)), tensorflow.keras.layers.Conv2D(2, 3)])
model.export(sys.argv[1], verbose=False)
"""


@pytest.mark.slow
def test_tensorflow_says_nothing(tmp_path):
    pytest.importorskip("tensorflow")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", QUIET, str(tmp_path / "saved")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "saved" / "saved_model.pb").exists()


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device() == torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test_several_gpus_are_shared_out_unless_one_is_named(monkeypatch):
    for count, expected in ((0, [None]), (1, [None]), (3, ["cuda:0", "cuda:1", "cuda:2"])):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert device_names() == expected
        assert device_names("cuda:1") == ["cuda:1"]


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "cpu:x"])
def test_unknown_devices_are_refused_in_one_line(name):
    with pytest.raises(InputError, match=f"-device_str {name}: ") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


def test_every_place_has_a_random_stream_of_its_own():
    places = [(), (0,), (0, 0), (1,), (1, 0), (1, 0, 0), (0, 1)]
    draws = {random_stream(seed, *place).random() for seed in (0, 1) for place in places}
    assert len(draws) == 2 * len(places)
    assert random_stream(3, 1, 2).random() == random_stream(3, 1, 2).random()


def test_a_seed_holds_inside_the_block_only():
    before = torch.get_rng_state()
    draws = []
    for seed in (3, 3, 4):
        with torch_seed(seed):
            draws.append(torch.rand(2).tolist())
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_log_is_appended_to_inside_the_block_only(tmp_path):
    logger = logging.getLogger("model_src.test")
    for text in ("one", "two"):
        with log_to(tmp_path / "new" / "log.txt"):
            logger.info(text)
    logger.info("three")
    assert (tmp_path / "new" / "log.txt").read_text() == "one\ntwo\n"


def test_a_missing_file_is_explained(tmp_path):
    message = r"^gone; make it with `python x\.py`$"
    with pytest.raises(InputError, match=message), made_by("python x.py", tmp_path / "a"):
        raise InputError("gone")
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match=r"^damaged$"), made_by("python x.py", tmp_path / "a"):
        raise InputError("damaged")
