"""What is new in results, and its drawings: over searches of five families."""

import json
import re
import shutil
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from model_src.comp_graph.drawing import PLAIN_COLOUR, Style, boxes
from model_src.comp_graph.graph_ops import canonical_hash
from model_src.comp_graph.load import load_cg
from model_src.comp_graph.segment import Segment
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import correct_cg_for_downstream
from model_src.files import InputError
from model_src.search.change_drawings import STEP_COLOURS, changed_regions, stretches, whole_network
from model_src.search.changes import Changes, changes_of
from model_src.search.children import Swap
from model_src.search.genealogy import genealogy
from model_src.search.network_pictures import changes_as_svg, draw_networks, header
from model_src.search.output import write_results
from model_src.search.result_folder import ResultFolder
from model_src.search.session import search
from model_src.search.stored import read_search
from model_src.search.workers import Workers
from tests.comp_graph.test_draw import texts
from tests.conftest import ROOT, conv, regular
from tests.search.conftest import TinyFactory
from tests.search.test_session import CONFIG

FAMILIES = ("hiaml", "inception", "nb101", "nb201", "two_path")


@cache
def searched(family):
    """A short search; its results are the four networks with the most swaps."""
    config = replace(CONFIG, model_family=family, epoch=2, top_k=1, rescore_per_iter=6, max_score_drop=9)
    source = load_cg(ROOT / "architectures" / f"{family}_best.pkl")
    with Workers(TinyFactory(family=family), 1) as workers:
        result = search(source, config, workers=workers)
    return replace(result, front=sorted(result.history, key=lambda one: -one.n_swaps)[:4])


