"""The file that `-config` names: flags by name, in YAML or JSON; or the parameters that a search has written."""

from collections.abc import Container
from pathlib import Path
from typing import Any

from model_src.files import InputError, load_json, naming, regular_file

LARGEST = 1 << 20  # bytes


def read_flags(path: str | Path, known: Container[str]) -> dict[str, Any]:
    """The flags of a configuration file by name: values are texts, numbers, true, false, null or lists of them.

    Args:
        path: The file. That of a search (`params.json`) has its flags under `flags`; what it was resumed from is left
            out.
        known: The flags that there are, with a dash before them.

    Raises:
        InputError: The file is missing or too large, or no such file, or has a flag that is not known.
    """
    path = Path(path)
    content = _content(path)
    stored = isinstance(content, dict) and isinstance(content.get("flags"), dict)
    flags = content["flags"] if stored else content
    if not isinstance(flags, dict):
        raise InputError(f"{path}: not a list of flags, each as `name: value`")
    named = {str(name).lstrip("-").replace("-", "_"): value for name, value in flags.items()}
    if stored:
        named.pop("resume", None)
    for name, value in named.items():
        if f"-{name}" not in known or name == "config":
            raise InputError(f"{path}: there is no flag -{name}")
        if any(isinstance(each, dict | list) for each in (value if isinstance(value, list) else [value])):
            raise InputError(f"{path}: the value of {name} is neither a text, a number, true, false nor a list of them")
    return named


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return load_json(path)
    import yaml

    with naming(path):
        with regular_file(path).open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes of flags")
        if b"<<" in text:  # it may double mappings over and over
            raise ValueError("no flag needs a merge (`<<`)")
        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"not YAML ({' '.join(str(error).split())})") from error
