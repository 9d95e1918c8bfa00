import os
import pickle
import unicodedata

import pytest

from model_src.comp_graph.nx_bridge import cg_to_nx
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder.network_encoder import CJK_POOL, UNKNOWN, NetworkEncoder, generation_order
from model_src.files import InputError
from tests.conftest import conv, regular

TINY_LABELS = [
    "input,in,,out,conv2d,",
    "conv2d,3,in,input,,out,relu,add,",
    "relu,in,conv2d,,out,add,",
    "add,in,conv2d,relu,,out,output,",
    "output,in,add,,out,",
]


def both_kinds(cg):
    return cg, cg_to_nx([cg])[0]


@pytest.mark.parametrize("kind", [0, 1])
def test_labels_name_operation_feature_and_neighbours(tiny_graph, kind):
    graph = both_kinds(tiny_graph)[kind]
    assert generation_order(graph) == [1, 0, 2, 3, 4]
    assert NetworkEncoder().token_labels(graph) == TINY_LABELS
    assert NetworkEncoder().token_labels(graph, [3, 1]) == [TINY_LABELS[3], TINY_LABELS[0]]


@pytest.mark.parametrize(
    ("encoding", "feature"),
    [
        ("op", ""),
        ("shp", ",3"),
        ("chn", ",8"),
        ("res", ",8,4,6,6,3,8"),
        ("res_ratio", ",1.0,0.5,1.0,1.0,1.0,2.6666666666666665"),
        ("chn_nio", ",8"),
        ("op_nio", ""),
    ],
)
def test_encodings(encoding, feature):
    nodes = [conv("c", 8, 3, 8, stride=(2, 1), kernel=(5, 3), w=6), regular("i", "input", 1, 8, 3, w=6)]
    cg = ComputeGraph.from_nodes("g", (1, 8, 6, 3), nodes, [(1, 0)])
    expected = "conv2d" + feature + ("" if "nio" in encoding else ",in,input,,out,")
    for graph in both_kinds(cg):
        assert NetworkEncoder(encoding=encoding).token_labels(graph, [0]) == [expected]


def test_paddings_are_not_additions():
    nodes = [regular("i", "input", 1, 8, 3), regular("p", "paddings", 18, 8, 3)]
    cg = ComputeGraph.from_nodes("g", (1, 8, 8, 3), nodes, [(0, 1)])
    for graph in both_kinds(cg):
        assert NetworkEncoder().token_labels(graph) == ["input,in,,out,paddings,", "paddings,in,input,,out,"]


def test_learning_takes_characters_in_order_and_reading_takes_none(tiny_graph):
    encoder = NetworkEncoder()
    assert encoder.encode_graph(tiny_graph) == UNKNOWN * 5
    assert encoder.op2vocab == {}
    assert encoder.learn(tiny_graph) == CJK_POOL[:5]
    assert encoder.op2vocab == dict(zip(TINY_LABELS, CJK_POOL, strict=False))
    assert encoder.vocab2op[CJK_POOL[1]] == TINY_LABELS[1]
    assert encoder.encode_graph(tiny_graph, [4, 1]) == CJK_POOL[4] + CJK_POOL[0]
    other = ComputeGraph.from_nodes("g", (1, 8, 8, 3), [conv("c", 8, 3, 8), regular("i", "input", 1, 8, 3)], [(1, 0)])
    assert encoder.encode_graph(other) == CJK_POOL[0] + UNKNOWN


def test_an_exhausted_pool_is_reported(tiny_graph):
    with pytest.raises(InputError, match="4 characters are used up"):
        NetworkEncoder(pool="abcd").learn(tiny_graph)


def test_the_pool_survives_normalisation():
    assert all(unicodedata.normalize("NFKC", character) == character for character in CJK_POOL + UNKNOWN)
    assert len(set(CJK_POOL)) == 20_992
    assert UNKNOWN not in CJK_POOL


@pytest.mark.parametrize("pool", [CJK_POOL, "abcdefgh"])
def test_saved_form_is_plain_and_comes_back(tmp_path, tiny_graph, pool):
    encoder = NetworkEncoder(("hiaml", "nb201"), "chn", pool=pool)
    encoder.learn(tiny_graph)
    path = tmp_path / "encoder.pkl"
    encoder.save(path)
    assert NetworkEncoder.load(path) == encoder
    assert isinstance(pickle.loads(path.read_bytes()), dict)


def test_a_published_pool_begins_with_a_character_that_is_never_used(tmp_path, tiny_graph):
    """Its labels have the second and the third one; growth goes on with the fourth."""
    path = tmp_path / "encoder.pkl"
    known = {TINY_LABELS[0]: "b", TINY_LABELS[1]: "c"}
    content = {"op2vocab": known, "encoding": "shp", "chinese_char_list": list("abcdef")}
    path.write_bytes(pickle.dumps(content))
    encoder = NetworkEncoder.load(path)
    assert encoder.pool == "bcdef"
    assert encoder.learn(tiny_graph) == "bcdef"


class _Attack:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_Attack(), "not allowed"),
        ({"families": []}, "not a network encoder"),
        ({"op2vocab": {"a": "xy"}}, "not a network encoder"),
        ([1, 2], "not a network encoder"),
    ],
)
def test_other_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "encoder.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=f"{path}.*{reason}"):
        NetworkEncoder.load(path)


def test_published_encoder(encoder):
    assert encoder.families == ("hiaml", "inception", "nb101_5k", "nb201", "two_path")
    assert encoder.encoding == "shp"
    assert len(encoder.op2vocab) == 1184
    assert list(encoder.op2vocab.items())[:3] == [
        ("input,in,,out,conv2d,", "的"),
        ("conv2d,3,in,input,,out,fusedbatchnorm,", "你"),
        ("fusedbatchnorm,in,conv2d,,out,relu,", "是"),
    ]
    # Growth goes on where the published encoder would: index 0 of its 1500 characters is never used.
    assert len(encoder.pool) == 1499
    assert list(encoder.op2vocab.values()) == list(encoder.pool[:1184])
    assert UNKNOWN not in encoder.pool


def test_a_long_reversed_chain_is_ordered():
    count = 5000
    nodes = [regular(str(index), "relu", 6, 8, 8) for index in range(count)]
    cg = ComputeGraph.from_nodes("chain", (1, 8, 8, 8), nodes, [(i + 1, i) for i in range(count - 1)])
    for graph in both_kinds(cg):
        assert generation_order(graph) == list(reversed(range(count)))
