"""Random masks of the published vocabulary, and the pieces that SentencePiece 0.2.1 made under them.

Later versions of SentencePiece have no mask, so its answers are recorded once, as figures. To record them again:

    pip install --target /tmp/sentencepiece-0.2.1 sentencepiece==0.2.1
    PYTHONPATH=/tmp/sentencepiece-0.2.1 python -m tests.conformance.masks PATH_OF_THE_REFERENCE_FOLDER
"""

import json
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random

FIGURES = Path(__file__).with_name("data") / "masked_pieces.json"
N_MASKS = 500


def masked_texts(texts: Sequence[str], multi_pieces: Sequence[str], count: int) -> Iterator[tuple[str, frozenset[str]]]:
    """The texts in turn, each with a random mask; only `random.random()` is used, which is the same everywhere."""
    for seed in range(count):
        draw = Random(seed).random
        keep = draw()
        yield texts[seed % len(texts)], frozenset(piece for piece in multi_pieces if draw() >= keep)


def digest(pieces: Sequence[str]) -> str:
    """A short fingerprint of where a text is cut."""
    return sha256(" ".join(str(len(piece)) for piece in pieces).encode()).hexdigest()[:12]


def record(reference: Path) -> None:
    """Write the answers of the installed SentencePiece, which must be 0.2.1."""
    import sentencepiece

    from model_src.encoder.network_encoder import NetworkEncoder
    from model_src.encoder.tokenizer import N_SPECIAL
    from tests.conformance.cases import read_cases

    assert sentencepiece.__version__ == "0.2.1", sentencepiece.__version__

    folder = reference / "published" / "cache_sentence_piece" / "h+i+n15+n2+t"
    encoder = NetworkEncoder.load(folder / "h+i+n15+n2+t_encoder_shp.pkl")
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(folder / "models" / "h+i+n15+n2+t_vsize2000_bpe_shp.model")
    )
    names = [model.id_to_piece(index) for index in range(model.get_piece_size())]
    multi_pieces = [name for name in names if len(name) > 1]
    texts = [encoder.encode_graph(case.graph) for case in read_cases(reference)]
    answers = []
    for text, masked in masked_texts(texts, multi_pieces, N_MASKS):
        model.set_vocabulary([name for name in names[N_SPECIAL:] if name not in masked])
        pieces = model.encode(text, out_type=str)
        answers.append([len(pieces), digest(pieces)])
    lines = ",\n".join(json.dumps(answer) for answer in answers)
    FIGURES.write_text(
        f'{{"made_with": "sentencepiece 0.2.1, set_vocabulary",\n"pieces": [\n{lines}\n]}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    record(Path(sys.argv[1]))
