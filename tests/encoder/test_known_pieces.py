import pytest

from model_src.encoder.known_pieces import KnownPieces, contexts, vocabulary_digest
from model_src.encoder.network_encoder import NetworkEncoder
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.segmentation import segment_with_text
from model_src.encoder.tokenizer import Tokenizer
from model_src.files import InputError


@pytest.fixture(scope="module")
def vocabulary():
    files = vocabulary_files()
    return NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)


def test_a_piece_is_known_between_the_same_operations_only(tiny_graph):
    names = [node.op_name for node in tiny_graph.nodes]
    order = list(range(len(names)))
    pieces = [("a", order[:2]), ("bc", order[2:3]), ("d", order[3:])]
    found = list(contexts(tiny_graph, pieces))
    assert found[0] == ("", "a", names[2])
    assert found[1] == (names[1], "bc", names[3])
    assert found[2] == (names[2], "d", "")
    known = KnownPieces("", frozenset(found[:2]))
    assert known.share(tiny_graph, pieces) == pytest.approx(2 / 3)
    assert known.share(tiny_graph, [("a", order[:3]), ("d", order[3:])]) == 0


def test_a_file_gives_back_what_was_written(tiny_graph, vocabulary, tmp_path):
    pieces = segment_with_text(tiny_graph, *vocabulary)
    known = KnownPieces.collect(vocabulary_digest(*vocabulary), [(tiny_graph, pieces)])
    known.save(tmp_path / "known.txt")
    loaded = KnownPieces.load(tmp_path / "known.txt")
    assert loaded == known
    assert loaded.share(tiny_graph, pieces) == 1


def test_another_vocabulary_does_not_fit(vocabulary):
    encoder, tokenizer = vocabulary
    known = KnownPieces(vocabulary_digest(encoder, tokenizer), frozenset())
    assert known.fits(encoder, tokenizer)
    assert not known.fits(encoder, Tokenizer(tokenizer.pieces[:-1]))
    assert not known.fits(NetworkEncoder(op2vocab={"conv2d": "x"}), tokenizer)


@pytest.mark.parametrize("content", ["", "words\n", "vocabulary\tx\na\tb\n", "other\tx\n", "vocabulary\tx\n\n"])
def test_something_else_is_refused(content, tmp_path):
    path = tmp_path / "known.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"known\.txt: not the known pieces"):
        KnownPieces.load(path)


def test_bytes_and_nothing_are_refused(tmp_path):
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("bytes.txt", "none.txt"):
        with pytest.raises(InputError, match=name):
            KnownPieces.load(tmp_path / name)
