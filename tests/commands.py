"""The code blocks of the pages, and what the commands in them would do."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FAKED = (".venv/bin/pip", ".venv/bin/python", "cp", "git", "make", "pip", "python", "python3.11", "ray")
# Notes its own name and arguments, and does nothing.
FAKE = """#!/bin/sh
{ printf '%s' "${0##*/}"; for word; do printf '\\037%s' "$word"; done; printf '\\036'; } >> "$NOTED"
"""


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: Its page, from the root of the repository.
        kind: Its language.
        text: What stands in it.
    """

    page: str
    kind: str
    text: str


def blocks_of(root: Path, pages: list[str]) -> list[Block]:
    """All code blocks of some pages."""
    return [
        Block(page, kind, text)
        for page in pages
        for kind, text in FENCED.findall((root / page).read_text(encoding="utf-8"))
    ]


def shell(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run lines of a shell in a folder; the first that fails ends it."""
    environment = {**os.environ, **variables}
    command = ["bash", "-euc", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def commands_of(text: str, folder: Path) -> list[list[str]]:
    """The commands, as lists of words, that lines of a shell would run in a clone.

    Args:
        text: The lines.
        folder: An empty one, where they run with programs that do nothing.
    """
    noted = folder / "noted"
    for name in FAKED:
        program = folder / (name if "/" in name else f"bin/{name}")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(FAKE)
        program.chmod(0o755)
    (folder / ".venv" / "bin" / "activate").touch()
    for name in ("autogo", "saved_models"):
        (folder / name).mkdir()
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = shell(text, folder, PATH=path, NOTED=str(noted), FOLDER="outputs/one")
    assert done.returncode == 0, done.stderr
    return [line.split("\x1f") for line in noted.read_text().split("\x1e")[:-1]]
