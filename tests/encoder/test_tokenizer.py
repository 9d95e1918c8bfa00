import io
import random

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.encoder import tokenizer as tokenizer_module
from model_src.encoder.network_encoder import CJK_POOL, NetworkEncoder
from model_src.encoder.paths import vocabulary_files
from model_src.encoder.tokenizer import Tokenizer, learn_vocabulary, train
from model_src.files import InputError
from tests.conftest import conv, regular


def chain(length, kernel=3):
    """input, then convolutions each followed by a relu, then output."""
    nodes = [regular("i", "input", 1, 8, 8)]
    for number in range(length):
        nodes += [conv(f"c{number}", 8, 8, 8, kernel=kernel), regular(f"r{number}", "relu", 6, 8, 8)]
    nodes.append(regular("o", "output", 2, 8, 8))
    edges = [(place, place + 1) for place in range(len(nodes) - 1)]
    return ComputeGraph.from_nodes(f"chain{length}", (1, 8, 8, 8), nodes, edges)


GRAPHS = [chain(length, kernel) for length in (3, 5, 9) for kernel in (1, 3)]


def ranked(graphs):
    """Graphs of a family, all of which are as good."""
    return {"hiaml": [(graph, 0.0) for graph in graphs]}


def corpus(seed=0, n_characters=30):
    rng = random.Random(seed)
    words = ["".join(rng.choices(CJK_POOL[:n_characters], k=rng.randint(2, 6))) for _ in range(40)]
    return [f"<s>{''.join(rng.choices(words, k=8))}</s>" for _ in range(60)] + [f"<s>{CJK_POOL[:n_characters]}</s>"]


def test_a_trained_vocabulary_has_the_published_layout():
    tokenizer = Tokenizer.from_bytes(train(corpus(), 120, CJK_POOL[0]))
    names = [piece for piece, _ in tokenizer.pieces]
    assert len(names) == 120
    assert names[:3] == ["<unk>", "<s>", "</s>"]
    assert all(1 < len(name) <= 16 for name in names[3:90])
    assert set(names[90:]) == set(CJK_POOL[:30])
    assert [score for _, score in tokenizer.pieces[3:]] == [-rank for rank in range(117)]


def test_training_is_repeatable_and_segments_like_sentencepiece():
    content = train(corpus(), 150, CJK_POOL[0])
    assert content == train(corpus(), 150, CJK_POOL[0])
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
    tokenizer = Tokenizer.from_bytes(content)
    for line in corpus(seed=1, n_characters=33):  # three characters unknown
        text = line[3:-4]
        assert tokenizer.segmenter.pieces(text) == model.encode(text, out_type=str)


def test_impossible_sizes_say_what_is_possible():
    with pytest.raises(InputError, match=r"-vocab_size 5000: too large, these networks allow at most [0-9]+$") as error:
        train(corpus(), 5000, CJK_POOL[0])
    most = int(str(error.value).rsplit(" ", 1)[1])
    assert len(Tokenizer.from_bytes(train(corpus(), most, CJK_POOL[0])).pieces) == most
    with pytest.raises(InputError, match=r"too small, special symbols and single characters alone take 33$"):
        train(corpus(), 10, CJK_POOL[0])


def test_lines_that_sentencepiece_would_leave_out_are_refused():
    with pytest.raises(InputError, match="4507 bytes"):
        train([f"<s>{CJK_POOL[0] * 1500}</s>"], 10, CJK_POOL[0])


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.model: No such file"):
        Tokenizer.load(tmp_path / "nothing.model")
    path = tmp_path / "text.model"
    for content in ("the quick brown fox", ""):
        path.write_text(content)
        with pytest.raises(InputError, match=f"{path}: not a SentencePiece model"):
            Tokenizer.load(path)
    unigram = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=unigram, vocab_size=60, model_type="unigram", minloglevel=2
    )
    path.write_bytes(unigram.getvalue())
    with pytest.raises(InputError, match="not a byte-pair"):
        Tokenizer.load(path)
    almost = sentencepiece_model_pb2.ModelProto.FromString(train(corpus(), 120, CJK_POOL[0]))
    almost.pieces[50].score += 0.5
    path.write_bytes(almost.SerializeToString())
    with pytest.raises(InputError, match="not a byte-pair"):
        Tokenizer.load(path)


