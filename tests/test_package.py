"""The wheel: what is in it, and that it works in a folder far from the repository."""

import csv
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import constants
from model_src import __version__

ROOT = constants.ROOT
SHIPPED_FOLDERS = ("architectures", "cache_sentence_piece", "data", "saved_models")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the contents of the wheel, as an installation would have them."""
    pytest.importorskip("hatchling", reason="the build backend hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def start(site: Path, command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run an installed command in `cwd`."""
    (entry,) = (entry for entry in _entries(site) if entry.name == command.split()[0])
    code = f"import sys; from {entry.module} import {entry.attr}; sys.exit({entry.attr}())"
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-c", code, *command.split()[1:]]
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True)


def _entries(site: Path):
    (metadata,) = site.glob("autogo-*.dist-info")
    return Distribution.at(metadata).entry_points.select(group="console_scripts")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_has_all_that_runs_and_nothing_else(site):
    scripts = {path.name for path in ROOT.glob("*.py")}
    assert {path.name for path in site.iterdir()} == {*scripts, "model_src", f"autogo-{__version__}.dist-info"}
    modules = {name for name in files_below(ROOT / "model_src") if name.endswith(".py")}
    shipped = {name for name in files_below(site / "model_src") if name.startswith("shipped/")}
    templates = {name for name in files_below(ROOT / "model_src") if name.startswith("search/templates/")}
    assert {"search/templates/report.html", "search/templates/style.css"} < templates
    assert files_below(site / "model_src") == modules | templates | shipped
    known = subprocess.run(["git", "ls-files", *SHIPPED_FOLDERS], cwd=ROOT, capture_output=True, text=True).stdout
    for name in known.splitlines():
        assert (f"shipped/{name}" in shipped) == (not name.endswith(".png")), name
    licences = files_below(site / f"autogo-{__version__}.dist-info" / "licenses")
    assert licences == {"LICENSE", "NOTICE"}
    assert (site / "model_src" / "shipped" / "CITATION.cff").is_file()


def test_every_script_is_a_command(site):
    entries = _entries(site)
    assert {entry.module for entry in entries} == {path.stem for path in ROOT.glob("*.py")} - {"constants"}
    assert all(entry.name == "autogo" or entry.name.startswith("autogo-") for entry in entries)


def test_commands_find_what_is_shipped_and_write_to_the_working_directory(site, tmp_path):
    before = files_below(site)
    search = "-model_path architectures/two_path_best.pkl -model_family two_path -input_h 32 -input_w 32 -input_c 3"
    predictor = "-predictor_path saved_models/psc_chkpt.pt -predictor_type PSC_predictor"
    short = "-epoch 1 -top_k 1 -max_candidate_per_iter 1 -max_target_per_iter 4 -max_flops_decrease_percent 100"
    runs = [start(site, f"autogo {search} {predictor} {short} -no_drawings", tmp_path)]
    family = "-family two_path -num 2 -label_table data/labels/two_path.csv"
    runs.append(start(site, f"autogo-gen-families {family}", tmp_path))
    runs.append(start(site, "autogo-psc-segment -data_family two_path", tmp_path))
    assert [run.returncode for run in runs] == [0, 0, 0], [run.stderr for run in runs]
    (result,) = (tmp_path / "outputs").iterdir()
    with (result / "pareto.csv").open() as file:
        assert next(csv.DictReader(file))["rank"] == "input"
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "data", "cache"}
    assert files_below(site) == before


def test_hints_name_commands(site, tmp_path):
    done = start(site, "autogo-psc-segment -data_family hiaml", tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("No such file or directory; make it with `autogo-gen-families -family hiaml`\n")


def test_pins_lie_in_the_ranges_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.txt").read_text() + (ROOT / "requirements-dev.txt").read_text()
    pins = dict(line.split("==") for line in lines.splitlines() if "==" in line)
    left_out = ("zoo", "ray")  # not installed
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in left_out}
    ranges = [*project["dependencies"], *chain(*extras.values())]
    needed = {one.name: one for one in map(Requirement, ranges) if one.name != "autogo"}
    assert pins.keys() == needed.keys()
    for name, version in pins.items():
        assert needed[name].specifier.contains(version), name


def test_the_citation_is_of_this_version():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
