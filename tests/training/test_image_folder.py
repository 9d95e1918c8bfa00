"""Images of a user, from the files to a trained network."""

import json
import math
import pickle
import shutil
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

import autogo  # noqa: E402
from model_src.comp_graph.tf_comp_graph import ComputeGraph, WeightedNode  # noqa: E402
from model_src.files import InputError, save_pickle  # noqa: E402
from model_src.search import flags  # noqa: E402
from model_src.search.result_folder import ResultFolder  # noqa: E402
from model_src.training.cifar10_data import load_cifar10  # noqa: E402
from model_src.training.frontier import FrontierConfig, FrontierNetwork, train_frontier  # noqa: E402
from model_src.training.image_data import CIFAR10  # noqa: E402
from model_src.training.image_folder import images_for, load_image_folder  # noqa: E402
from model_src.training.loop import train_network, try_to_train  # noqa: E402
from model_src.training.recipe import Execution, FastConfig, TrainConfig  # noqa: E402
from tests.conftest import conv, regular  # noqa: E402
from tests.test_autogo import arguments, result_folder  # noqa: E402
from tests.test_autogo_training import make_search, runs_of  # noqa: E402
from tests.training.conftest import (  # noqa: E402
    cifar_folder,  # noqa: F401
    classifier,
    in_this_process,  # noqa: F401
    one_thread_per_test_process,  # noqa: F401
)

CPU = Execution("cpu")
SHORT = TrainConfig(epochs=2, batch_size=8)
COLOURS = {"blue": (30, 60, 220), "green": (40, 200, 50), "red": (210, 40, 30)}
SUFFIXES = (".png", ".JPG", ".jpeg", ".bmp", ".Webp", ".PNG")


