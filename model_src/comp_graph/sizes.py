"""How many pixels the operation of a node leaves: sliding windows and the other rules. Plain arithmetic."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from model_src.comp_graph.tf_comp_graph import Node

Size = tuple[int, int]  # (H, W)


class Window(NamedTuple):
    """A sliding window; each pair is (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool  # padding as TensorFlow's SAME; otherwise none

    def output_size(self, h: int, w: int) -> tuple[int, int]:
        """Pixels (vertical, horizontal) that the window leaves of an h x w map; less than 1 where it does not fit."""
        padding = "same" if self.same else "valid"
        axes = zip((h, w), self.kernel, self.stride, self.dilation, strict=True)
        rows, columns = (window_output(size, k, stride, padding, dilation) for size, k, stride, dilation in axes)
        return rows, columns


def window_of(node: "Node") -> Window:
    """The window of a convolution or pool.

    Raises:
        ValueError: The kernel, stride or dilation is missing or not made of positive whole numbers.
    """
    metadata = node.metadata or {}
    kernel = node.kernel[2:] if node.type_idx else metadata.get("ksize", ())[1:3]
    rate = metadata.get("dil_rate")
    dilation = (rate, rate) if rate else (metadata.get("dilations") or (1, 1, 1, 1))[1:3]
    window = Window(kernel, (node.strides or (1, 1, 1, 1))[1:3], dilation, node.padding == "same")
    for name, pair in zip(("kernel", "stride", "dilation"), window[:3], strict=True):
        if len(pair) != 2 or any(not isinstance(size, int) or size < 1 for size in pair):
            raise node.error(f"its {name} {tuple(pair)} is not two positive whole numbers")
    return window


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
    """(H, W) of an h x w map with a node's pixels around it."""
    metadata = node.metadata or {}
    return h + sum(metadata.get("pad_h", ())), w + sum(metadata.get("pad_w", ()))


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


def as_recorded(node: "Node", h: int, w: int) -> Size:
    """(H, W) that a node says it gives, of a map as large as it says that it gets.

    Raises:
        ValueError: The map has another size, for which nobody knows.
    """
    if node.in_shape[:2] != (h, w):
        raise node.error(f"it is recorded for a {node.in_shape[0]}x{node.in_shape[1]} map and gets one of {h}x{w}")
    return node.out_shape[:2]