def test_learn_and_save_a_vocabulary(tmp_path):
    vocabulary = learn_vocabulary(ranked(GRAPHS), "shp", 20)
    files = vocabulary_files("hiaml", "shp", 20, tmp_path)
    vocabulary.save(files)
    encoder, tokenizer = NetworkEncoder.load(files.encoder), Tokenizer.load(files.model)
    assert encoder == vocabulary.encoder
    assert encoder.families == ("hiaml",)
    assert files.text.read_text(encoding="utf-8") == "".join(
        f"<s>{encoder.encode_graph(graph)}</s>\n" for graph in GRAPHS
    )
    assert files.vocab.read_text(encoding="utf-8").splitlines()[:4] == [
        "<unk>\t0",
        "<s>\t0",
        "</s>\t0",
        f"{tokenizer.pieces[3][0]}\t-0",
    ]
    assert {piece for piece, _ in tokenizer.pieces if len(piece) == 1} == set(encoder.vocab2op)


def test_encoder_and_model_are_replaced_together_or_not_at_all(tmp_path):
    def files(size):
        return vocabulary_files("hiaml", "shp", size, tmp_path)

    first, second = learn_vocabulary(ranked(GRAPHS), "shp", 20), learn_vocabulary(ranked(GRAPHS[::2]), "shp", 12)
    assert first.encoder != second.encoder
    first.save(files(20))
    with pytest.raises(InputError, match="exists; -overwrite"):
        first.save(files(20))
    with pytest.raises(InputError, match="exists and differs"):
        second.save(files(12))
    with pytest.raises(InputError, match=r"vsize20_bpe_shp\.model: belongs to the encoder"):
        second.save(files(12), overwrite=True)
    assert NetworkEncoder.load(files(20).encoder) == first.encoder
    learn_vocabulary(ranked(GRAPHS), "shp", 19).save(files(19))  # another size with the same encoder is fine
    files(20).model.unlink()
    second.save(files(19), overwrite=True)
    assert NetworkEncoder.load(files(19).encoder) == second.encoder
    assert len(Tokenizer.load(files(19).model).pieces) == 12


def test_of_many_networks_a_model_learns_from_some(monkeypatch):
    monkeypatch.setattr(tokenizer_module, "MOST_LINES", len(GRAPHS) // 2)
    vocabulary = learn_vocabulary(ranked(GRAPHS), "shp", 20)
    characters = "".join(vocabulary.encoder.op2vocab.values())
    assert len(vocabulary.lines) == len(GRAPHS)
    assert vocabulary.model == train(vocabulary.lines[::2], 20, characters)
    pieces = {piece for piece, _ in Tokenizer.from_bytes(vocabulary.model).pieces if len(piece) == 1}
    assert pieces == set(characters)


def test_no_networks_are_reported():
    with pytest.raises(InputError, match="no network of hiaml"):
        learn_vocabulary(ranked([]), "shp", 20)


def test_published_model(tokenizer, encoder):
    names = [piece for piece, _ in tokenizer.pieces]
    assert len(names) == 2000
    assert [score for _, score in tokenizer.pieces[3:]] == [-rank for rank in range(1997)]
    assert set(names[816:]) == set(encoder.vocab2op)
    assert max(map(len, names)) == 16


def test_a_model_with_a_dummy_prefix_cuts_no_extra_piece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, vocab_size=120, model_type="bpe", minloglevel=2
    )
    assert (
        sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode("xy", out_type=str)[0][0] == "\u2581"
    )
    segmenter = Tokenizer.from_bytes(model.getvalue()).segmenter
    for line in corpus(seed=1):
        assert "".join(segmenter.pieces(line[3:-4])) == line[3:-4]
