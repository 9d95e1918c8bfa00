"""Flags in three spellings, errors in one line."""

import pytest

from model_src.cli import FlagParser, fraction, positive_int, run_script
from model_src.files import InputError


@pytest.fixture
def parser():
    parser = FlagParser("test")
    parser.add_argument("-top_k", type=positive_int, default=10)
    parser.add_argument("-share", type=fraction, default=0.5)
    parser.add_argument("-shift", type=int, default=0)
    parser.add_argument("-fast", action="store_true")
    return parser


@pytest.mark.parametrize("flag", ["-top_k", "--top_k", "--top-k"])
def test_three_spellings(parser, flag):
    assert parser.parse_args([flag, "3"]).top_k == 3


def test_negative_values_are_values(parser):
    assert parser.parse_args(["-shift", "-10", "-fast"]).shift == -10


@pytest.mark.parametrize("argv", [["-top_k", "0"], ["-top_k", "x"], ["-share", "1.5"], ["-unknown"]])
def test_bad_flags_are_one_line(parser, argv):
    with pytest.raises(InputError) as caught:
        parser.parse_args(argv)
    assert argv[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_input_leaves_with_2_and_one_line(capsys):
    def main(argv):
        raise InputError("x.pkl: no such file")

    with pytest.raises(SystemExit) as caught:
        run_script(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: x.pkl: no such file\n"
