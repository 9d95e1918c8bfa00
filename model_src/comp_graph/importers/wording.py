"""Names in errors."""

from collections.abc import Iterable
from difflib import get_close_matches

_NAMED = 5  # names in an error
SEVERAL_OUTPUTS = "name a tensor that they all come from with -output_node"


def listed(names: Iterable[str]) -> str:
    """The first names in quotes, and how many there are besides."""
    shown = [repr(name) for name in names]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return ", ".join(shown[:_NAMED]) + more


def close_to(name: str, known: Iterable[str]) -> str:
    """Names that may have been meant, as the end of an error; empty for none."""
    close = get_close_matches(name, sorted(set(known)), _NAMED, 0.4)
    return f"; close are {listed(close)}" if close else ""
