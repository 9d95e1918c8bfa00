"""Names and parameters of a result folder."""

import argparse
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import pytest

import constants
from model_src.kept import digest
from model_src.search.provenance import git_revision, provenance
from model_src.search.result_folder import ResultFolder
from model_src.search.resuming import flag_words


def test_a_name_that_is_taken_gets_a_suffix(tmp_path):
    names = [ResultFolder.create(tmp_path / "out", "search").path.name for _ in range(3)]
    assert names == ["search", "search_2", "search_3"]


def test_folders_made_at_the_same_time_are_distinct(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: ResultFolder.create(tmp_path, "search").path, range(32)))
    assert len(set(paths)) == 32


def test_a_parent_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        ResultFolder.create(tmp_path / "file", "search")


def test_removing_leaves_neighbours(tmp_path):
    first, second = (ResultFolder.create(tmp_path, "search") for _ in range(2))
    second.remove()
    assert first.path.exists()
    assert not second.path.exists()


def test_parameters_are_stored_twice_and_copied(tmp_path):
    folder = ResultFolder.create(tmp_path / "out", "search", tmp_path / "logs")
    flags = argparse.Namespace(epoch=3, export=["onnx"], train_input_cg=True, milp_solver=None, no_drawings=False)
    folder.save_params(flags, {"version": "x"})
    folder.copy_params()
    copy = ResultFolder(tmp_path / "logs" / "search")
    for one in (folder, copy):
        params = ResultFolder.load_params(one.params_path(tmp_path))
        assert params == vars(flags)
        assert json.loads((one.path / "params.json").read_text()) == {"version": "x", "flags": vars(flags)}
    assert list(flag_words(params)) == ["-epoch=3", "-export", "onnx", "-train_input_cg"]


def test_copies_leave_the_folder_of_another_search_alone(tmp_path):
    """The default of `-logs_dir` is where searches without `-output_dir` put their results."""
    other = ResultFolder.create(tmp_path / "logs", "one", tmp_path / "logs")
    (other.path / "rank_0.pkl").write_text("of another search")
    folder = ResultFolder.create(tmp_path / "out", "one", tmp_path / "logs")
    assert folder.path == tmp_path / "out" / "one_2"
    folder.save_params(argparse.Namespace(seed=1), {})
    folder.copy_params()
    assert sorted(path.name for path in other.path.iterdir()) == ["rank_0.pkl"]
    assert sorted(path.name for path in (tmp_path / "logs" / "one_2").iterdir()) == ["params.json", "params.pkl"]
    folder.remove()
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["one"]
    assert not list((tmp_path / "out").iterdir())
    assert (other.path / "rank_0.pkl").exists()


def test_nothing_is_made_where_the_copy_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        ResultFolder.create(tmp_path / "out", "one", tmp_path / "file")
    assert not list((tmp_path / "out").iterdir())


def test_parameters_of_version_0_1_may_be_in_the_folder_of_logs(tmp_path):
    folder = ResultFolder.create(tmp_path / "out", "search")
    logs = ResultFolder.create(tmp_path / "logs", "search")
    logs.save_params(argparse.Namespace(epoch=1), {})
    assert folder.params_path(tmp_path / "logs") == logs.path / "params.pkl"
    assert folder.params_path(tmp_path / "none") == folder.path / "params.pkl"
    folder.save_params(argparse.Namespace(epoch=2), {})  # its own come first
    assert folder.params_path(tmp_path / "logs") == folder.path / "params.pkl"


def test_provenance_names_every_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    found = provenance({"model_path": tmp_path / "a"})
    assert found["files"] == {"model_path": {"path": str(tmp_path / "a"), "sha256": hashlib.sha256(b"abc").hexdigest()}}
    assert found["version"].count(".") == 2
    assert found["libraries"]["torch"] == metadata.version("torch")
    assert json.loads(json.dumps(found)) == found


def test_the_digest_of_a_folder_sees_names_and_contents(tmp_path):
    for name, content in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "f").write_text(content)
    assert digest(tmp_path / "one") == digest(tmp_path / "two") != digest(tmp_path / "three")
    (tmp_path / "two" / "inner" / "f").rename(tmp_path / "two" / "inner" / "g")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_the_revision_is_that_of_a_checkout_only(tmp_path):
    assert git_revision(tmp_path) is None
    revision = git_revision(constants.ROOT)
    assert revision is None or len(revision.removesuffix("-dirty")) == 40
