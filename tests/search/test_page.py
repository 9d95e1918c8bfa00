"""The page about a search, and the one that compares searches."""

import csv
import html
import json
import re
import shlex
import shutil
import subprocess
from argparse import Namespace
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from model_src.cli import FlagParser
from model_src.comp_graph.load import load_cg
from model_src.csv_tables import load_rows, save_rows
from model_src.files import InputError
from model_src.search import flags, page
from model_src.search.comparison import write_comparison
from model_src.search.journal import Journal
from model_src.search.output import write_results
from model_src.search.page import write_report
from model_src.search.page_tables import counted, results_table
from model_src.search.points import progress, views_of
from model_src.search.provenance import provenance
from model_src.search.repeating import repeating_command, settings
from model_src.search.reporting import report_anew, report_on
from model_src.search.result_folder import ResultFolder
from model_src.search.session import search
from model_src.search.stored import read_search
from model_src.search.workers import Workers
from tests.conftest import ROOT
from tests.search.conftest import TinyFactory
from tests.search.test_feedback import Measured
from tests.search.test_session import CONFIG

BROWSERS = (
    "chromium", "chromium-browser", "chrome-headless-shell", "chromium-headless-shell", "google-chrome", "chrome"
)  # fmt: skip
LINE = ["-model_path", "architectures/hiaml_best.pkl", "-model_family", "hiaml", "-predictor_type", "PSC_predictor"]
LINE += ["-predictor_path", "saved_models/ensemble", "-input_h", "32", "-input_w", "32", "-input_c", "3"]


