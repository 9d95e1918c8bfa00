"""Strategies: networks that are well formed, and files that are not quite."""

import math
from copy import deepcopy

from hypothesis import strategies as st

from model_src.search_space.graph_builder import GraphBuilder

DEEP: list = []
for _ in range(80):
    DEEP = [DEEP]

# What may stand in the place of a field.
ABSURD = (
    None, True, False, -1, 0, 1, 2, 3, 5, 8, 25, 999, 1 << 24, (1 << 24) + 1, 1 << 31, -(1 << 31), 1 << 63, 10**400,
    0.5, -0.0, 3.0, 1e308, math.inf, -math.inf, math.nan, "", "same", "valid", "conv2d", "add", "concat", "input",
    "output", "mean", "opaque", "0", "-1", "\ud800", "a\nb\x1b[2J", "\x00", "x" * 1001, "9" * 5000, b"", b"\xff" * 8,
    [], {}, [[]], [None], [1, 1, 1, 1], [1, 2, 2, 1], [8, 8, 8, 8, 3, 3], [0] * 6, [-1] * 4, [1e999] * 4, [2] * 300,
    {"": None}, {"a": {"b": {"c": {"d": {"e": 1}}}}}, {"padding": "valid"}, {"groups": 2}, {"dilations": [1, 9, 9, 1]},
    DEEP,
)  # fmt: skip
NUMBERS = st.one_of(st.integers(-3, 70), st.integers(-(1 << 70), 1 << 70), st.floats())


@st.composite
def graphs(draw, most=12):
    """A network of chosen operations on a small image; all are valid."""
    h, w, c = (draw(st.integers(1, 9)) for _ in range(3))
    builder = GraphBuilder(draw(st.sampled_from(("net", "", "\u4e00", "a b"))), (1, h, w, c))
    tensors = [builder.input()]
    loose = list(tensors)  # nobody has read them yet
    for _ in range(draw(st.integers(1, most))):
        kind, x, size = draw(st.integers(0, 9)), draw(st.sampled_from(tensors[-4:])), draw(st.integers(1, 9))
        alike = [y for y in tensors if y[1:3] == x[1:3] and y.node != x.node]
        others = [y for y in alike if y.c == x.c] if kind == 0 else alike if kind == 1 else []
        read = [x, *others[:1]]
        if others:
            x = (builder.add if kind == 0 else builder.concat)(x, others[0])
        elif kind <= 3:
            x = builder.conv(x, draw(st.integers(1, 9)), size, draw(st.integers(1, 3)))
        elif kind == 4:
            x = builder.depthwise(x, size, draw(st.integers(1, 2)))
        elif kind == 5:
            x = draw(st.sampled_from((builder.maxpool, builder.avgpool)))(x, size, draw(st.integers(1, 3)))
        else:
            x = getattr(builder, ("batchnorm", "relu", "relu6", "identity")[kind - 6])(x)
        loose = [*(y for y in loose if y not in read), x]
        tensors.append(x)
    ends = [builder.conv(x, 4, (x.h, x.w), (x.h, x.w)) for x in loose]  # one pixel each
    return builder.classifier(builder.concat(*ends), dropout=draw(st.booleans()))


def places(tree):
    """The way to every field of data made of dictionaries and lists."""
    found, waiting = [], [((), tree)]
    while waiting:
        way, part = waiting.pop()
        found.append(way)
        if isinstance(part, dict):
            waiting += [((*way, key), one) for key, one in part.items()]
        elif isinstance(part, list):
            waiting += [((*way, key), one) for key, one in enumerate(part)]
    return found[1:]


def at(tree, way):
    for key in way:
        tree = tree[key]
    return tree


@st.composite
def changed(draw, tree, ways, most=1):
    """Data with so many fields changed, taken out, repeated, or exchanged for others of the same data."""
    tree = deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        *way, last = ways[draw(st.integers(0, len(ways) - 1))]
        how = draw(st.integers(0, 9))
        try:
            part = at(tree, way)
            if how <= 4:
                part[last] = draw(st.sampled_from(ABSURD))
            elif how <= 6:
                part[last] = draw(NUMBERS)
            elif how == 7:
                part[last] = deepcopy(at(tree, ways[draw(st.integers(0, len(ways) - 1))]))
            elif how == 8 and isinstance(part, list):
                part.insert(last, deepcopy(part[last]))
            else:
                del part[last]
        except (KeyError, IndexError, TypeError):  # an earlier change took the way away
            continue
    return tree


@st.composite
def damaged(draw, content: bytes):
    """A file with some bytes flipped, cut out, put in, repeated or cut off."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, max(0, len(content) - 1)))
        how, length = draw(st.integers(0, 5)), draw(st.integers(1, 40))
        if how == 0:
            content[where : where + 1] = draw(st.binary(min_size=1, max_size=1))
        elif how == 1:
            del content[where : where + length]
        elif how == 2:
            content[where:where] = draw(st.binary(max_size=9))
        elif how == 3:
            content[where:where] = content[where : where + length]
        elif how == 4:
            content[where : where + length] = b"\xff" * length
        else:
            del content[where:]
    return bytes(content)
