import csv
import logging
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import gen_families
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.tokenizer import learn_vocabulary
from model_src.families import all_names, with_networks
from model_src.family_data import family_path, load_family
from model_src.files import InputError
from model_src.search_space import hiaml, nb201
from model_src.search_space.sampling import config_hash
from model_src.training import loop
from tests.predictor.helpers import make_checkpoint
from tests.training.conftest import cifar_folder, in_this_process, one_thread_per_test_process  # noqa: F401


def generate(tmp_path, family, *flags):
    path = family_path(family, tmp_path)
    assert gen_families.main(["-family", family, "-output", str(path), *flags]) == 0
    return load_family(family, tmp_path)


@pytest.mark.parametrize("family", all_names(with_networks()))
def test_every_family_can_be_loaded(tmp_path, family):
    networks = generate(tmp_path, family, "-num", "6")
    assert len({canonical_hash(network.graph) for network in networks}) == 6
    assert all(network.flops > 1 and network.n_params > 1000 and network.config for network in networks)
    assert {network.accuracy for network in networks} == {None}


def test_the_same_seed_gives_the_same_file(tmp_path):
    first = generate(tmp_path / "a", "two_path", "-num", "5", "-seed", "3")
    second = generate(tmp_path / "b", "two_path", "-num", "5", "-seed", "3")
    other = generate(tmp_path / "c", "two_path", "-num", "5", "-seed", "4")
    assert [n.config for n in first] == [n.config for n in second] != [n.config for n in other]
    files = [family_path("two_path", tmp_path / folder).read_bytes() for folder in "ab"]
    assert files[0] == files[1]


def test_labels(tmp_path, caplog):
    cells = nb201.all_configs()[::1000]
    table = tmp_path / "table.csv"
    table.write_text(
        "architecture,accuracy\n"
        + "".join(f"{nb201.architecture_string(cell)},9{n}.5\n" for n, cell in enumerate(cells))
    )
    with caplog.at_level(logging.INFO):
        networks = generate(tmp_path, "nb201c10", "-num", "all", "-label_table", str(table))
    assert {nb201.network_name(cell): 0.01 * (90.5 + n) for n, cell in enumerate(cells)} == {
        network.graph.name: pytest.approx(network.accuracy) for network in networks
    }
    assert f"{len(cells)} networks; {4096 - len(cells)} without a label" in caplog.text


def test_the_traced_form_has_no_identities(tmp_path):
    published = generate(tmp_path / "a", "nb201", "-num", "4")
    traced = generate(tmp_path / "b", "nb201", "-num", "4", "-traced")
    assert [n.graph.name for n in published] == [n.graph.name for n in traced]
    for with_identity, without in zip(published, traced, strict=True):
        n_skips = with_identity.config.count("skip_connect")
        assert sum(node.label == "identity" for node in with_identity.graph.nodes) == 15 * n_skips + 1
        assert sum(node.label == "identity" for node in without.graph.nodes) == 1


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["-family", "ofa"], "unknown family 'ofa'; known are hiaml, .*model_src/families.py"),
        (["-family", "hiaml", "-num", "0"], "at least 1"),
        (["-family", "hiaml", "-num", "all"], "-num all: hiaml cannot be listed"),
        (["-family", "nb101", "-label", "analog-nasbench"], "-label analog-nasbench: it has no accuracies of nb101_5k"),
        (["-family", "two_path", "-traced"], "-traced: two_path has no traced form"),
        (["-family", "nb201", "-label", "analog-nasbench", "-label_table", "t.csv"], "exclude each other"),
        (["-family", "hiaml", "-label_table", "no.csv", "-output", "x.json"], "no.csv: No such file"),
        (["-family", "hiaml", "-output", "x.pkl"], "a cache of hiaml is a .json file"),
        (["-family", "hiaml", "-num", "-3"], "at least 1"),
        (["-family", "hiaml", "-num", "many"], "invalid"),
        (["-family", "hiaml", "-label", "teacher"], "-label teacher and -teacher_path need each other"),
        (["-family", "hiaml", "-teacher_path", "x.pt"], "-label teacher and -teacher_path need each other"),
        (["-family", "hiaml", "-label_table", "t.csv", "-save_labels", "l.csv"], "-save_labels is for -label teacher"),
        (["-family", "hiaml", "-label", "train", "-teacher_path", "x.pt"], "need each other"),
        (["-family", "hiaml", "-label", "train", "-label_table", "t.csv"], "exclude each other"),
        (["-family", "hiaml", "-epochs", "8"], "-epochs is for -label train"),
        (["-family", "hiaml", "-label_table", "t.csv", "-n_jobs", "2"], "-n_jobs is for -label train"),
        (["-family", "hiaml", "-label", "train", "-epochs", "0"], "-epochs: must be at least 1"),
        (["-family", "hiaml", "-label", "train", "-runs", "few"], "-runs: invalid"),
        (["-family", "hiaml", "-label_table", "t.csv", "-save_best", "b.json"], r"b\.json: must be a \.pkl file"),
        (["-family", "hiaml", "-save_best", "b.pkl"], "-save_best needs -label or -label_table"),
    ],
)
def test_bad_flags(flags, reason):
    with pytest.raises(InputError, match=reason):
        gen_families.main(flags)


