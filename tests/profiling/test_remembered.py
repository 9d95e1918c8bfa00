"""Costs in files: found again, by hash, size and setting; what a killed process leaves does no harm."""

import math
from dataclasses import replace

import pytest

from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream
from model_src.files import InputError
from model_src.profiling.remembered import Reading, Remembered, key_of

HEADER = "hash,input,cost,spread,runs,setting"


def test_a_network_is_known_by_its_hash_and_the_size_of_its_input(tiny_graph):
    larger = correct_cg_for_downstream(tiny_graph, 16, 16, 3)
    assert key_of(tiny_graph) == key_of(replace(tiny_graph, name="other")) != key_of(larger)
    assert key_of(larger).endswith(",16x16x3")


def test_costs_are_found_again_by_later_searches_and_copied_to_their_own_tables(tmp_path):
    first = Remembered("a, b", tmp_path / "one.csv", tmp_path / "all")
    first.add("x,1x1x1", Reading(0.1 + 0.2, 0.01, 8))
    assert Remembered("a, b", None, tmp_path / "all").get("x,1x1x1") == 0.1 + 0.2  # to the last digit
    second = Remembered("a, b", tmp_path / "two.csv", tmp_path / "all")
    assert second.get("x,1x1x1") == 0.1 + 0.2
    assert second.get("y,1x1x1") is None
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert (tmp_path / "one.csv").read_text().splitlines() == [
        "hash,input,cost,spread,runs,setting",
        'x,1x1x1,0.30000000000000004,0.01,8,"a, b"',
    ]


def test_another_setting_knows_nothing_of_it(tmp_path):
    Remembered("cpu", tmp_path / "one.csv", tmp_path / "all").add("x,1x1x1", Reading(1.0))
    assert Remembered("gpu", tmp_path / "one.csv", tmp_path / "all").get("x,1x1x1") is None


def test_a_failure_is_known_to_its_search_alone(tmp_path):
    Remembered("cpu", tmp_path / "one.csv", tmp_path / "all").add("x,1x1x1", Reading(math.nan, failure="no kernel"))
    assert math.isnan(Remembered("cpu", tmp_path / "one.csv", tmp_path / "all").get("x,1x1x1"))
    assert Remembered("cpu", None, tmp_path / "all").get("x,1x1x1") is None


def test_an_unfinished_line_is_cut_off_and_two_writers_leave_whole_ones(tmp_path):
    path = tmp_path / "one.csv"
    one, other = Remembered("cpu", path), Remembered("cpu", path)
    one.add("x,1x1x1", Reading(1.0))
    other.add("y,1x1x1", Reading(2.0))
    with path.open("a") as file:
        file.write("z,1x1x1,3.")
    assert Remembered("cpu", path).get("z,1x1x1") is None
    one.add("v,1x1x1", Reading(4.0))
    again = Remembered("cpu", path)
    assert [again.get(f"{name},1x1x1") for name in "xyzv"] == [1.0, 2.0, None, 4.0]


@pytest.mark.parametrize(("text", "reason"), [
    ("hash,cost\nx,1\n", "has no column input and no column spread"),
    (f"{HEADER},cost\nx,1x1x1,1,,1,cpu,2\n", "has two columns cost"),
    (f"{HEADER}\nx,1x1x1,1,,1\n", "line 2: not as many cells"),
    (f"{HEADER}\nx,1x1x1,1,,1,cpu\ny,1x1x1,fast,,1,cpu\n", "line 3: could not convert"),
    (f"{HEADER}\nx,1x1x1,-1,,1,cpu\n", "line 2: -1.0 is no cost"),
    (f"{HEADER}\nx,1x1x1,inf,,1,cpu\n", "line 2: inf is no cost"),
    (f"{HEADER}\nx,1x1x1,1,,{'9' * 5000},cpu\n", "line 2: Exceeds the limit"),
])  # fmt: skip
def test_damaged_tables_are_named(tmp_path, text, reason):
    (tmp_path / "one.csv").write_text(text)
    with pytest.raises(InputError, match=rf"one\.csv: not a table of measured costs, delete it: .*{reason}"):
        Remembered("cpu", tmp_path / "one.csv")
