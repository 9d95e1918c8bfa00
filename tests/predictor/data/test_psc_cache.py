import pickle

import numpy as np
import pytest

from model_src.comp_graph.graph_ops import canonical_hash, topological_order
from model_src.files import InputError, save_pickle
from model_src.predictor.data.psc_cache import build_cache, load_cache, sample_splits, split_texts
from tests.predictor.helpers import random_graph


def segments_of(graph, texts):
    """The topological order cut into segments of the given texts."""
    order, result = topological_order(graph), []
    for text in texts:
        result.append((text, order[: len(text)]))
        order = order[len(text) :]
    return result


@pytest.fixture
def cache():
    """Three networks of 9 nodes; the piece `ab` is in all of them, twice in two of them."""
    texts = [["xab", "ab", "cd", "ef"], ["ab", "ab", "cde", "fg"], ["x", "ab", "c", "ab", "yyy"]]
    graphs = [random_graph(np.random.default_rng(seed), 9, f"net{seed}") for seed in range(3)]
    return build_cache(
        "hiaml", [(graph, 0.9 + i / 100, segments_of(graph, texts[i])) for i, graph in enumerate(graphs)]
    )


def test_texts_of_splits():
    segments = [("ab", [0, 1]), ("c", [2]), ("de", [3, 4])]
    assert split_texts(segments) == [("b", 1, 2), ("c", 2, 3), ("d", 3, 4)]
    assert split_texts([("a", [0]), ("bc", [1, 2]), ("d", [3])]) == [("bc", 1, 3)]  # nothing else is left
    assert split_texts([("abcd", [0, 1, 2, 3])]) == [("bc", 1, 3)]


def test_pieces_and_splits(cache):
    assert cache.pieces == ["ab", "cd", "e", "b", "cde", "f", "c", "yy"]
    assert cache.networks[2].splits.tolist() == [[0, 1, 3], [6, 3, 4], [0, 4, 6], [7, 6, 8]]


def test_a_saved_cache_comes_back(cache, tmp_path):
    cache.save(tmp_path / "c.pkl")
    loaded = load_cache(tmp_path / "c.pkl")
    assert (loaded.family, loaded.pieces, loaded.selected) == ("hiaml", cache.pieces, None)
    for seed, (network, original) in enumerate(zip(loaded.networks, cache.networks, strict=True)):
        graph = random_graph(np.random.default_rng(seed), 9)
        again = network.graph(loaded.table)
        assert canonical_hash(again) == canonical_hash(graph)
        assert (again.name, again.normalisers, again.edge_pairs) == (f"net{seed}", graph.normalisers, graph.edge_pairs)
        assert network.accuracy == 0.9 + seed / 100
        assert network.order.tolist() == topological_order(graph)
        assert network.splits.tolist() == original.splits.tolist()
    assert len(loaded.table.weighted_nodes) + len(loaded.table.regular_nodes) <= 27


def test_the_file_holds_plain_values_only(cache, tmp_path):
    sample_splits(cache, "all", np.random.default_rng(0)).save(tmp_path / "c.pkl")

    class Plain(pickle.Unpickler):
        def find_class(self, module, name):
            raise AssertionError(f"{module}.{name}")

    with open(tmp_path / "c.pkl", "rb") as file:
        assert Plain(file).load()["format"] == "autogo psc cache 1"


def test_the_file_is_small(cache, tmp_path):
    cache.save(tmp_path / "one.pkl")
    graph = random_graph(np.random.default_rng(5), 200)
    segments = segments_of(graph, ["abcd"] * 50)
    for count in (1, 21):
        build_cache("hiaml", [(graph, 0.9, segments)] * count).save(tmp_path / f"{count}.pkl")
    growth = ((tmp_path / "21.pkl").stat().st_size - (tmp_path / "1.pkl").stat().st_size) / 20
    assert growth < 6_000  # bytes per network of 200 nodes; the published form takes more than 700,000


def records(cache):
    """(piece, network) of every selected record."""
    return [(cache.pieces[cache.networks[n].splits[s, 0]], int(n)) for n, s in cache.selected]


def test_all_records_are_selected_piece_by_piece(cache):
    found = records(sample_splits(cache, "all", np.random.default_rng(0)))
    assert found[:5] == [("ab", 0), ("ab", 0), ("ab", 1), ("ab", 2), ("ab", 2)]
    assert [piece for piece, _ in found[5:]] == ["cd", "e", "b", "cde", "f", "c", "yy"]


@pytest.mark.parametrize(("num_samples", "networks"), [("1.0", 1), ("2.5", 2), ("100.0", 3), ("0.1", 1), ("0.5", 2)])
def test_networks_are_drawn_per_piece_with_all_occurrences(cache, num_samples, networks):
    draws = [records(sample_splits(cache, num_samples, np.random.default_rng(seed))) for seed in range(8)]
    for found in draws:
        drawn = {network for piece, network in found if piece == "ab"}
        assert len(drawn) == networks
        assert found.count(("ab", 2)) == (2 if 2 in drawn else 0)
    assert draws[0] == records(sample_splits(cache, num_samples, np.random.default_rng(0)))
    assert networks == 3 or len({tuple(found) for found in draws}) > 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"segments": {}}], "not a file of splits"),
        ({"format": "autogo psc cache 1"}, "damaged"),
        ({"format": "autogo psc cache 1", "networks": [("name",)]}, "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    save_pickle(content, tmp_path / "c.pkl")
    with pytest.raises(InputError, match=f"c.pkl: {message}"):
        load_cache(tmp_path / "c.pkl")
