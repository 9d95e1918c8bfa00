"""Flags in three spellings, errors in one line."""

import json
import logging
from pathlib import Path

import pytest

import constants
import model_src
from model_src.cli import (
    FlagParser,
    for_terminal,
    fraction,
    loudness,
    non_negative_float,
    non_negative_int,
    percent,
    positive_float,
    positive_int,
    run_script,
    shipped_path,
    thread_count,
)
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import LONGEST_LINE, InputError
from tests.conftest import regular


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


def test_what_is_missing_here_is_looked_up_among_the_shipped_files(tmp_path, monkeypatch):
    here, shipped = tmp_path / "here", tmp_path / "shipped"
    for folder, names in ((here, ("own", "both")), (shipped, ("both", "theirs"))):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    monkeypatch.setattr("constants.SHIPPED_DIR", shipped)
    monkeypatch.chdir(here)
    assert shipped_path("theirs") == shipped / "theirs"
    for as_given in ("own", "both", "neither", "", "../shipped/x", "y/../theirs", str(here / "theirs"), "a" * 5000):
        assert shipped_path(as_given) == Path(as_given)


def test_bad_input_leaves_with_2_and_one_line(capsys):
    def main(argv):
        raise InputError("x.pkl: no such file")

    with pytest.raises(SystemExit) as caught:
        run_script(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: x.pkl: no such file\n"


def test_lines_lose_their_middle_where_they_are_too_long():
    longest = "a" * LONGEST_LINE
    assert for_terminal(f"{longest}\nx") == f"{longest}\nx"
    assert for_terminal(f"x\nbegin{longest}end") == f"x\nbegin{'a' * 205} ... {'a' * 82}end"


def test_nothing_but_ends_of_lines_moves_the_cursor():
    assert for_terminal("two  words\n\x1b[2Jx\r\u202e\udc80") == "two  words\n\\x1b[2Jx \\u202e\\udc80"
    assert str(InputError("a\nb\x07\t" + "c" * 10_000_000)) == f"a b\\x07 {'c' * 202} ... {'c' * 85}"


def test_what_a_file_holds_does_not_flood_the_terminal(tmp_path, capsys, monkeypatch):
    label, path = "odd" * 330, tmp_path / "graph.json"
    graph = ComputeGraph.from_nodes("odd", (1, 4, 4, 3), [regular("n", label, 6, 4, 3)], [])
    path.write_text(json.dumps(graph.state_dict()))
    root = logging.getLogger()
    level = root.level
    monkeypatch.setattr(root, "handlers", [])

    def main(argv):
        logging.warning("left out: %s", label)
        load_cg(path)

    with pytest.raises(SystemExit) as caught:
        run_script(main)
    root.setLevel(level)
    assert caught.value.code == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("left out: oddodd")
    assert error.startswith(f"error: {path}: node n (oddodd")
    assert error.endswith("model_src/comp_graph/ops.py")
    assert max(len(warning), len(error)) <= LONGEST_LINE


RANGES = {
    positive_int: (("1", "2147483647"), ("0", "-1", "2147483648", "9" * 5000, "1e3", "nan")),
    thread_count: (("1", "1024"), ("0", "1025")),
    non_negative_int: (("0", "2147483647"), ("-1", str(2**70))),
    non_negative_float: (("0", "1e9"), ("-1e-9", "nan", "inf", "1e999")),
    positive_float: (("1e-9", "1e9"), ("0", "nan", "-inf", "2e9")),
    percent: (("-10", "0", "100"), ("nan", "inf", "-inf")),
    fraction: (("0", "1"), ("-0.1", "1.1", "nan")),
}


@pytest.mark.parametrize(("kind", "texts"), RANGES.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_every_number_has_a_range(kind, texts):
    parser = FlagParser("")
    parser.add_argument("-n", type=kind)
    good, bad = texts
    for text in good:
        assert parser.parse_args([f"-n={text}"]).n == float(text)
    for text in bad:
        with pytest.raises(InputError, match="-n: "):
            parser.parse_args([f"-n={text}"])


def test_help_has_groups_examples_and_short_defaults(capsys):
    import autogo

    with pytest.raises(SystemExit) as caught:
        autogo.main(["-h"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    groups = ["input:", "search:", "objective:", "predictor:", "measuring:", "output:", "training:"]
    places = [text.index(f"\n{group}\n") for group in [*groups, "published flags without effect:", "examples:"]]
    assert places == sorted(places)
    assert text.count("python autogo.py") == 2
    assert "(default: outputs)" in text
    assert str(constants.SHIPPED_DIR) not in text
    assert "(default: None)" not in text
    assert "(default: False)" not in text


def test_version(capsys):
    for flag in ("-version", "--version"):
        with pytest.raises(SystemExit) as caught:
            FlagParser("test").parse_args([flag])
        assert caught.value.code == 0
        assert capsys.readouterr().out == f"AutoGO {model_src.__version__}\n"


def test_messages_stand_above_bars_and_as_loud_as_asked_for(capsys):
    from tqdm import tqdm

    def main(_):
        log = logging.getLogger("model_src.test")
        log.setLevel(logging.DEBUG)
        with tqdm(total=2, desc="bar") as bar:
            for quiet, verbose in ((False, False), (True, False), (False, True)):
                with loudness(quiet, verbose):
                    for level in ("debug", "info", "warning"):
                        getattr(log, level)("%s %s %s", level, quiet, verbose)
                bar.update(0)

    handlers = list(logging.root.handlers)
    logging.root.handlers.clear()  # pytest's own
    try:
        with pytest.raises(SystemExit):
            run_script(main)
    finally:
        logging.root.handlers[:] = handlers
        logging.getLogger("model_src.test").setLevel(logging.NOTSET)
    lines = [line.strip() for line in capsys.readouterr().err.replace("\r", "\n").split("\n")]
    shown = [line for line in lines if line.endswith(("True", "False"))]
    assert shown == [
        "info False False", "warning False False", "warning True False",
        "debug False True", "info False True", "warning False True",
    ]  # fmt: skip
