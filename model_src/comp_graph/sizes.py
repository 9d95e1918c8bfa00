"""How many pixels the operation of a node leaves: sliding windows and the other rules. Plain arithmetic."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import Node

Size = tuple[int, int]  # (H, W)
Pads = tuple[tuple[int, int], tuple[int, int]]  # pixels (above, below), (left, right) of a map

UNPADDED: Pads = ((0, 0), (0, 0))


class Window(NamedTuple):
    """A sliding window; each pair is (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool  # padding as TensorFlow's SAME, which depends on the size of the map
    pads: Pads = UNPADDED  # otherwise

    def output_size(self, h: int, w: int) -> tuple[int, int]:
        """Pixels (vertical, horizontal) that the window leaves of an h x w map; less than 1 where it does not fit."""
        padding = "same" if self.same else "valid"
        sizes = h + sum(self.pads[0]), w + sum(self.pads[1])
        axes = zip(sizes, self.kernel, self.stride, self.dilation, strict=True)
        rows, columns = (window_output(size, k, stride, padding, dilation) for size, k, stride, dilation in axes)
        return rows, columns

    def padding(self, h: int, w: int) -> Pads:
        """The pixels that it adds around an h x w map."""
        if not self.same:
            return self.pads
        rows, columns = map(same_padding, (h, w), self.kernel, self.stride, self.dilation)
        return rows, columns

    def area(self, h: int, w: int) -> int:
        """Pixels of an h x w map and of the border that it adds."""
        (above, below), (left, right) = self.padding(h, w)
        return (h + above + below) * (w + left + right)


def window_of(node: "Node") -> Window:
    """The window of a convolution or pool.

    Raises:
        ValueError: The kernel, stride or dilation is missing or not made of positive whole numbers; or the padding is
            said to be explicit, but not how large it is.
    """
    metadata = node.metadata or {}
    kernel = node.kernel[2:] if node.type_idx else metadata.get("ksize", ())[1:3]
    rate = metadata.get("dil_rate")
    dilation = (rate, rate) if rate else (metadata.get("dilations") or (1, 1, 1, 1))[1:3]
    window = Window(kernel, (node.strides or (1, 1, 1, 1))[1:3], dilation, node.padding == "same", _explicit(node))
    for name, pair in zip(("kernel", "stride", "dilation"), window[:3], strict=True):
        if len(pair) != 2 or any(type(size) is not int or size < 1 for size in pair):
            raise node.error(f"its {name} {tuple(pair)} is not two positive whole numbers")
    return window


def _explicit(node: "Node") -> Pads:
    if node.padding != "explicit":
        return UNPADDED
    return pairs_of(node, "pads_h", "pads_w", least=0)


def pairs_of(node: "Node", vertical: str, horizontal: str, least: int | None = None) -> Pads:
    """Two pairs of whole numbers that a node's metadata give, (0, 0) where they do not.

    Raises:
        ValueError: They give something else, or a number below `least`.
    """
    rows, columns = ((node.metadata or {}).get(name, (0, 0)) for name in (vertical, horizontal))
    for name, pair in ((vertical, rows), (horizontal, columns)):
        whole = isinstance(pair, tuple) and len(pair) == 2 and all(type(number) is int for number in pair)
        if not whole or (least is not None and min(pair) < least):
            raise node.error(
                f"its {name} {pair} is not two whole numbers{'' if least is None else f' from {least} on'}"
            )
    return rows, columns


def window_output(size: int, kernel: int, stride: int, padding: str, dilation: int = 1) -> int:
    """Pixels left along one axis after a sliding window (`same`: ceil(size / stride))."""
    if padding == "valid":
        size -= (kernel - 1) * dilation
    return -(-size // stride)


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME adds (before, after) along an axis of `size` pixels."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def same_size(node: "Node", h: int, w: int) -> Size:
    """(H, W) of an h x w map that is passed on."""
    return h, w


def under_window(node: "Node", h: int, w: int) -> Size:
    """(H, W) that a node's window leaves of an h x w map.

    Raises:
        ValueError: See `window_of`.
    """
    return window_of(node).output_size(h, w)


def one_pixel(node: "Node", h: int, w: int) -> Size:
    """(H, W) of a mean over all pixels."""
    return 1, 1


def padded(node: "Node", h: int, w: int) -> Size:
    """(H, W) of an h x w map with a node's pixels around it.

    Raises:
        ValueError: They are not given as two pairs of whole numbers.
    """
    rows, columns = pairs_of(node, "pad_h", "pad_w")
    return h + sum(rows), w + sum(columns)


def sliced(node: "Node", h: int, w: int) -> Size:
    """(H, W) of what a node takes out of a map; where it leaves out pixels, the map has to be as large as recorded.

    Raises:
        ValueError: It is not.
    """
    metadata = node.metadata or {}
    return as_recorded(node, h, w) if "rows" in metadata or "columns" in metadata else (h, w)


def repeated(node: "Node", h: int, w: int) -> Size:
    """(H, W) of a map whose only pixel is repeated, or which keeps its pixels.

    Raises:
        ValueError: The map has another size than recorded, which is that of its result not.
    """
    return (h, w) if node.in_shape[:2] == node.out_shape[:2] else as_recorded(node, h, w)


def transposed(node: "Node", h: int, w: int) -> Size:
    """(H, W) that a transposed convolution makes of an h x w map.

    Raises:
        ValueError: See `window_of` and `crops_of`.
    """
    window, crops = window_of(node), crops_of(node)
    axes = zip((h, w), window.kernel, window.stride, window.dilation, crops, strict=True)
    rows, columns = ((size - 1) * s + (k - 1) * d + 1 - sum(crop) for size, k, s, d, crop in axes)
    return rows, columns


def crops_of(node: "Node") -> Pads:
    """Pixels that a transposed convolution leaves out at each end of its full result; negative ones it adds.

    Where a node does not say so, as those of TensorFlow, it is what its sizes tell.

    Raises:
        ValueError: See `window_of` and `pairs_of`.
    """
    if {"crop_h", "crop_w"} & (node.metadata or {}).keys():
        return pairs_of(node, "crop_h", "crop_w")
    window, found = window_of(node), []
    for before, after, k, s, d in zip(
        node.in_shape[:2], node.out_shape[:2], window.kernel, window.stride, window.dilation, strict=True
    ):
        total = (before - 1) * s + (k - 1) * d + 1 - after
        first = max(total, 0) // 2 if window.same else 0
        found.append((first, total - first))
    return found[0], found[1]


def resized(node: "Node", h: int, w: int) -> Size:
    """(H, W) of an h x w map that is enlarged or made smaller by a node's factors.

    Raises:
        ValueError: See `factors_of`.
    """
    (up_h, down_h), (up_w, down_w) = factors_of(node)
    return h * up_h // down_h, w * up_w // down_w


def factors_of(node: "Node") -> Pads:
    """The vertical and the horizontal factor by which a node resizes a map, as fractions.

    Raises:
        ValueError: They are no positive numbers.
    """
    metadata, missing = node.metadata or {}, (0, 0)
    complete = {"factor_h": missing, "factor_w": missing, **metadata}
    if missing in (complete["factor_h"], complete["factor_w"]):
        raise node.error("it does not say by how much it resizes a map")
    return pairs_of(node, "factor_h", "factor_w", least=1)


def in_blocks(node: "Node", h: int, w: int) -> Size:
    """(H, W) of an h x w map whose pixels become blocks of pixels, or whose blocks become pixels, as recorded.

    Raises:
        ValueError: The map is not made of whole blocks.
    """
    (h_in, w_in), (h_out, w_out) = node.in_shape[:2], node.out_shape[:2]
    if (h * h_out) % h_in or (w * w_out) % w_in:
        raise node.error(f"a {h}x{w} map is not made of whole blocks of pixels")
    return h * h_out // h_in, w * w_out // w_in


def as_recorded(node: "Node", h: int, w: int) -> Size:
    """(H, W) that a node says it gives, of a map as large as it says that it gets.

    Raises:
        ValueError: The map has another size, for which nobody knows.
    """
    if node.in_shape[:2] != (h, w):
        raise node.error(f"it is recorded for a {node.in_shape[0]}x{node.in_shape[1]} map and gets one of {h}x{w}")
    return node.out_shape[:2]