@cache
def changes(family) -> list[Changes]:
    result = searched(family)
    told = json.loads(json.dumps(genealogy(result)))
    chains = [[told["steps"][number] for number in one["steps"]] for one in told["results"]]
    return [
        changes_of(result.source.graph, *pair)
        for pair in zip((one.graph for one in result.networks), chains, strict=True)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_grey_nodes_are_those_of_the_input_and_no_more_are_coloured_than_swaps_inserted(family):
    assert len(changes(family)) == 4  # of each of five families
    for one in changes(family):
        rows = whole_network(one).rows
        grey = [index for index, row in rows.items() if row.fill == PLAIN_COLOUR]
        place = {index: one.kept[index] for index in grey}
        assert len(set(place.values())) == len(grey)
        for index, old in place.items():
            after, before = one.graph.nodes[index], one.source.nodes[old]
            assert (after.operation, after.strides) == (before.operation, before.strides)
            assert getattr(after, "shape", ())[2:] == getattr(before, "shape", ())[2:]
        edges = {(place[s], place[t]) for s, t in one.graph.edge_pairs if s in place and t in place}
        old_nodes = set(place.values())
        assert edges == {(s, t) for s, t in one.source.edge_pairs if s in old_nodes and t in old_nodes}
        coloured = rows.keys() - place.keys()
        assert 0 < len(coloured) <= sum(len(step["inserted"]) for step in one.steps)
        assert {rows[index].fill for index in coloured} <= set(STEP_COLOURS[: len(one.steps)])
        assert len(one.removed) == one.source.n_nodes - len(grey)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_drawing_of_changes_shows_all_of_them_and_counts_the_rest(family):
    for one in changes(family):
        drawing = changed_regions(one)
        ghosts = [row.name for row in drawing.rows.values() if row.style is Style.GHOST]
        assert sorted(ghosts) == sorted(f"input's {old}" for old in one.removed)
        names = {row.name for row in drawing.rows.values()}
        assert {str(index) for index in one.touched} <= names
        folded = sum(int(row.text.split()[0]) for row in drawing.rows.values() if row.style is Style.FOLD)
        n_shown = sum(row.style in (Style.PLAIN, Style.MARKED) for row in drawing.rows.values())
        assert folded + n_shown == one.graph.n_nodes
        assert sorted(number for box in boxes(drawing) for number in box.rows) == sorted(drawing.rows)


def narrowed() -> tuple[ComputeGraph, ComputeGraph, dict]:
    """input -> conv 3->8 -> relu -> maxpool -> output, the same with a conv 3->4, and the swap that made it."""
    pool = regular("p", "maxpool", 12, 8, 8, 4, strides=(1, 2, 2, 1), metadata={"ksize": (1, 3, 3, 1)})
    ends = regular("i", "input", 1, 8, 3), regular("o", "output", 2, 4, 8)
    nodes = [ends[0], conv("a", 8, 3, 8), regular("b", "relu", 6, 8, 8), pool, ends[1]]
    source = ComputeGraph.from_nodes("chain", (1, 8, 8, 3), nodes, pairwise(range(5)))
    alone = ComputeGraph.from_nodes("new", ((1, 8, 8, 3),), [conv("n", 8, 3, 4)], [])
    swap = Swap((0,), Segment(alone, ((0,),), ((8, 8, 3),), (0,)), (0,), (0,))
    child = swap.apply(source, "1.1.")
    step = {
        "iteration": 1, "prefix": "1.1.", "child": canonical_hash(child), "swap": swap.state_dict(),
        "removed": [["a", "conv2d"]], "inserted": ["conv2d"],
    }  # fmt: skip
    return source, correct_cg_for_downstream(child, 8, 8, 3), step


def test_kept_nodes_of_another_size_are_marked():
    source, graph, step = narrowed()
    one = changes_of(source, graph, [step])
    rows = [str(row) for row in whole_network(one).rows.values()]
    assert rows == [
        "0  conv 3×3 3→4  · swap 1", "1  input 8×8×3", "2  relu  (8×8×4, was 8×8×8)",
        "3  maxpool 3×3 /2 8→4 px  (4×4×4, was 4×4×8)", "4  output  (4×4×4, was 4×4×8)",
    ]  # fmt: skip
    styles = [row.style for row in whole_network(one).rows.values()]
    assert [index for index, style in enumerate(styles) if style is Style.MARKED] == [2, 3, 4] == sorted(one.resized)
    assert [str(row) for row in whole_network(one).legend] == [
        "swap 1, iteration 1: 1 out, 1 in", "as in the input", "sizes changed"
    ]  # fmt: skip
    ghost = next(row for row in changed_regions(one).rows.values() if row.style is Style.GHOST)
    assert str(ghost) == "input's 0  conv 3×3 3→8  · swap 1"


def test_without_swaps_nothing_is_new_and_all_is_one_row():
    source, _, _ = narrowed()
    one = changes_of(source, source, [])
    assert (one.brought, one.removed, one.resized, one.touched) == ({}, {}, {}, set())
    assert [str(row) for row in changed_regions(one).rows.values()] == ["5 layers unchanged"]


def test_another_network_than_the_swaps_lead_to_is_refused():
    source, graph, step = narrowed()
    with pytest.raises(ValueError, match="the swaps of chain lead to another network than its file holds"):
        changes_of(source, source, [step])
    with pytest.raises(ValueError, match="step 0 gives"):
        changes_of(source, graph, [{**step, "child": "another"}])


def test_a_stretch_lies_above_or_below_what_is_shown_never_both():
    """0 -> 1 -> 2 -> 3 with a way around from 0 to 3, of which 2 is shown."""
    nodes = [regular(str(number), "relu", 6, 8, 8) for number in range(5)]
    graph = ComputeGraph.from_nodes("ring", (1, 8, 8, 8), nodes, [(0, 1), (1, 2), (2, 3), (0, 4), (4, 3)])
    assert [sorted(piece) for piece in stretches(graph, {2})] == [[0, 1, 4], [3]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = ResultFolder(tmp_path_factory.mktemp("search"))
    result = searched("hiaml")
    folder.save_input(result.source.graph)
    write_results(result, folder)
    draw_networks(read_search(folder), lambda cg: [range(cg.n_nodes)])
    return folder


def test_drawings_of_a_folder(drawn):
    names = {path.name for path in drawn.path.iterdir() if path.suffix in (".png", ".svg")}
    stems = ["input_arch", *(f"{kind}_{rank}" for rank in range(4) for kind in ("rank", "mutant"))]
    files = {f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg")}
    assert names == files | {f"mutant_{rank}_changes.svg" for rank in range(4)}
    first, *_ = read_search(drawn).results
    title, score, costs = header(first.row, read_search(drawn).source_row)
    assert title == f"Rank 0, found in iteration {first.iteration}"
    assert re.fullmatch(r"score \d\.\d{3} ± \d\.\d{3} \(input: \d\.\d{3}\)", score)
    assert re.fullmatch(r"[\d.]+ MFLOPs \([+-][\d.]+ %\), [\d,]+ parameters \(.*\), \d+ nodes \([+-]\d+\)", costs)
    assert texts(drawn.changes_picture(0))[:3] == [title, score, costs]


def test_without_input_or_genealogy_networks_are_drawn_by_segment_alone(drawn, tmp_path, monkeypatch, capsys):
    kept = ("pareto.csv", "rank_0.pkl", "rank_1.pkl", "rank_2.pkl", "rank_3.pkl")
    for name in kept:
        shutil.copyfile(drawn.path / name, tmp_path / name)
    search = read_search(ResultFolder(tmp_path))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    draw_networks(search, lambda cg: [], quiet=True)
    assert capsys.readouterr().err == ""
    draw_networks(search, lambda cg: [], quiet=False)
    assert "drawings 100% |██████████| 4 of 4" in capsys.readouterr().err
    names = {path.name for path in tmp_path.iterdir()} - set(kept)
    assert names == {f"rank_{rank}{suffix}" for rank in range(4) for suffix in (".png", ".svg")}


def test_a_genealogy_that_does_not_fit_is_named(drawn, tmp_path, caplog):
    folder = ResultFolder(shutil.copytree(drawn.path, tmp_path / "copy"))
    content = folder.load_genealogy()
    content["steps"][0]["child"] = "another"
    folder.save_genealogy(content)
    assert 0 not in changes_as_svg(read_search(folder))
    assert "no picture of what is new in rank 0: step 0 gives" in caplog.text
    folder.save_genealogy({"results": [{}]})
    with pytest.raises(InputError, match="not the genealogy of a search"):
        read_search(folder)
