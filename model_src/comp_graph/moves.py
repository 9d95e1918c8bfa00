"""What nodes that take maps apart, repeat, resize or number them say in their metadata. Plain arithmetic."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import Node


# Operation -> name in the metadata -> what may be there; first what a node means that has no such name.
CHOICES: dict[str, dict[str, tuple[str | bool, ...]]] = {
    "depthtospacend": {"order": ("pixels", "channels")},
    "paddings": {"mode": ("constant", "reflect", "edge", "wrap")},
    "resize": {"mode": ("nearest", "nearest-exact", "bilinear", "bicubic"), "corners": (False, True)},  # as in PyTorch
    "spacetodepthnd": {"order": ("pixels", "channels")},
}


def choice_of(node: "Node", name: str) -> Any:
    """What a node's metadata say by a name of `CHOICES`.

    Raises:
        ValueError: It is none of what may be there.
    """
    choices = CHOICES[node.operation.name][name]
    value = (node.metadata or {}).get(name, choices[0])
    if value not in choices:
        raise node.error(f"its {name} is none of {', '.join(map(str, choices))}")
    return value


def parts_of(node: "Node") -> tuple[slice, slice, slice]:
    """The channels, rows and columns that a `slice` takes out of a map.

    Raises:
        ValueError: They are no ranges (start, stop, step) of the map's, or not as many as the node gives.
    """
    (h, w, c), (h_out, w_out, c_out) = node.in_shape, node.out_shape
    return _part(node, "channels", c, c_out), _part(node, "rows", h, h_out), _part(node, "columns", w, w_out)


def _part(node: "Node", name: str, size: int, count: int) -> slice:
    part = (node.metadata or {}).get(name, (0, size, 1))
    if not _are_numbers(part) or len(part) != 3:
        raise node.error(f"its {name} are no range")
    start, stop, step = part
    if not 0 <= start < stop <= size or step < 1 or len(range(*part)) != count:
        raise node.error(f"its {name} {part} are not {count} of {size}")
    return slice(start, stop, step)


def index_of(node: "Node") -> tuple[int, ...]:
    """The channels that a `gather` takes, by their numbers.

    Raises:
        ValueError: They are not among the node's input, or not as many as it gives.
    """
    index, (c_in, c_out) = (node.metadata or {}).get("index"), node.resolution[4:]
    if not isinstance(index, tuple) or not _are_numbers(index):
        raise node.error("it does not say which channels it takes")
    if len(index) != c_out or not all(0 <= number < c_in for number in index):
        raise node.error(f"it takes {len(index)} channels for {c_out}, or some that are not among {c_in}")
    return index


def added_channels_of(node: "Node") -> tuple[int, int]:
    """How many channels of zeros a `pad_channels` puts in front of its input and behind it.

    Raises:
        ValueError: They do not make up the difference.
    """
    before, (c_in, c_out) = (node.metadata or {}).get("before", 0), node.resolution[4:]
    if type(before) is not int or not 0 <= before <= c_out - c_in:
        raise node.error(f"{before} channels in front of {c_in} do not give {c_out}")
    return before, c_out - c_in - before


def block_of(node: "Node") -> tuple[int, int]:
    """How many pixels (vertical, horizontal) a block has that becomes channels, or is made of them.

    Raises:
        ValueError: Its sizes contradict each other.
    """
    ends = node.in_shape, node.out_shape
    (h, w, channels), (height, width, kept) = ends if node.operation.name == "depthtospacend" else ends[::-1]
    b_h, b_w = height // h, width // w
    if (h * b_h, w * b_w, kept * b_h * b_w) != (height, width, channels):
        raise node.error(f"its sizes {node.in_shape} and {node.out_shape} are not those of blocks")
    return b_h, b_w


def repeats_of(node: "Node") -> tuple[int, int, int]:
    """What a `broadcast` repeats a single channel, row or column to; -1 for those that stay.

    Raises:
        ValueError: There is not a single one of what is repeated.
    """
    h_in, h_out, w_in, w_out, c_in, c_out = node.resolution
    pairs = (c_in, c_out), (h_in, h_out), (w_in, w_out)
    if any(before not in (1, after) for before, after in pairs):
        raise node.error(f"only a single channel, row or column can be repeated, not those of {node.in_shape}")
    channels, rows, columns = (-1 if before == after else after for before, after in pairs)
    return channels, rows, columns


def port_of(node: "Node") -> int:
    """The place of a `port` among those that a node reads; -1 for any other node, whose place is all the same.

    Raises:
        ValueError: It is a port without a number.
    """
    if node.operation.name != "port":
        return -1
    number = (node.metadata or {}).get("port")
    if type(number) is not int or number < 0:
        raise node.error("a port without a number")
    return number


def _are_numbers(values: object) -> bool:
    return isinstance(values, tuple) and all(type(value) is int for value in values)