def make_search(path, line=(), config=CONFIG, measure=None) -> ResultFolder:
    """The folder of a short search that is done, whose flags are those of a command line."""
    folder = ResultFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    source = load_cg(ROOT / "architectures" / "hiaml_best.pkl")
    wanted = [*LINE, "-min_flops_decrease_percent", "-10", "-max_flops_decrease_percent", "60", *line]
    args = flags.parse_flags(FlagParser(""), wanted)
    folder.save_params(args, provenance({"model_path": ROOT / "architectures" / "hiaml_best.pkl"}))
    folder.save_input(source)
    config = replace(config, model_family="hiaml", top_k=2, max_score_drop=9, seed=args.seed)
    with Workers(TinyFactory(family="hiaml"), 1) as workers:
        write_results(search(source, config, workers=workers, journal=Journal(folder), measure=measure), folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A search whose networks were scored as a whole."""
    found = make_search(tmp_path_factory.mktemp("one") / "whole & <b>", config=replace(CONFIG, rescore_per_iter=10))
    report_on(found, lambda cg: [])
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A search as published, which keeps no history."""
    found = make_search(tmp_path_factory.mktemp("two") / "published", ["-rescore_per_iter", "0", "-seed", "3"])
    report_on(found, None)
    return found


class Page(HTMLParser):
    """What stands in a page: its tags with their attributes, and the rows of its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self._cell = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = tag

    def handle_endtag(self, tag):
        if tag == self._cell:
            self._cell = None

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data

    def classed(self, name):
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


def page_of(folder) -> Page:
    return Page(folder.report_path.read_text())


def rows_of(folder, name):
    return list(csv.DictReader((folder.path / name).read_text().splitlines()))


def test_a_point_per_network_and_a_link_per_result(folder):
    found, history = page_of(folder), rows_of(folder, "history.csv")
    ranks = {row["rank"] for row in rows_of(folder, "pareto.csv")[1:]}
    assert len(found.classed("point")) == len(history) > len(ranks) > 1
    assert {point["href"] for point in found.classed("point") if "href" in point} == {f"#rank-{rank}" for rank in ranks}
    assert {one["id"] for one in found.classed("result") if "id" in one} == {f"rank-{rank}" for rank in ranks}
    refused = [row for row in history[1:] if row["accepted"] == "0"]
    assert len(found.classed("refused")) == len(refused)


def test_the_table_says_what_the_csv_says(folder):
    head, first, *results = page_of(folder).rows[: 1 + len(rows_of(folder, "pareto.csv"))]
    assert head[:3] == ["rank", "score", "MFLOPs"]
    for cells, row in zip([first, *results], rows_of(folder, "pareto.csv"), strict=True):
        told = dict(zip(head, cells, strict=True))
        assert told["rank"] == row["rank"]
        assert told["score"] == f"{float(row['score']):.3f} ± {float(row['score_sd']):.3f}"
        assert told["parameters"].replace(",", "") == row["params"]
        assert told["swaps"] == row["swaps"]


def test_every_result_has_its_drawing_and_a_row_per_swap(folder):
    text = folder.report_path.read_text()
    for one in read_search(folder).results:
        part = text[text.index(f'id="rank-{one.rank}"') :]
        part = part[: part.index("</details>")]
        told = Page(part)
        assert [row[0].strip() for row in told.rows[1:]] == [str(n + 1) for n in range(int(one.row["swaps"]))]
        ghosts = re.findall(r"input&#39;s \d+|input's (?:&#160;)?\d+", part)
        removed = sum(len(step["removed"]) for step in read_search(folder).steps[one.rank])
        assert 0 < len(ghosts) <= removed
        assert f"mutant_{one.rank}_changes.svg" in part


def test_the_page_needs_nothing_else_and_is_small(folder, published):
    for one in (folder, published):
        text, found = one.report_path.read_text(), page_of(one)
        assert len(text) < 6e6
        sources = [attributes[name] for _, attributes in found.tags for name in ("src", "href") if name in attributes]
        assert all(link.startswith(("#rank-", "rank_", "mutant_")) for link in sources)
        assert "default-src 'none'" in text
        ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
        assert len(ids) == len(set(ids))


def test_what_others_wrote_is_escaped(folder):
    text = folder.report_path.read_text()
    assert "<h1>whole &amp; &lt;b&gt;</h1>" in text
    assert "whole & <b>" not in text


def test_svg_files_of_the_folder_are_not_taken_over(folder, tmp_path):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    copy.changes_picture(0).write_text("<svg><script>alert(1)</script></svg>")
    report_on(copy, None)
    assert "alert(1)" not in copy.report_path.read_text()


def test_all_results_without_a_history(published):
    rows = rows_of(published, "pareto.csv")
    assert not (published.path / "history.csv").exists()
    assert len(page_of(published).classed("point")) == len(rows) > 1
    steps = progress(*(lambda one: (one, views_of(one)))(read_search(published)))
    assert [step.iteration for step in steps] == [1, 2]
    assert steps[-1].best == pytest.approx(max(float(row["score"]) for row in rows))


def test_the_hypervolume_is_that_of_the_accepted_networks(folder):
    one = read_search(folder)
    (view,) = views_of(one)
    first, last = progress(one, [view])
    assert view.window == pytest.approx((0.4 * view.source.cost, 1.1 * view.source.cost))
    found = sorted((point.cost, point.value) for point in view.points if point.is_accepted)
    area, best = 0.0, view.source.value
    edges = [*(cost for cost, _ in found if cost < view.most), view.most]
    for (cost, value), end in zip(found, edges[1:], strict=False):
        best = max(best, value)
        area += (best - view.source.value) * (end - cost) / view.source.cost
    assert last.hypervolume == pytest.approx(area)
    assert 0 < first.hypervolume <= last.hypervolume
    assert last.best == pytest.approx(max(point.value for point in view.points if point.is_accepted))


def test_the_command_repeats_the_search(folder):
    text = html.unescape(re.search(r"<pre><code>(.*)</code></pre>", folder.report_path.read_text())[1])
    python, script, *line = shlex.split(text)
    assert (python, script) == ("python", "autogo.py")
    stored = read_search(folder).flags
    again = vars(flags.parse_flags(FlagParser(""), line))
    assert {name: value for name, value in again.items() if value not in ((), [])} == {
        name: value for name, value in stored.items() if value != []
    }
    assert not any(word.startswith(("-epoch", "-output_dir")) for word in line)
    assert repeating_command({}) == ""
    assert ("-max_flops_decrease_percent", "60.0", False) in settings(stored)
    assert ("-epoch", "5", True) in settings(stored)


def test_time_is_told_by_iteration(folder):
    rows = page_of(folder).rows
    head = next(at for at, row in enumerate(rows) if "seconds" in row)
    turns = read_search(folder).turns
    for row, turn in zip(rows[head + 1 :], turns, strict=False):
        told = dict(zip(rows[head], row, strict=True))
        assert int(told["networks scored"].replace(",", "")) == sum(one.n_scored for one in turn.mutations)
        assert 0 < turn.rescoring_seconds < turn.seconds
    calls = sum(one.propagation.calls for turn in turns for one in turn.mutations)
    assert ["segments to fit", f"{calls:,}"] in rows


def test_measured_accuracies_have_a_chart(tmp_path):
    config = replace(CONFIG, rescore_per_iter=10, epoch=1, measure=2)
    one = make_search(tmp_path, ["-measure", "2"], config, Measured())
    search_ = report_on(one, None)
    measured = [row for row in rows_of(one, "pareto.csv") if row["measured"]]
    assert len(measured) == 3
    assert len(page_of(one).classed("diamond")) == 2
    (column,) = [column for column in results_table(search_) if column.title == "measured (%)"]
    assert [cell.text for cell in column.cells if cell.text] == [f"{float(row['measured']):.2f}" for row in measured]


def test_a_folder_of_version_0_1(tmp_path):
    old = ResultFolder(shutil.copytree(ROOT / "tests" / "fixtures" / "v0_1" / "search", tmp_path / "old"))
    (written,) = report_anew([str(old.path)], str(tmp_path), draws=True)
    assert written == old.report_path
    assert len(page_of(old).classed("point")) == len(rows_of(old, "pareto.csv")) == 6
    head, first, second, *_ = page_of(old).rows
    assert (head[1], first[1], second[1]) == ("trained (%)", "20.00", "20.00")
    assert (old.path / "rank_4.svg").exists()
    assert not (old.path / "mutant_4.png").exists()


def test_drawings_that_have_no_room_lie_beside_the_page(folder, tmp_path, monkeypatch):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    svg = "<svg><g/></svg>"
    monkeypatch.setattr(page, "MOST_DRAWN", 2 * len(svg))
    write_report(read_search(copy), dict.fromkeys(range(len(read_search(copy).results)), svg))
    assert copy.report_path.read_text().count(svg) == 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("pareto.csv", "rank,file\ninput,\n", "not the table of a search"),
        ("pareto.csv", "rank,file,iteration,hash\ninput,,0,x\n", "not the tables of a search"),
        ("pareto.csv", "", "not the table of a search"),
        ("pareto.csv", None, "is this the folder of a finished search"),
        ("history.csv", "a,b\n1\n", "line 2: not as many cells"),
        ("history.csv", "hash,iteration,mflops,score\nx,1,many,2\n", "not the tables of a search"),
        ("params.json", "[]", "not the parameters of a search"),
        ("params.json", '{"flags": {}, "libraries": 3}', "not the parameters of a search"),
        ("params.json", '{"flags": {}, "files": {"a": 1}}', "not the parameters of a search"),
        ("params.json", '{"flags": {}, "files": {"a": {"path": "b", "sha256": {}}}}', "not the parameters of a search"),
        ("train_result.json", '{"trained": [1]}', "not a training result"),
        ("genealogy.json", "{}", "not the genealogy of a search"),
    ],
)
def test_damaged_folders_are_told_in_one_line(folder, tmp_path, name, content, reason):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    if content is None:
        (copy.path / name).unlink()
    else:
        (copy.path / name).write_text(content)
    with pytest.raises(InputError, match=reason) as error:
        report_anew([str(copy.path)], str(tmp_path), draws=False)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("table", ["pareto.csv", "history.csv"])
@pytest.mark.parametrize("column", ["score", "score_sd", "accuracy", "mflops", "iteration", "swaps"])
def test_cells_are_numbers(folder, tmp_path, table, column):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    rows = load_rows(copy.path / table)
    save_rows([*rows[:-1], {**rows[-1], column: "many"}], copy.path / table)
    with pytest.raises(InputError, match=r"not the tables? of a search"):
        report_anew([str(copy.path)], str(tmp_path), draws=False)


def test_a_history_has_hashes(folder, tmp_path):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    rows = copy.load_history()
    save_rows([{name: cell for name, cell in row.items() if name != "hash"} for row in rows], copy.path / "history.csv")
    with pytest.raises(InputError, match=r"not the tables of a search \(without hash\)"):
        report_anew([str(copy.path)], str(tmp_path), draws=False)


def test_times_of_an_iteration_are_numbers(folder, tmp_path):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    _, content = next(copy.iterations())
    content["mutations"][0]["propagation"]["failures"]["seconds"] = "long"
    copy.save_iteration(1, content)
    with pytest.raises(InputError, match="not an iteration of this search"):
        report_anew([str(copy.path)], str(tmp_path), draws=False)


def test_an_objective_without_a_name_has_no_window(folder, tmp_path):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    content = copy.load_details()
    copy.save_params(Namespace(**{**content.pop("flags"), "objective": [5]}), content)
    report_anew([str(copy.path)], str(tmp_path), draws=False)
    assert views_of(read_search(copy))[0].window is None


@pytest.mark.parametrize("key", ["swap", "child", "score", "removed", "iteration"])
def test_a_step_that_lacks_something_is_told_in_one_line(folder, tmp_path, key):
    copy = ResultFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    content = copy.load_genealogy()
    content["steps"][0][key] = None
    copy.save_genealogy(content)
    with pytest.raises(InputError, match="not the genealogy of a search"):
        report_anew([str(copy.path)], str(tmp_path), draws=False)


def test_searches_are_compared_on_one_page(folder, published, tmp_path):
    other = ResultFolder(shutil.copytree(folder.path, tmp_path / "other"))
    content = other.load_details()
    params = content.pop("flags") | {"seed": 5}
    other.save_params(Namespace(**params), content)
    source, *history = other.load_history()
    other.save_history([source, *({**row, "mflops": str(1.02 * float(row["mflops"]))} for row in history)])
    *_, path = report_anew([str(one.path) for one in (folder, other, published)], str(tmp_path), draws=False)
    assert path.parent == tmp_path
    found = Page(path.read_text())
    results = [read_search(one).results for one in (folder, other, published)]
    assert len(found.classed("point")) == sum(map(len, results))
    assert len(found.classed("front")) == 3
    assert ["-seed", "0", "5", "3"] in found.rows
    assert ["-rescore_per_iter", "200", "200", "0"] in found.rows
    assert not any(row and row[0] == "-epoch" for row in found.rows)
    assert "different networks" not in path.read_text()
    told = next(row for row in found.rows if row[:2] == ["2", str(len(results[1]))])
    assert told[2] == f"{max(float(one.row['score']) for one in results[1]):.3f}"  # which may be below the input
    spread = next(row for row in found.rows if row[0] == "1, 2")  # they differ in nothing but the seed
    assert re.fullmatch(r"\d\.\d{4} ± \d\.\d{4}", spread[1])
    volumes = [
        progress(*(lambda one: (one, views_of(one)))(read_search(one)))[-1].hypervolume for one in (folder, other)
    ]
    assert float(spread[2]) == pytest.approx(min(volumes), abs=1e-4)
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert all((tmp_path / html.unescape(link).replace("%20", " ")).exists() or "%" in link for link in links)


def test_the_comparison_says_what_to_bear_in_mind(folder, tmp_path):
    one = read_search(folder)
    files = {"files": {"predictor_path 1": {"path": "other", "sha256": "0"}}}
    write_comparison(
        [one, replace(one, source_row={**one.source_row, "hash": "0"}, details=files, source=None)], tmp_path / "page"
    )
    text = (tmp_path / "page").read_text()
    assert "different predictors" in text
    assert "different networks" in text


def test_searches_for_different_objectives_are_not_compared(folder, tmp_path):
    one = read_search(folder)
    with pytest.raises(InputError, match="different objectives: flops, params"):
        write_comparison([one, replace(one, flags={**one.flags, "objective": "params"})], tmp_path / "page.html")


def test_names_are_counted():
    assert counted(["conv", "relu", "conv"]) == "2 × conv, relu"


def dom(path, script, tmp_path) -> str:
    """What a browser has made of a page after a script of ours; nothing may have been said on its console."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    copy = tmp_path / "page.html"
    copy.write_text(f"{path.read_text()}<script>{script}</script>")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert ":CONSOLE" not in done.stderr
    return done.stdout


def test_in_a_browser_a_click_opens_a_network(folder, tmp_path):
    last = len(read_search(folder).results) - 1
    click = f"""document.querySelector('a[href="#rank-{last}"] .dot')
        .dispatchEvent(new MouseEvent("click", {{bubbles: true, cancelable: true}}));"""
    found = Page(dom(folder.report_path, click, tmp_path))
    opened = {one["id"]: "open" in one for one in found.classed("result") if "id" in one}
    assert opened == {f"rank-{rank}": rank in (0, last) for rank in range(last + 1)}
    assert [one["id"] for one in found.classed("called")] == [f"rank-{last}"]
    assert len(found.classed("point")) == len(rows_of(folder, "history.csv"))


def test_in_a_browser_another_network_opens_a_dialog(folder, tmp_path):
    click = """document.querySelector('g.point .dot')
        .dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));"""
    text = dom(folder.report_path, click, tmp_path)
    (dialog,) = re.findall(r"<dialog.*?</dialog>", text, re.DOTALL)
    assert "open" in dialog[: dialog.index(">")]
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1])
    assert any(fact["rank"] is None and fact["hash"] in dialog for fact in facts)
    assert "Its parent:" in dialog
    assert '<p class="soft">Of a network that is no result there is no file' in dialog


def test_in_a_browser_tables_are_sorted(folder, tmp_path):
    click = 'document.querySelectorAll("table.sortable th button")[1].click();'
    head, *rows = Page(dom(folder.report_path, click, tmp_path)).rows[: 1 + len(rows_of(folder, "pareto.csv"))]
    assert head[1] == "score"
    scores = [float(row[1].split()[0]) for row in rows]
    assert scores == sorted(scores)
