"""The command that repeats a search, and what it was asked for, from its stored flags."""

import shlex
from collections.abc import Mapping
from typing import Any

from model_src.cli import flag_words
from model_src.search.flags import defaults

OF_THE_RUN = ("resume", "report", "output_dir", "logs_dir")  # say where to, not what


def repeating_command(flags: Mapping[str, Any]) -> str:
    """The command line that does a search again; nothing where its flags are not known.

    Args:
        flags: As they were stored; those that have their defaults are left out.
    """
    usual = defaults()
    given = {
        name: value
        for name, value in flags.items()
        if name in usual and name not in OF_THE_RUN and value != usual[name] and value not in ([], ())
    }
    return shlex.join(["python", "autogo.py", *flag_words(given)]) if given else ""


def settings(flags: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Every flag with its value, and whether that is its default."""
    usual = defaults()
    return [(f"-{name}", as_text(value), name in usual and value == usual[name]) for name, value in flags.items()]


def as_text(value: Any) -> str:
    """A flag's value in words."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
