"""Where a result comes from: version, revision, and a hash of every file that was read."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import constants
import model_src
from model_src.kept import digest

_LIBRARIES = ("highspy", "moocore", "numpy", "sentencepiece", "torch", "torch-geometric")  # results depend on them


def provenance(files: Mapping[str, str | Path]) -> dict[str, Any]:
    """Version, git revision (None outside of a checkout), libraries, and path and SHA-256 of files, as JSON data."""
    return {
        "version": model_src.__version__,
        "revision": None if constants.INSTALLED else git_revision(constants.ROOT),
        "libraries": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "files": {name: {"path": str(path), "sha256": digest(Path(path))} for name, path in files.items()},
    }


def git_revision(folder: Path) -> str | None:
    """The commit that a checkout stands on, with `-dirty` behind it where files differ; None if it is no checkout."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
