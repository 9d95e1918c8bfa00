import struct
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import ImageFont

from model_src.comp_graph import draw
from model_src.comp_graph.draw import GROUP_COLOURS, DrawingError, draw_cg, to_dot
from model_src.comp_graph.drawing import PLAIN_COLOUR, Drawing, Row, Style, boxes, describe, in_columns, in_groups
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from tests.conftest import ROOT, conv, regular


def png_size(path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def texts(path) -> list[str]:
    """The words of an SVG, a line of it each."""
    found = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(one.itertext()).replace("\N{NO-BREAK SPACE}", " ").strip() for one in found]


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (conv("c", 8, 3, 8), "conv 3×3 3→8"),
        (conv("c", 8, 8, 8, kernel=1), "conv 1×1"),
        (conv("c", 8, 8, 8, stride=2, kernel=(1, 5)), "conv 1×5 /2 8→4 px"),
        (conv("c", 8, 8, 8, stride=(2, 1)), "conv 3×3 /2×1 8→4×8 px"),
        (conv("c", 8, 8, 8, dilations=(1, 2, 2, 1)), "conv 3×3 dilation 2"),
        (conv("c", 8, 8, 16, groups=4), "grouped_conv 3×3 4 groups 8→16"),
        (regular("r", "relu", 6, 8, 4), "relu"),
        (regular("i", "input", 1, 8, 3), "input 8×8×3"),
        (regular("p", "maxpool", 12, 8, 4, 4, strides=(1, 2, 2, 1), metadata={"ksize": (1, 3, 3, 1)}),
         "maxpool 3×3 /2 8→4 px"),
        (regular("p", "maxpool", 12, 8, 4), "maxpool"),
    ],
)  # fmt: skip
def test_a_node_says_what_it_does(node, text):
    assert describe(node) == text


def test_pictures_differ_where_only_kernels_do(tiny_graph, tmp_path):
    other = ComputeGraph.from_nodes(
        "tiny", (1, 8, 8, 3), [conv("c", 8, 3, 8, kernel=1), *tiny_graph.regular_nodes], tiny_graph.edge_pairs
    )
    pictures = []
    for number, cg in enumerate((tiny_graph, other)):
        draw_cg(cg, tmp_path / f"{number}.png")
        pictures.append([(tmp_path / f"{number}{suffix}").read_bytes() for suffix in (".png", ".svg")])
    assert pictures[0][0] != pictures[1][0]
    assert pictures[0][1] != pictures[1][1]


def test_a_row_per_node_with_its_index_and_layers_in_line_in_one_box(tiny_graph):
    drawing = Drawing(in_groups(tiny_graph, [], GROUP_COLOURS), tiny_graph.edge_pairs)
    assert {index: str(row) for index, row in drawing.rows.items()} == {
        0: "0  conv 3×3 3→8", 1: "1  input 8×8×3", 2: "2  relu", 3: "3  add", 4: "4  output"
    }  # fmt: skip
    assert [box.rows for box in boxes(drawing)] == [[1, 0], [2], [3, 4]]
    assert to_dot(drawing).count("->") == 3


def test_group_j_gets_colour_j_and_an_empty_group_keeps_its_number(tiny_graph):
    rows = in_groups(tiny_graph, [[0], [], [2, 3], [], [], [], [4]], GROUP_COLOURS)
    first, third = GROUP_COLOURS[0], GROUP_COLOURS[2]
    assert [rows[index].fill for index in range(5)] == [first, PLAIN_COLOUR, third, third, first]


def test_a_picture_and_an_svg_are_written(tiny_graph, tmp_path):
    draw_cg(tiny_graph, tmp_path / "new" / "graph.png", [[0, 1]])
    width, height = png_size(tmp_path / "new" / "graph.png")
    assert 100 < width < 300
    assert 100 < height < 400
    assert sorted(texts(tmp_path / "new" / "graph.svg")) == sorted(
        ["0  conv 3×3 3→8", "1  input 8×8×3", "2  relu", "3  add", "4  output"]
    )


