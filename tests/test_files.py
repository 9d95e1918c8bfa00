"""Safe loading and atomic saving."""

import json
import os
import pickle

import pytest

from model_src.files import (
    InputError,
    atomic_write,
    iter_json_object,
    load_json,
    load_pickle,
    naming,
    save_pickle,
    save_text,
)
from model_src.json_stream import JsonStream


class Foreign:
    """A class that no allow-list names."""


class Runs:
    def __reduce__(self):
        return (print, ("code ran",))


def test_plain_content_round_trips(tmp_path):
    save_pickle({"a": [1, (2.5, None)], "b": {3}}, tmp_path / "x.pkl")
    assert load_pickle(tmp_path / "x.pkl") == {"a": [1, (2.5, None)], "b": {3}}


@pytest.mark.parametrize("value", [Foreign(), Runs(), [len]])
def test_foreign_names_are_refused_and_nothing_runs(tmp_path, value, capsys):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match=r"x\.pkl.*not allowed"):
        load_pickle(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95\xff", pickle.dumps([1] * 1000)[:-20]])
def test_damaged_pickles_are_named(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pkl"):
        load_pickle(path)


def test_missing_and_malformed_files(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_pickle(tmp_path / "none.pkl")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_json(tmp_path / "x.json")


def test_a_file_is_named_once(tmp_path):
    path = tmp_path / "none.json"
    with pytest.raises(InputError) as error, naming(path):
        load_json(path)
    assert str(error.value) == f"{path}: No such file or directory"


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path, "w") as file:
            file.write("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.txt"]


def test_files_get_the_usual_permissions_and_the_mask_for_them_is_left_alone(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)  # a thread that draws would make files under the mask of the moment
            save_text("x", tmp_path / "x.txt")
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
def test_a_json_object_is_read_entry_by_entry(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(JsonStream, "_chunk", chunk)
    content = {"a": {"b": [1, 2.5, None, "}"]}, "c,": 12345, "": [], "\u4e00": "\\"}
    for indent in (None, 2):
        (tmp_path / "x.json").write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")
        assert list(iter_json_object(tmp_path / "x.json")) == list(content.items())
    (tmp_path / "x.json").write_text(" {} ")
    assert list(iter_json_object(tmp_path / "x.json")) == []


def test_entries_before_a_fault_are_read(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1, "b": [2')
    entries = iter_json_object(tmp_path / "x.json")
    assert next(entries) == ("a", 1)
    with pytest.raises(InputError, match=r"x\.json: not a JSON object, or damaged: "):
        next(entries)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its end where { belongs"),
        ("[1]", r"\[ where { belongs"),
        ("{1: 2}", 'where " belongs'),
        ('{"a" 1}', "where : belongs"),
        ('{"a": 1 "b": 2}', "where , or } belongs"),
        ('{"a": 1,}', 'where " belongs'),
        ('{"a": 1}}', "goes on after its end"),
        ('{"a": ' + "[" * 100_000, "recursion"),
        ('{"a": \x00}', "damaged"),
    ],
)
def test_what_is_no_json_object_is_named(tmp_path, text, reason):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=rf"x\.json.*{reason}"):
        list(iter_json_object(tmp_path / "x.json"))


def test_a_missing_json_object_is_named(tmp_path):
    with pytest.raises(InputError, match=r"x\.json: No such file"):
        next(iter_json_object(tmp_path / "x.json"))
