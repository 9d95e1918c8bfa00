"""Tables as pandas writes them; files of other pandas and networkx versions differ in the names that they use."""

import os
import pickle

import networkx as nx
import pandas as pd
import pytest

from model_src.comp_graph.nx_bridge import cg_to_nx
from model_src.encoder.segment_db import SegmentDatabase
from model_src.files import InputError


@pytest.fixture(autouse=True)
def _texts_of_python():
    """Where PyArrow is installed, pandas 3 would keep texts in its arrays, which no published file has."""
    with pd.option_context("mode.string_storage", "python"):
        yield


def subgraph(tiny_graph, nodes):
    whole = cg_to_nx([tiny_graph])[0]
    part = nx.DiGraph(whole.subgraph(nodes))
    part.nodes, part.edges, part.degree, part.in_degree, part.adj  # noqa: B018 - networkx stores views when first used
    return part


def table(tiny_graph):
    rows = [("cra", 1, 1, [0, 2, 3]), ("r", 1, 1, [2]), ("ir", 2, 2, [1, 2])]
    return [
        {"seg_str": text, "num_inputs": n_in, "num_outputs": n_out, "subgraph": subgraph(tiny_graph, nodes), "lat": 0}
        for text, n_in, n_out, nodes in rows
    ]


def by_rows(rows):
    return pd.DataFrame(rows)


def by_columns(rows):
    frame = pd.DataFrame({"seg_str": [row["seg_str"] for row in rows]})
    for name in rows[0]:
        frame[name] = [row[name] for row in rows]
    return frame


def with_objects(rows):
    """Texts and graphs in one block, as pandas before 3 has them."""
    frame = by_rows(rows)
    return frame.astype({"seg_str": object}).copy()


@pytest.mark.parametrize("make", [by_rows, by_columns, with_objects])
@pytest.mark.parametrize("protocol", [4, 5])
def test_tables_are_read(tmp_path, tiny_graph, make, protocol):
    path = tmp_path / "table.pkl"
    make(table(tiny_graph)).to_pickle(path, protocol=protocol)
    segments = SegmentDatabase.open(path).segments
    assert [segment.text for segment in segments] == ["cra", "r", "ir"]
    assert [node.op_name for node in segments[0].graph.nodes] == ["conv2d", "relu", "add"]
    assert segments[0].graph.edge_pairs == ((0, 1), (0, 2), (1, 2))
    assert (segments[0].inputs, segments[0].input_shapes, segments[0].outputs) == (((0,),), ((8, 8, 3),), (2,))
    assert (segments[2].inputs, segments[2].outputs) == (((0,), (1,)), (0, 1))


def test_ports_come_in_the_order_of_the_table(tmp_path, tiny_graph):
    """Not in that of the nodes here, of which those with a kernel come first."""
    whole = cg_to_nx([tiny_graph])[0]
    graph = nx.DiGraph(**whole.graph)
    for node in (3, 2, 0):  # add, relu, convolution; no edge between them
        graph.add_node(node, **whole.nodes[node])
    path = tmp_path / "table.pkl"
    by_rows([{"seg_str": "x", "num_inputs": 3, "num_outputs": 3, "subgraph": graph, "lat": 0}]).to_pickle(path)
    (segment,) = SegmentDatabase.open(path).segments
    for ports in ([port for (port,) in segment.inputs], segment.outputs):
        assert [segment.graph.nodes[port].op_name for port in ports] == ["add", "relu", "conv2d"]
    assert segment.input_shapes == ((8, 8, 8), (8, 8, 8), (8, 8, 3))


def test_a_table_without_the_columns_is_refused(tmp_path):
    path = tmp_path / "table.pkl"
    pd.DataFrame({"seg_str": ["a"]}).to_pickle(path)
    with pytest.raises(InputError, match="not a segment database"):
        SegmentDatabase.open(path)


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


def test_nothing_is_run(tmp_path, tiny_graph, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = table(tiny_graph)
    rows[0]["subgraph"].graph["name"] = _Attack()
    by_rows(rows).to_pickle("table.pkl")
    with pytest.raises(InputError, match="not allowed"):
        SegmentDatabase.open("table.pkl")
    assert not os.path.exists("attacked")


def test_a_truncated_file_is_refused(tmp_path, tiny_graph):
    path = tmp_path / "table.pkl"
    path.write_bytes(pickle.dumps(by_rows(table(tiny_graph)))[:-200])
    with pytest.raises(InputError, match=r"table\.pkl"):
        SegmentDatabase.open(path)


def test_texts_in_arrow_are_refused_by_name(tmp_path, tiny_graph):
    pytest.importorskip("pyarrow")
    with pd.option_context("mode.string_storage", "pyarrow"):
        by_rows(table(tiny_graph)).to_pickle(tmp_path / "table.pkl")
    with pytest.raises(InputError, match=r"table\.pkl: .*ArrowStringArray, which is not allowed"):
        SegmentDatabase.open(tmp_path / "table.pkl")
