"""The code blocks of all pages: commands run, or at least name what exists, and Python runs somewhere."""

import importlib
import re
import shutil
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from model_src.cli import FlagParser
from tests.commands import Block, blocks_of, commands_of, shell
from tests.conftest import ROOT
from tests.test_docs import PAGES
from tests.test_extending import SECTIONS, checkout  # noqa: F401
from tests.test_readme import BLOCKS as README_PYTHON
from tests.training.conftest import cifar_folder  # noqa: F401

BLOCKS = blocks_of(ROOT, [str(page.relative_to(ROOT)) for page in PAGES])
SHELL = [block for block in BLOCKS if block.kind in ("bash", "sh", "console")]

PARSED = "no more"
TRIED = "as written, by tests/test_extending.py"
EXTENDING, KNOWN = "docs/extending.md", "docs/known_networks.md"
# What is run of a block, by its page and words of it alone: nothing, but flags, targets and files are there; all of
# it, elsewhere; or in the slow group with these words in the place of those, the blocks of a page one after the other.
TESTED: dict[tuple[str, str], str | dict[str, str]] = {
    ("CONTRIBUTING.md", "make setup"): PARSED,
    ("README.md", "git clone"): PARSED,
    ("README.md", "python3.11 -m venv"): PARSED,
    ("README.md", "-epoch 10 -top_k 10"): {
        "-epoch 10": "-epoch 1", "-max_target_per_iter 100": "-max_target_per_iter 20"
    },
    ("README.md", "-num_train_cgs 2 -train_input_cg"): {
        "-num_train_cgs 2": "-num_train_cgs 1 -num_runs_cg 1 -train_epochs 1 -train_images 20"
    },
    ("README.md", "-num_train_cgs 1 -train_input_cg"): {"-train_images 1000": "-train_images 20"},
    ("README.md", "-family hiaml -num 3"): {
        "-num 3": "-num 1", "-epochs 4": "-epochs 1", "-train_images 2000": "-train_images 20"
    },
    ("README.md", "-rounds 2 -measure 4"): {
        "-epoch 10": "-epoch 1 -max_target_per_iter 20",
        "-measure 4": "-measure 1 -measure_epochs 1 -train_images 40",
    },
    ("README.md", "-objective latency"): PARSED,
    ("README.md", '-objective "command:'): PARSED,
    ("README.md", "pip install analog-nasbench"): PARSED,
    ("docs/cluster.md", "ray start"): PARSED,
    ("docs/cluster.md", 'pip install "autogo[ray]"'): PARSED,
    ("docs/conformance.md", "-m pytest tests/conformance"): PARSED,
    (EXTENDING, "-family staircase"): TRIED,
    (EXTENDING, "-objective depth"): TRIED,
    (EXTENDING, "mine.layers"): TRIED,
    (KNOWN, "benchmarks/known_networks.py"): PARSED,
    (KNOWN, "resnet50.pkl"): {"-epoch 5": "-epoch 1 -max_target_per_iter 10"},
    ("docs/measured.md", "-rounds 2 -measure 4"): PARSED,
    ("docs/objectives.md", "-objective flops params"): PARSED,
    ("docs/paper.md", "autogo.py"): {"-epoch 10": "-epoch 1 -max_target_per_iter 20"},
    ("docs/real_networks.md", "pip install '.[zoo,onnx]'"): PARSED,
}  # fmt: skip


class Parsed(Exception):
    """The flags of a script are good."""


def keys_of(block: Block) -> list[tuple[str, str]]:
    return [key for key in TESTED if key[0] == block.page and key[1] in block.text]


def named(block: Block) -> str:
    return f"{block.page}: {block.text[:40]}".splitlines()[0]


def test_every_block_says_what_it_is():
    kinds = {block.kind for block in BLOCKS}
    assert kinds <= {"bash", "python", "text", "bibtex"}
    assert all(len(keys_of(block)) == 1 for block in SHELL), "a block is not in TESTED, or there twice"
    assert {key for block in SHELL for key in keys_of(block)} == set(TESTED)


def test_python_is_run_by_other_tests():
    extending = "".join(SECTIONS)
    for block in BLOCKS:
        if block.kind == "python":
            assert block.text in README_PYTHON if block.page == "README.md" else block.text in extending


def test_what_is_tried_elsewhere_is_headed_so():
    page = (ROOT / EXTENDING).read_text(encoding="utf-8")
    for block in SHELL:
        (key,) = keys_of(block)
        if TESTED[key] == TRIED:
            assert re.search(rf"[Tt]ry it:\n\n```bash\n{re.escape(block.text)}", page)


def check_script(words: list[str], monkeypatch) -> None:
    """A script takes its flags: it is stopped once it has read them; one of the benchmarks only names them."""
    script, *flags = words
    if Path(script).parent != Path():
        source = (ROOT / script).read_text(encoding="utf-8")
        assert all(f'"{flag}"' in source for flag in flags if flag.startswith("-"))
        return
    parse = FlagParser.parse_args

    def parse_only(*arguments):
        raise Parsed(parse(*arguments))

    module = importlib.import_module(Path(script).stem)
    if "-resume" not in flags:  # whose folder is not there
        module.parse_args(flags)
        return
    monkeypatch.setattr(FlagParser, "parse_args", parse_only)
    with pytest.raises(Parsed):
        module.parse_args(flags)


def check_install(words: list[str]) -> None:
    """Files of requirements and extras are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert words[0] == "install"
    for flag, value in pairwise(words):
        assert flag != "-r" or (ROOT / value).exists()
    for extras in re.findall(r"^(?:\.|autogo)\[(.*)\]$", "\n".join(words), re.MULTILINE):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("block", [block for block in SHELL if block.page != EXTENDING], ids=named)
def test_commands_name_what_exists(block, tmp_path, monkeypatch):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = commands_of(block.text, tmp_path)
    assert commands
    for program, *words in commands:
        if program == "make":
            assert set(words) <= set(targets)
        elif program == "pip":
            check_install(words)
        elif program == "python" and words[0] == "-m":
            assert words[1] == "pytest"
            assert (ROOT / words[2]).exists()
        elif program == "python":
            check_script(words, monkeypatch)
        else:
            assert program in ("cp", "git", "python3.11", "ray")


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for (page, _), how in TESTED.items() if isinstance(how, dict)}))
def test_long_commands_run_when_they_are_made_shorter(page, checkout, cifar_folder):  # noqa: F811
    (checkout / "data" / "cifar-10-batches-py").symlink_to(cifar_folder)
    shutil.copytree(ROOT / "architectures" / "samples", checkout / "architectures" / "samples")
    programs, folder = str(Path(sys.executable).parent), ""
    for block in SHELL:
        (key,) = keys_of(block)
        if block.page != page or not isinstance(TESTED[key], dict):
            continue
        text = block.text
        for words, fewer in TESTED[key].items():
            assert text.count(words) == 1
            text = text.replace(words, fewer)
        done = shell(text, checkout, PATH=f"{programs}:/usr/bin:/bin", FOLDER=folder)
        assert done.returncode == 0, done.stderr
        if found := re.findall(r"^Results are in (.*)$", done.stdout, re.MULTILINE):
            folder = folder or found[-1]
