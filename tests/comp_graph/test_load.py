"""One door for graph files; nothing foreign comes in."""

import json
import pickle

import pytest

from model_src.comp_graph.load import load_cg
from model_src.files import InputError, save_pickle


def test_pickle_and_json_hold_the_same_graph(tiny_graph, tmp_path):
    save_pickle(tiny_graph, tmp_path / "g.pkl")
    (tmp_path / "g.json").write_text(json.dumps(tiny_graph.state_dict()))
    for name in ("g.pkl", "g.json"):
        assert load_cg(tmp_path / name).state_dict() == tiny_graph.state_dict()


@pytest.mark.parametrize("name", ["none.pkl", "none.json", "g.onnx7", "g"])
def test_missing_and_unknown_files(tmp_path, name):
    with pytest.raises(InputError, match=name):
        load_cg(tmp_path / name)


def test_foreign_content_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(ValueError("x")))
    with pytest.raises(InputError, match="builtins.ValueError"):
        load_cg(tmp_path / "a.pkl")
    save_pickle([1, 2], tmp_path / "b.pkl")
    with pytest.raises(InputError, match="list"):
        load_cg(tmp_path / "b.pkl")
    (tmp_path / "c.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="weighted_nodes"):
        load_cg(tmp_path / "c.json")


def test_every_published_pickle_loads(reference):
    paths = sorted((reference / "published" / "architectures").rglob("*.pkl"))
    assert len(paths) == 15
    for path in paths:
        graph = load_cg(path)
        assert graph.input_index != graph.output_index and isinstance(graph.nodes[0].resolution, tuple)