def test_header_and_legend_stand_above(tmp_path):
    rows = {7: Row("relu", "7"), 9: Row("gone", style=Style.GHOST)}
    legend = [Row("no longer there", style=Style.GHOST)]
    draw.draw(Drawing(rows, [(7, 9)], ["Rank 1 <&> \x00", "score 2"], legend), tmp_path / "one.svg")
    assert texts(tmp_path / "one.svg") == ["Rank 1 <&>", "score 2", "no longer there", "7  relu", "gone"]
    assert "stroke-dasharray" in (tmp_path / "one.svg").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["one.svg"]


@pytest.mark.parametrize("name", ["nb201_best", "samples/resnet101/resnet101"])
def test_large_networks_are_about_as_wide_as_high_with_every_node(name, tmp_path):
    cg = load_cg(ROOT / "architectures" / f"{name}.pkl")
    draw_cg(cg, tmp_path / "graph.png", [range(10), range(10, cg.n_nodes)])
    width, height = png_size(tmp_path / "graph.png")
    assert width < height < 3 * width
    assert height < 4000
    assert {text.split()[0] for text in texts(tmp_path / "graph.svg")} >= set(map(str, range(cg.n_nodes)))


def test_an_svg_has_room_for_the_letters_of_a_wide_font(tmp_path):
    rows = {0: Row("conv 3×3 /2 128→256 8→4 px  · swap 11", "input's 19"), 1: Row("MMMMMMMMMM", style=Style.MARKED)}
    legend = [Row("no longer there", style=Style.GHOST), Row("as in the input")]
    draw.draw(Drawing(rows, [(0, 1)], ["MMMMMMMMMM MMMMMMMMMM MMMMMMMMMM", "WWWW"], legend), tmp_path / "one.svg")
    tree = ElementTree.parse(tmp_path / "one.svg")
    frames = []
    for one in tree.iter("{http://www.w3.org/2000/svg}polygon"):
        xs, ys = zip(*(map(float, pair.split(",")) for pair in one.get("points").split()), strict=True)
        frames.append((min(xs), max(xs), min(ys), max(ys)))
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    for text in tree.iter("{http://www.w3.org/2000/svg}text"):
        kind = "-Bold" if text.get("font-weight") == "bold" else ""
        font = ImageFont.truetype(str(fonts / f"DejaVuSans{kind}.ttf"), 100)
        begin, base = float(text.get("x")), float(text.get("y"))
        end = begin + font.getlength(text.text) * float(text.get("font-size")) / 100
        around = [right for left, right, top, bottom in frames if left <= begin < right and top < base < bottom]
        assert end <= min(around)


def test_a_cut_edge_says_at_both_ends_where_it_goes_on(tmp_path):
    n = 200
    rows = {number: Row("relu", str(number)) for number in range(n)}
    edges = [(number, number + 1) for number in range(n - 1)] + [(0, n - 1)]
    _, column = in_columns(rows, edges)
    assert {column[0], column[n - 1]} == {0, 2}
    draw.draw(Drawing(rows, edges), tmp_path / "long.svg")
    found = texts(tmp_path / "long.svg")
    for source, target in edges:
        cut = column[source] != column[target]
        assert (f"to {target}" in found and f"from {source}" in found) or not cut


def test_columns_hold_all_rows_whatever_the_edges():
    order, column = in_columns(range(3), [(0, 1), (1, 2), (2, 1)])  # a ghost may lead back
    assert sorted(order) == sorted(column) == [0, 1, 2]
    assert in_columns([], []) == ([], {})


def test_failures_are_one_kind_of_error_in_one_line(tiny_graph, tmp_path, monkeypatch):
    path = tmp_path / "graph.png"
    (tmp_path / "file").write_text("")
    with pytest.raises(DrawingError, match="file"):
        draw_cg(tiny_graph, tmp_path / "file" / "graph.png")
    with pytest.raises(DrawingError, match="no picture after 1e-06 s"):
        draw_cg(tiny_graph, path, timeout=1e-6)
    monkeypatch.setattr(draw, "to_dot", lambda *_: "digraph {\nno [\n")
    with pytest.raises(DrawingError, match=r"Graphviz failed: .*syntax error") as error:
        draw_cg(tiny_graph, path)
    assert "\n" not in str(error.value)
    assert not path.exists()
    monkeypatch.setattr(draw.shutil, "which", lambda *args, **options: None)
    with pytest.raises(DrawingError, match="pip install graphviz-pure"):
        draw_cg(tiny_graph, path)