def test_nothing_is_written_when_networks_run_out(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"architecture,accuracy\n{nb201.architecture_string(['skip_connect'] * 6)},0.9\n")
    with pytest.raises(InputError, match="only 1 distinct labelled networks were found"):
        generate(tmp_path, "nb201", "-num", "2", "-label_table", str(table))
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_labels_of_the_package(tmp_path, monkeypatch):
    table = {nb201.architecture_string(cell): 0.9 for cell in nb201.all_configs()[:3]}
    monkeypatch.setattr(nb201, "read_package_labels", lambda: table)
    assert {network.accuracy for network in generate(tmp_path, "nb201", "-label", "analog-nasbench", "-num", "3")} == {
        0.9
    }


@pytest.fixture
def teacher(tmp_path):
    """Flags for an untrained teacher with a small vocabulary."""
    files = vocabulary_files("hiaml", "shp", 60, tmp_path / "vocabulary")
    graphs = [hiaml.build([block] * 4, block) for block in hiaml.BLOCKS]
    learn_vocabulary({"hiaml": [(graph, 0.9) for graph in graphs]}, "shp", 60).save(files)
    make_checkpoint("PSC_predictor").save(tmp_path / "teacher.pt")
    paths = {"-teacher_path": tmp_path / "teacher.pt", "-encoder_path": files.encoder, "-tokenizer_path": files.model}
    return ["-label", "teacher", *(str(part) for pair in paths.items() for part in pair)]


def test_labels_of_a_teacher(tmp_path, teacher):
    table, best = tmp_path / "labels" / "hiaml.csv", tmp_path / "best.pkl"
    saved = ["-save_labels", str(table), "-save_best", str(best)]
    networks = generate(tmp_path / "a", "hiaml", "-num", "40", "-seed", "3", *teacher, *saved)
    assert len({network.accuracy for network in networks}) > 5
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["config_hash"], row["graph_hash"]) for row in rows] == [
        (config_hash(network.config), canonical_hash(network.graph)) for network in networks
    ]
    assert [float(row["accuracy"]) for row in rows] == pytest.approx([network.accuracy for network in networks])
    assert {(row["source"], row["epochs"], row["seed"]) for row in rows} == {("teacher", "", "3")}
    highest = max(networks, key=lambda network: network.accuracy).graph
    assert (load_cg(best).name, canonical_hash(load_cg(best))) == (highest.name, canonical_hash(highest))

    again = generate(tmp_path / "b", "hiaml", "-num", "10", "-seed", "3", "-label_table", str(table))
    assert [(n.config, n.accuracy) for n in again] == [(n.config, n.accuracy) for n in networks[:10]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("config_hash,accuracy\n", "table.csv: has no rows"),
        ("config_hash,accuracy\n0123456789abcdef,good\n", "table.csv, line 2: no accuracy"),
        ("config_hash,accuracy\n0123456789abcdef,0.9\n", "the label table knows none of the"),
        ("architecture,accuracy\n|nor_conv_3x3~0|,0.9\n", "the label table is not of this family"),
    ],
)
def test_unusable_tables_leave_the_old_cache(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr("model_src.search_space.sampling.PATIENCE", 100)
    (tmp_path / "table.csv").write_text(content)
    old = family_path("hiaml", tmp_path)
    old.write_text("old")
    with pytest.raises(InputError, match=reason) as caught:
        generate(tmp_path, "hiaml", "-num", "2", "-label_table", str(tmp_path / "table.csv"))
    assert "\n" not in str(caught.value)
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([old.name, "table.csv"])


@pytest.mark.parametrize("file", ["teacher_path", "encoder_path", "tokenizer_path"])
@pytest.mark.parametrize("content", [None, b"", b"foreign"])
def test_unusable_teachers_leave_nothing(tmp_path, teacher, file, content):
    broken = tmp_path / "broken"
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(broken))):
        generate(tmp_path / "out", "hiaml", "-num", "2", *teacher, f"-{file}", str(broken))
    assert not any((tmp_path / "out").glob("*"))


