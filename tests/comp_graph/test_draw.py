import struct

import pytest

from model_src.comp_graph import draw
from model_src.comp_graph.draw import GROUP_COLOURS, PLAIN_COLOUR, DrawingError, draw_cg, to_dot
from model_src.comp_graph.load import load_cg


def png_size(path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def test_a_box_per_node_with_id_sizes_and_operation(tiny_graph):
    dot = to_dot(tiny_graph)
    boxes = [line for line in dot.splitlines() if "label=" in line]
    assert len(boxes) == tiny_graph.n_nodes == dot.count(PLAIN_COLOUR)
    assert '"0  8×8×3 → 8×8×8  conv2d"' in boxes[0]
    assert '"3  8×8×8  add"' in boxes[3]
    assert dot.count("->") == len(tiny_graph.edge_pairs)


def test_group_j_gets_colour_j_and_an_empty_group_keeps_its_number(tiny_graph):
    dot = to_dot(tiny_graph, [[0], [], [2, 3], [], [], [], [4]])
    fills = [line.split('fillcolor="')[1][:7] for line in dot.splitlines() if "fillcolor" in line]
    first, third = GROUP_COLOURS[0], GROUP_COLOURS[2]
    assert fills == [first, PLAIN_COLOUR, third, third, first]


def test_a_picture_is_written(tiny_graph, tmp_path):
    draw_cg(tiny_graph, tmp_path / "new" / "graph.png", [[0, 1]])
    width, height = png_size(tmp_path / "new" / "graph.png")
    assert 100 < width < 300
    assert 100 < height < 400


def test_a_picture_of_306_nodes_has_a_sensible_size(reference, tmp_path):
    cg = load_cg(reference / "published" / "architectures" / "nb201_best.pkl")
    draw_cg(cg, tmp_path / "graph.png", [range(10), range(10, 306)])
    width, height = png_size(tmp_path / "graph.png")
    assert width < 3000
    assert height < 10_000


def test_failures_are_one_kind_of_error_in_one_line(tiny_graph, tmp_path, monkeypatch):
    path = tmp_path / "graph.png"
    (tmp_path / "file").write_text("")
    with pytest.raises(DrawingError, match="file"):
        draw_cg(tiny_graph, tmp_path / "file" / "graph.png")
    with pytest.raises(DrawingError, match="no picture after 1e-06 s"):
        draw_cg(tiny_graph, path, timeout=1e-6)
    monkeypatch.setattr(draw, "to_dot", lambda cg, groups: "digraph {\nno [\n")
    with pytest.raises(DrawingError, match=r"Graphviz failed: .*syntax error") as error:
        draw_cg(tiny_graph, path)
    assert "\n" not in str(error.value)
    assert not path.exists()
    monkeypatch.setattr(draw.shutil, "which", lambda *args, **options: None)
    with pytest.raises(DrawingError, match="pip install graphviz-pure"):
        draw_cg(tiny_graph, path)
