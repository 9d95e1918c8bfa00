"""Flags from a file."""

import json
import os
import re

import pytest

from model_src.cli import FlagParser, positive_int
from model_src.config_file import LARGEST
from model_src.files import InputError
from model_src.search import flag_groups


@pytest.fixture
def parser():
    parser = FlagParser("test")
    parser.add_argument("-top_k", type=positive_int, default=10)
    parser.add_argument("-shift", type=float, default=0)
    parser.add_argument("-paths", nargs="+", default=())
    parser.add_argument("-fast", action="store_true")
    return parser


def written(folder, text, name="flags.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("flag", ["-config", "--config"])
def test_flags_of_a_file_with_those_given_on_top(parser, tmp_path, flag):
    path = written(tmp_path, "# ours\ntop-k: 3\nshift: -2.5\n-fast: true\npaths: [a, b c]\n")
    found = parser.parse_args(["-top_k", "4", flag, path])
    assert vars(found) == {"top_k": 4, "shift": -2.5, "fast": True, "paths": ["a", "b c"]}
    assert vars(parser.parse_args([f"{flag}={path}"]))["top_k"] == 3


def test_json_and_the_parameters_of_a_search(parser, tmp_path):
    path = written(tmp_path, json.dumps({"top_k": 3, "fast": False, "paths": None}), "flags.json")
    assert vars(parser.parse_args(["-config", path])) == {"top_k": 3, "shift": 0, "fast": False, "paths": ()}
    params = {"version": "0.2.0", "flags": {"top_k": 7, "resume": "outputs/earlier"}}
    path = written(tmp_path, json.dumps(params), "params.json")
    assert parser.parse_args(["-config", path]).top_k == 7


def test_a_search_takes_up_its_own_parameters(tmp_path):
    parser = FlagParser("test")
    flag_groups.add_flags(parser)
    flags = vars(
        parser.parse_args(["-model_path", "x.pkl", "-export", "onnx", "-no_drawings", "-min_decrease_percent", "-1"])
    )
    path = written(tmp_path, json.dumps({"flags": flags}), "params.json")
    again = vars(parser.parse_args(["-config", path]))
    assert {**again, "export": tuple(again["export"])} == {**flags, "export": tuple(flags["export"])}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("top_q: 3", "no flag -top_q"),
        ("config: other.yaml", "no flag -config"),
        ("top_k: {a: 1}", "the value of top_k"),
        ("paths: [[a]]", "the value of paths"),
        ("- top_k", "not a list of flags"),
        ("top_k: [", "not YAML"),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
        ("[" * 20_000, "not YAML"),
        ("#" * (LARGEST + 1), "bytes of flags"),
        ("", "not a list of flags"),
    ],
)
def test_what_is_no_list_of_flags_is_refused_in_one_line(parser, tmp_path, text, reason):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        parser.parse_args(["-config", path])
    assert path in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused(parser, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("missing", "No such file"), ("pipe", "not a regular file"), (".", "not a regular file")):
        with pytest.raises(InputError, match=reason):
            parser.parse_args(["-config", str(tmp_path / name)])
    with pytest.raises(InputError, match="-config"):
        parser.parse_args(["-config"])


def test_a_bad_value_names_its_flag_and_the_file_that_it_stands_in(parser, tmp_path):
    path, reason = written(tmp_path, "top_k: 0\n"), "argument -top_k: must be at least 1, got 0"
    with pytest.raises(InputError, match=re.escape(f"{path}: {reason}")):
        parser.parse_args(["-config", path])
    with pytest.raises(InputError, match=f"^{reason}"):  # given on top, so it is not the file's
        parser.parse_args(["-config", path, "--top-k=0"])