BUDGET = ["-label", "train", "-epochs", "1", "-train_images", "10", "-batch_size", "5", "-device_str", "cpu"]


def rows_of(path) -> list[dict]:
    """The rows of a table that end in a line feed."""
    text = path.read_text() if path.exists() else ""
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def test_labels_by_training(tmp_path, cifar_folder, monkeypatch, in_this_process):  # noqa: F811
    monkeypatch.setattr("constants.DATA_DIR", tmp_path / "data")
    flags = ["-seed", "3", *BUDGET, "-train_data_dir", str(cifar_folder)]
    networks = generate(tmp_path / "a", "two_path", "-num", "2", "-runs", "2", *flags)
    table = tmp_path / "data" / "labels" / "two_path_measured.csv"
    rows = rows_of(table)
    assert [(row["config_hash"], row["graph_hash"], row["seed"]) for row in rows] == [
        (config_hash(network.config), canonical_hash(network.graph), seed) for seed in "01" for network in networks
    ]
    assert {(row["source"], row["epochs"], row["images"], row["batch_size"]) for row in rows} == {
        ("train", "1", "10", "5")
    }
    for at, network in enumerate(networks):
        mean = (float(rows[at]["accuracy"]) + float(rows[at + 2]["accuracy"])) / 2
        assert network.accuracy == pytest.approx(mean)
        assert 0 <= mean <= 1

    known = generate(tmp_path / "b", "two_path", "-num", "2", "-seed", "3", "-label_table", str(table))
    assert [(n.config, n.accuracy) for n in known] == [(n.config, pytest.approx(n.accuracy)) for n in networks]

    monkeypatch.setattr(loop, "train_network", None)  # nothing is left to train
    again = generate(tmp_path / "c", "two_path", "-num", "2", "-runs", "2", *flags)
    assert [n.accuracy for n in again] == [n.accuracy for n in networks]
    with pytest.raises(InputError, match=r"its rows are of 1 epochs of 10 images, batches of 5, .* not of 2 epochs"):
        generate(tmp_path / "d", "two_path", "-num", "2", *flags, "-epochs", "2")


def test_networks_that_cannot_be_trained_are_left_out(tmp_path, cifar_folder, monkeypatch, in_this_process):  # noqa: F811
    def train_network(cg, *_):
        if cg.name.endswith("0"):
            raise MemoryError("too large")
        return loop.RunResult(0, 0.5, 0.5, 1.0, 1.0, "cpu")

    monkeypatch.setattr(loop, "train_network", train_network)
    table = tmp_path / "table.csv"
    flags = [*BUDGET, "-train_data_dir", str(cifar_folder), "-save_labels", str(table)]
    networks = generate(tmp_path, "two_path", "-num", "3", *flags)
    assert [network.accuracy for network in networks] == [0.5, 0.5]
    assert [row["failure"] for row in rows_of(table)] == ["MemoryError: too large", "", ""]
    family_path("two_path", tmp_path).write_text("old")
    with pytest.raises(InputError, match=r"table\.csv: none of the networks could be trained"):
        generate(tmp_path, "two_path", "-num", "1", *flags)
    assert family_path("two_path", tmp_path).read_text() == "old"


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_measurements_go_on(tmp_path, cifar_folder, n_jobs):  # noqa: F811
    table, output = tmp_path / "table.csv", family_path("two_path", tmp_path)
    flags = [*BUDGET, "-train_images", "40", "-n_jobs", str(n_jobs)]  # a second each
    flags += ["-train_data_dir", str(cifar_folder), "-save_labels", str(table)]
    command = [sys.executable, "gen_families.py", "-family", "two_path", "-num", "4", "-output", str(output), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder = os.path.dirname(gen_families.__file__)
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not rows_of(table) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.stderr.read()  # ends when the last process that holds it does: none of them survives
    assert process.returncode == -signal.SIGKILL
    kept = rows_of(table)
    assert 1 <= len(kept) < 4
    assert not output.exists()
    networks = generate(tmp_path, "two_path", "-num", "4", *flags)
    assert rows_of(table)[: len(kept)] == kept
    assert len(rows_of(table)) == 4
    assert len(networks) == 4
    assert all(network.accuracy is not None for network in networks)
