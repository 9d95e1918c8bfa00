"""What a pickle becomes is known from its opcodes."""

import pickle
from argparse import Namespace
from collections import OrderedDict, defaultdict

import numpy as np
import pytest

import constants
from model_src.pickles import DEEPEST, check_pickle

SHIPPED = sorted(constants.ROOT.glob("cache_sentence_piece/*/*.pkl"))
SOUND = {
    "numbers": [0, 1, 300, 70_000, -5, 1 << 70, -(1 << 70), 2.5, True, False, None],
    "texts": ["", "a", "\u4e00", "x" * 300, "y" * 70_000, b"", b"z" * 300],
    "containers": {"a": (1,), "b": (1, 2, 3, 4), "c": [[]], "d": {1, 2}, "e": frozenset({3}), "f": {}, ("g", 1): ()},
    "classes": [
        OrderedDict(a=1),
        defaultdict(list, a=[1]),
        Namespace(a=[1, 2]),
        slice(1, 2),
        np.arange(3),
        np.float64(1),
    ],
    "shared": [[1, 2]] * 100,
    "many": list(range(5000)),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL))
@pytest.mark.parametrize("name", SOUND)
def test_what_is_written_by_others_passes(name, protocol):
    content = pickle.dumps(SOUND[name], protocol)
    assert check_pickle(content) == len(content)
    assert check_pickle(content + content, start=len(content)) == 2 * len(content)


@pytest.mark.parametrize(
    "path", sorted(constants.ROOT.glob("cache_sentence_piece/*/*.pkl")), ids=lambda path: path.stem
)
def test_shipped_files_pass(path):
    content = path.read_bytes()
    assert check_pickle(content) == len(content)


def test_what_is_cut_short_is_refused():
    content = pickle.dumps(SOUND, 4)
    for end in range(0, len(content) - 1, 997):
        with pytest.raises(ValueError, match=r"cut short|damaged"):
            check_pickle(content[:end])


@pytest.mark.parametrize("opcode", [b"j", b"r", b"j\x01\x00", b"h", b"X\x01", b"K", b"\x8c", b"\x95\x01"])
def test_an_opcode_that_ends_before_its_number_is_refused(opcode):
    with pytest.raises(ValueError, match=r"cut short|damaged"):
        check_pickle(b"\x80\x04N\x94" + opcode)


def nested(levels):
    value = 1
    for _ in range(levels):
        value = (value,)
    return value


def doubled(levels):
    value = (1,)
    for _ in range(levels):
        value = (value, value)
    return value


def test_depth_has_a_limit():
    check_pickle(pickle.dumps(nested(DEEPEST)))
    with pytest.raises(ValueError, match="more than 60 deep"):
        check_pickle(pickle.dumps(nested(DEEPEST + 1)))


def test_sharing_has_a_limit():
    check_pickle(pickle.dumps(doubled(15)))
    for levels in (25, 50):
        with pytest.raises(ValueError, match="out of all proportion"):
            check_pickle(pickle.dumps(doubled(levels)))
    with pytest.raises(ValueError, match="out of all proportion"):
        check_pickle(pickle.dumps([["x" * 1000] * 1000] * 1000))


def test_what_holds_itself_is_refused():
    value: list = []
    value.append(value)
    with pytest.raises(ValueError, match="used before"):
        check_pickle(pickle.dumps(value))
    thing = Namespace()
    thing.itself = thing
    with pytest.raises(ValueError, match="holds itself"):
        check_pickle(pickle.dumps(thing))
    check_pickle(pickle.dumps(thing), cyclic=True)


@pytest.mark.parametrize("content", [b"\x80\x04P1\n.", b"\x80\x02\x82\x01.", b"\x80\x05\x97."])
def test_opcodes_that_no_data_needs_are_refused(content):
    with pytest.raises(ValueError, match="which no data needs"):
        check_pickle(content)
