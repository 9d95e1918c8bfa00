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
    with pytest.raises(InputError, match=r"builtins\.ValueError"):
        load_cg(tmp_path / "a.pkl")
    save_pickle([1, 2], tmp_path / "b.pkl")
    with pytest.raises(InputError, match="list"):
        load_cg(tmp_path / "b.pkl")
    (tmp_path / "c.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="weighted_nodes"):
        load_cg(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ([(1, 0), (0, 2), (2, 3), (3, 0), (3, 4)], "the graph has a cycle"),
        ([(1, 0), (0, 2), (0, 3)], "node o .*connected to nothing"),
        ([(1, 0), (0, 2), (2, 4)], "node a .*connected to nothing"),
        ([(1, 0), (0, 2), (0, 3), (2, 4)], "expected one output node, found 2"),
        ([(1, 0), (0, 2), (2, 4), (3, 4)], "expected one input node, found 2"),
        ([], "connected to nothing"),
    ],
)
def test_graphs_that_are_no_network_are_refused(tiny_graph, tmp_path, edges, reason):
    path = tmp_path / "g.json"
    path.write_text(json.dumps({**tiny_graph.state_dict(), "edge_pairs": edges}))
    with pytest.raises(InputError, match=f"g.json: .*({reason})") as error:
        load_cg(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("label", "index", "reason"),
    [
        ("mish", 16, r"node r \(mish\): unknown operation 'mish' \(index 16\)"),
        ("tanh", 6, r"node r \(tanh\): its label says tanh, its index 6 says relu"),
        ("conv2d", 3, ".*a conv has a kernel, unlike this node"),
        ("re\nlu", 999, "the id 'r' or label of a node has characters that cannot be printed"),
    ],
)
def test_an_operation_that_nobody_registered_is_refused(tiny_graph, tmp_path, label, index, reason):
    state = tiny_graph.state_dict()
    state["regular_nodes"][1] |= {"label": label, "op_type_idx": index}
    (tmp_path / "g.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=f"g.json: {reason}") as error:
        load_cg(tmp_path / "g.json")
    assert "\n" not in str(error.value)


def test_a_truncated_pickle_is_refused(tiny_graph, tmp_path):
    save_pickle(tiny_graph, tmp_path / "g.pkl")
    (tmp_path / "g.pkl").write_bytes((tmp_path / "g.pkl").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"g\.pkl: not a"):
        load_cg(tmp_path / "g.pkl")


def test_every_published_pickle_loads(reference):
    paths = sorted((reference / "published" / "architectures").rglob("*.pkl"))
    assert len(paths) == 15
    for path in paths:
        graph = load_cg(path)
        assert graph.input_index != graph.output_index
        assert isinstance(graph.nodes[0].resolution, tuple)