def save_image(path: Path, colour, size=(40, 30)) -> None:
    """An image of one colour, or of an array of pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, colour) if isinstance(colour, tuple) else Image.fromarray(colour)
    image.save(path)


def write_folder(folder: Path, n_train=6, n_val=2, colours=COLOURS) -> Path:
    """A folder per class of both parts; the colour of an image is its class."""
    for part, count in (("train", n_train), ("val", n_val)):
        for name, colour in colours.items():
            for number, suffix in zip(range(count), cycle(SUFFIXES)):
                save_image(folder / part / name / f"{number}{suffix}", colour)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images") / "colours")


@pytest.fixture
def own_folder(tmp_path):
    """One that a test may change."""
    return write_folder(tmp_path / "own", 2, 1)


def network(h: int, w: int, c: int, n_classes: int = 10) -> ComputeGraph:
    """input -> conv stride 2 -> mean -> matmul -> output."""
    nodes = [
        regular("0", "input", 1, h, c, w=w),
        conv("1", h, c, 8, stride=2, w=w),
        regular("2", "mean", 19, -(-h // 2), 8, 1, w=-(-w // 2), w_out=1),
        WeightedNode("3", "matmul", 8, (1, 1, 1, 1, 8, n_classes), shape=(8, n_classes, 0, 0)),
        regular("4", "output", 2, 1, n_classes),
    ]
    return ComputeGraph.from_nodes(f"{h}x{w}x{c}", (1, h, w, c), nodes, [(i, i + 1) for i in range(4)])


# ---- reading ----


def test_images_of_all_formats_are_read(folder):
    data = load_image_folder(folder, 12, 16, 3)
    assert data.train_images.shape == (18, 3, 12, 16)
    assert data.test_images.shape == (6, 3, 12, 16)
    assert (data.train_images.dtype, data.train_labels.dtype) == (np.uint8, np.int64)
    assert data.n_classes == 3
    assert data.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.bincount(data.train_labels).tolist() == [6, 6, 6]
    colours = np.array(list(COLOURS.values()))
    for images, labels in (data.arrays[:2], data.arrays[2:]):
        assert np.abs(images.transpose(0, 2, 3, 1) - colours[labels][:, None, None].astype(int)).max() < 12


def test_training_images_are_mixed_by_the_seed_alone(folder):
    first, again, other = (load_image_folder(folder, 8, 8, 3, seed) for seed in (0, 0, 1))
    assert first.train_labels.tolist() == again.train_labels.tolist() != other.train_labels.tolist()
    assert first.dataset == again.dataset
    assert set(first.split(held_out=9).test_labels[:9]) == {0, 1, 2}


def test_what_is_hidden_or_beside_the_classes_is_left_out(own_folder):
    (own_folder / "train" / ".cache").mkdir()
    (own_folder / "train" / "README.txt").write_text("about")
    (own_folder / "train" / "red" / ".DS_Store").write_bytes(b"x")
    assert load_image_folder(own_folder, 8, 8, 3).train_images.shape == (6, 3, 8, 8)


def one_image(tmp_path, pixels, h, w, c) -> np.ndarray:
    """What is read of an image, (H, W, C)."""
    for part in ("train", "val"):
        for name in "ab":
            path = tmp_path / part / name / "x.png"
            path.parent.mkdir(parents=True)
            (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)
    return load_image_folder(tmp_path, h, w, c).test_images[0].transpose(1, 2, 0)


def test_resizing_averages(tmp_path):
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)  # without antialiasing all black or all white
    small = one_image(tmp_path, board.astype(np.uint8), 8, 8, 1)
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_height_and_width_are_not_swapped(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    read = one_image(tmp_path, pixels, 6, 10, 3)
    assert read.shape == (6, 10, 3)
    assert (read[:, :4] == 0).all()
    assert (read[:, 6:] == 255).all()


def test_colours_become_grey_and_grey_becomes_colours(tmp_path):
    red = np.zeros((9, 9, 3), np.uint8)
    red[..., 0] = 200
    assert (one_image(tmp_path / "1", red, 4, 4, 1) == 60).all()  # 0.299 of it
    assert (one_image(tmp_path / "2", np.full((9, 9), 77, np.uint8), 4, 4, 3) == 77).all()


@pytest.mark.parametrize("c", [1, 3])
def test_images_of_other_kinds_keep_their_grey(tmp_path, c):
    grey = np.full((9, 9), 90, np.uint8)
    palette = Image.fromarray(grey).convert("P")
    palette.info["transparency"] = bytes(range(256))
    kinds = {
        "16 bits": Image.fromarray(grey.astype(np.uint16) << 8),
        "alpha": Image.fromarray(np.dstack([grey, grey, grey, grey])),
        "grey and alpha": Image.fromarray(np.dstack([grey, grey])),
        "palette": palette,
    }
    for kind, image in kinds.items():
        assert (one_image(tmp_path / kind, image, 4, 4, c) == 90).all(), kind


def test_the_name_follows_the_content_and_not_the_place(folder, own_folder, tmp_path, monkeypatch):
    name = load_image_folder(own_folder, 8, 8, 3).dataset
    assert name.startswith("folder:own (")
    assert name != load_image_folder(folder, 8, 8, 3).dataset
    moved = own_folder.rename(tmp_path.joinpath("elsewhere").absolute())
    (tmp_path / "new").mkdir()
    moved = moved.rename(tmp_path / "new" / "own")
    monkeypatch.chdir(moved)
    assert load_image_folder(".", 8, 8, 3).dataset == name
    save_image(moved / "val" / "red" / "0.png", COLOURS["blue"])
    assert load_image_folder(moved, 8, 8, 3).dataset != name


# ---- what is refused ----


def cut(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    save_image(path, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
# Case -> what becomes of the folder, and what the message must say.
BROKEN = {
    "no folder": (shutil.rmtree, "own: there is no such folder"),
    "no train": (lambda path: shutil.rmtree(path / "train"), "own/train: there is no such folder"),
    "no val": (lambda path: shutil.rmtree(path / "val"), "own/val: there is no such folder"),
    "new in val": (lambda path: (path / "val" / "teal").mkdir(), "val/teal: there is no such class in train"),
    "only in train": (lambda path: shutil.rmtree(path / "val" / "red"), "train/red: there is no such class in val"),
    "one class": (
        lambda path: [shutil.rmtree(path / part / name) for part in ("train", "val") for name in ("blue", "red")],
        "own/train: a folder for each of at least two classes is needed, found 1",
    ),
    "no images": (
        lambda path: (path / "val" / "red" / "0.png").unlink(),
        "val/red: there are no images of this class",
    ),
    "cut png": (lambda path: cut(path / "train" / "red" / "x.png"), "red/x.png: cannot be read as an image: "),
    "cut jpeg": (lambda path: cut(path / "train" / "red" / "x.jpg"), "red/x.jpg: cannot be read as an image: "),
    "cut webp": (lambda path: cut(path / "train" / "red" / "x.webp"), "red/x.webp: "),
    "empty": (lambda path: (path / "train" / "red" / "x.png").write_bytes(b""), "red/x.png: is no image, or damaged"),
    "text": (lambda path: (path / "train" / "red" / "x.png").write_text("red"), "red/x.png: is no image, or damaged"),
    "pickle": (
        lambda path: (path / "val" / "red" / "x.png").write_bytes(pickle.dumps([1])),
        "red/x.png: is no image, or damaged",
    ),
    "program": (lambda path: (path / "val" / "red" / "x.png").write_bytes(EPS), "red/x.png: is no image, or damaged"),
    "other file": (lambda path: (path / "val" / "red" / "a.txt").write_text("red"), "a.txt: is not an image file"),
    "inner folder": (lambda path: (path / "val" / "red" / "more.png").mkdir(), "more.png: is not an image file"),
    "nowhere": (lambda path: (path / "val" / "red" / "x.png").symlink_to("y.png"), "x.png: is not an image file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_used_is_one_line(own_folder, case):
    damage, words = BROKEN[case]
    damage(own_folder)
    with pytest.raises(InputError) as error:
        load_image_folder(own_folder, 8, 8, 3)
    assert words in str(error.value)
    assert str(own_folder) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(50, 30), (50, 50)])
def test_decompression_bombs_are_refused(own_folder, monkeypatch, size):
    """Pillow warns above its limit, and refuses twice as much."""
    save_image(own_folder / "val" / "red" / "x.png", (1, 2, 3), size)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    with pytest.raises(InputError, match=r"red/x\.png: cannot be read as an image: .*decompression bomb"):
        load_image_folder(own_folder, 8, 8, 3)


def test_more_than_the_memory_may_hold_is_refused_before_anything_is_read(own_folder):
    (own_folder / "train" / "red" / "x.png").write_text("never looked at")
    with pytest.raises(InputError, match=r"own: 10 images of 20000x20000x3 are 11\.2 GiB in memory, more than 4"):
        load_image_folder(own_folder, 20000, 20000, 3)


def test_other_numbers_of_channels_are_refused(own_folder):
    with pytest.raises(InputError, match="own: images have 1 or 3 channels, the network's input has 4"):
        images_for(network(8, 8, 4), own_folder)


# ---- training ----


@pytest.mark.parametrize("framework", ["PyTorch", "TensorFlow"])
def test_three_classes_are_learnt_and_a_seed_repeats(folder, framework):
    pytest.importorskip(framework.lower().replace("pytorch", "torch"))
    cg = network(12, 16, 3)
    data = images_for(cg, folder)
    config = TrainConfig(epochs=30, batch_size=9, framework=framework, learning_rate=1e-2, epochs_per_test=30)
    first = train_network(cg, config, 0, data, CPU)
    assert first.last_accuracy > 0.6
    assert first.last_loss < math.log(3)
    assert train_network(cg, config, 0, data, CPU).last_loss == first.last_loss


def test_both_frameworks_have_the_same_first_losses(folder):
    pytest.importorskip("tensorflow")
    cg = network(12, 16, 1)
    data = images_for(cg, folder)
    losses = [
        train_network(cg, TrainConfig(epochs=1, batch_size=6, framework=framework), 0, data, CPU).last_loss
        for framework in ("PyTorch", "TensorFlow")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_grey_images_and_held_out_ones_train_by_the_fast_recipe(folder):
    cg = network(12, 16, 1)
    result = train_network(cg, FastConfig(epochs=2, batch_size=6, held_out=6), 0, images_for(cg, folder), CPU)
    assert math.isfinite(result.last_loss)
    assert result.held_out_accuracy is not None


def test_more_classes_than_channels_get_channels(tmp_path):
    many = {f"{number:02}": (20 * number, 0, 0) for number in range(12)}
    cg = network(8, 8, 3)
    data = images_for(cg, write_folder(tmp_path, 1, 1, many))
    assert math.isfinite(train_network(cg, SHORT, 0, data, CPU).last_loss)


def test_a_network_of_another_size_is_refused(folder):
    reason = try_to_train(classifier(), SHORT, 0, load_image_folder(folder, 12, 16, 3), CPU)
    assert "input (32, 32, 3), but folder:colours" in reason
    assert reason.endswith("images are 12x16x3")


def test_a_training_on_other_data_is_not_gone_on_with(folder, cifar_folder, tmp_path, caplog):  # noqa: F811
    path, graph = tmp_path / "state.safetensors", classifier(n_classes=10)
    cifar10 = load_cifar10(cifar_folder)
    alone = train_network(graph, SHORT, 0, cifar10, CPU)
    train_network(graph, SHORT, 0, cifar10._replace(dataset="folder:x"), CPU, state_path=path)
    again = train_network(graph, SHORT, 0, cifar10, CPU, state_path=path)
    assert "the training begins anew" in caplog.text
    assert again.last_loss == alone.last_loss


def test_cifar10_is_told_apart_as_ever():
    recipe = TrainConfig()
    plain = {"name": recipe.name, **asdict(recipe)}
    assert recipe.content_on(CIFAR10) == plain
    assert recipe.content_on("folder:x") == {**plain, "dataset": "folder:x"}


@pytest.mark.usefixtures("in_this_process")
def test_runs_on_other_data_do_not_count(folder, cifar_folder, tmp_path):  # noqa: F811
    config, store = FrontierConfig(SHORT, n_runs=1), ResultFolder(tmp_path)
    networks, source = [FrontierNetwork(0, classifier(8), 1)], classifier(16)
    ours, cifar10 = images_for(source, folder), load_cifar10(cifar_folder)

    def trained(data):
        return train_frontier(networks, source, config, data, store, CPU, progress=False)

    first = trained(cifar10)
    before = json.loads((tmp_path / "train_result.json").read_text())
    assert "dataset" not in before["recipe"]
    second = trained(ours)
    content = json.loads((tmp_path / "train_result.json").read_text())
    assert content["recipe"]["dataset"] == ours.dataset
    assert [entry["run"] for entry in content["other_runs"]] == before["trained"][0]["runs"]
    assert second.trained[0].mflops < first.trained[0].mflops
    assert second.source.mflops < first.source.mflops
    assert len(list((tmp_path / "weights").iterdir())) == 2
    # The same data with ten classes are still other data.
    third = trained(cifar10._replace(dataset="folder:x"))
    assert len(list((tmp_path / "weights").iterdir())) == 3
    assert third.trained[0].graph_hash == first.trained[0].graph_hash
    assert trained(cifar10).trained[0].runs == first.trained[0].runs


@pytest.mark.usefixtures("in_this_process")
def test_a_result_without_such_an_end_is_replaced_by_the_next(folder, tmp_path):
    odd = ComputeGraph.from_nodes(
        "odd", (1, 32, 32, 3), [regular("i", "input", 1, 32, 3), regular("o", "output", 2, 32, 3)], [(0, 1)]
    )
    networks = [FrontierNetwork(0, odd, 1), FrontierNetwork(1, classifier(8), 1)]
    config, data = FrontierConfig(SHORT, n_networks=1, n_runs=1), images_for(classifier(), folder)
    result = train_frontier(networks, classifier(16), config, data, ResultFolder(tmp_path), CPU, progress=False)
    failure = "ValueError: odd: the network ends in a map of 32x32 pixels, not in a vector of classes"
    assert result.trained[0].failure == failure
    assert result.best.rank == 1


# ---- the script ----


def test_a_search_trains_on_a_folder_and_its_training_goes_on(tmp_path, folder):
    search = {"epoch": 1, "max_candidate_per_iter": 3, "max_target_per_iter": 4}
    training = {"num_train_cgs": 1, "num_runs_cg": 1, "train_epochs": 1, "train_batch_size": 9}
    data = {"train_dataset": f"folder:{folder}", "device_str": "cpu"}
    autogo.main(arguments(tmp_path, **search, **training, **data))
    found = result_folder(tmp_path)
    first = runs_of(found)
    assert list(first) == [(0, 0)]
    autogo.main(["-resume", str(found), "-num_runs_cg", "2"])
    assert first.items() <= runs_of(found).items()
    assert len(runs_of(found)) == 2


@pytest.mark.usefixtures("in_this_process")
def test_a_finished_search_is_trained_on_a_folder(tmp_path, folder, cifar_folder):  # noqa: F811
    found = make_search(tmp_path, cifar_folder)
    flags = ["-resume", str(found), "-num_runs_cg", "1"]
    results = []
    for dataset in ("CIFAR10", f"folder:{folder}", "CIFAR10"):
        autogo.main([*flags, "-train_dataset", dataset])
        results.append(runs_of(found))
    assert results[0] == results[2] != results[1]


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ("folder:", "-train_dataset: must be CIFAR10 or folder:PATH, got folder:"),
        ("folders:x", "-train_dataset: must be CIFAR10 or folder:PATH"),
        ("folder:/no/such/place", "/no/such/place: there is no such folder"),
    ],
)
def test_bad_data_sets_show_before_the_search(tmp_path, dataset, reason):
    with pytest.raises(InputError, match=reason):
        autogo.main(arguments(tmp_path, num_train_cgs=1, train_dataset=dataset))
    assert not (tmp_path / "out").exists()


def test_an_input_without_such_an_end_shows_before_the_search(tmp_path, folder):
    nodes = [regular("i", "input", 1, 8, 3), conv("c", 8, 3, 8), regular("o", "output", 2, 8, 8)]
    save_pickle(ComputeGraph.from_nodes("map", (1, 8, 8, 3), nodes, [(0, 1), (1, 2)]), tmp_path / "map.pkl")
    changes = {"model_path": tmp_path / "map.pkl", "input_h": 8, "input_w": 8, "train_input_cg": True}
    with pytest.raises(InputError, match="-train_dataset: 3 classes do not fit the input: map: the network ends in a"):
        autogo.main(arguments(tmp_path, **changes, train_dataset=f"folder:{folder}"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_search_measures_on_a_folder(tmp_path, folder, cifar_folder):  # noqa: F811
    search = {"epoch": 1, "rescore_per_iter": 3, "max_score_drop": 99, "measure": 1, "measure_epochs": 1}
    autogo.main(arguments(tmp_path, **search, train_batch_size=9, device_str="cpu", train_dataset=f"folder:{folder}"))
    found = result_folder(tmp_path)
    lines = (found / "measured.csv").read_text().splitlines()
    assert len(lines) == 3
    n_train = len(list((folder / "train").glob("*/*")))
    n_held_out = max(1, n_train // 10)
    assert {line.split(",")[7] for line in lines[1:]} == {str(n_train - n_held_out)}
    (found / "unfinished").touch()
    with pytest.raises(InputError, match=r"-resume .*: its search had -train_dataset folder:.*, not CIFAR10"):
        autogo.main(["-resume", str(found), "-train_dataset", "CIFAR10", "-train_data_dir", str(cifar_folder)])


def test_the_images_of_a_folder_follow_the_input(tmp_path, folder):
    save_pickle(network(12, 16, 1), tmp_path / "input.pkl")
    size = {"model_path": tmp_path / "input.pkl", "input_h": 12, "input_w": 16, "input_c": 1}
    args = autogo.parse_args(arguments(tmp_path, **size, train_input_cg=True, train_dataset=f"folder:{folder}"))
    data = flags.training_data(args, network(12, 16, 1))
    assert data.input_shape == (12, 16, 1)
    with pytest.raises(InputError, match="CIFAR-10 images are 32x32x3"):
        autogo.main(arguments(tmp_path, **size, train_input_cg=True))
