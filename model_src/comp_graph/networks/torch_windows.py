"""PyTorch layers that slide a window over a map, or change its size in another way."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_src.comp_graph.sizes import Pads, Window


def _pad(x: Tensor, window: Window, value: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """The padded map and the symmetric (vertical, horizontal) padding that is left for the operation to do itself."""
    h, w = x.shape[2:]
    (top, bottom), (left, right) = window.padding(h, w)
    if top == bottom and left == right:
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom), value=value), (0, 0)


class WindowConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does, whatever the size of the map."""

    def __init__(self, c_in: int, c_out: int, window: Window, bias: bool, groups: int = 1):
        super().__init__(c_in, c_out, window.kernel, window.stride, dilation=window.dilation, groups=groups, bias=bias)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        x, padding = _pad(x, self.window)
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class WindowMaxPool2d(nn.Module):
    """The maximum over the real pixels of a window."""

    def __init__(self, window: Window):
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W)."""
        window = self.window
        x, padding = _pad(x, window, value=float("-inf"))
        return functional.max_pool2d(x, window.kernel, window.stride, padding, window.dilation)


class WindowAvgPool2d(WindowMaxPool2d):
    """The average over the real pixels of a window."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W)."""
        padded, padding = _pad(x, self.window)
        if x.dtype is torch.bfloat16 and x.device.type == "cpu":
            return self._convolved(x, padded, padding)
        result = functional.avg_pool2d(padded, self.window.kernel, self.window.stride, padding, count_include_pad=False)
        if padded is x:
            return result
        real, _ = _pad(x.new_ones(1, 1, *x.shape[2:]), self.window)
        return result / functional.avg_pool2d(real, self.window.kernel, self.window.stride)

    def _convolved(self, x: Tensor, padded: Tensor, padding: tuple[int, int]) -> Tensor:
        """The same by convolutions, which in bfloat16 on a CPU take a fifth of the time."""
        ones = x.new_ones(x.shape[1], 1, *self.window.kernel)
        real = torch.ones_like(x[:1])  # of all channels: to repeat one of them is slow
        sums, counts = (
            functional.conv2d(maps, ones, None, self.window.stride, padding, groups=x.shape[1])
            for maps in (padded, real if padded is x else _pad(real, self.window)[0])
        )
        return sums / counts


class TransposedConv2d(nn.ConvTranspose2d):
    """A transposed convolution that leaves out, or adds, so many pixels at each end of its full result."""

    def __init__(self, c_in: int, c_out: int, window: Window, crops: Pads, bias: bool, groups: int = 1):
        padding, added, self.left_out = _split(crops, window)
        super().__init__(c_in, c_out, window.kernel, window.stride, padding, added, groups, bias, window.dilation)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C_in, H, W) to (N, C_out, ...)."""
        x = super().forward(x, output_size)
        (top, bottom), (left, right) = self.left_out
        return functional.pad(x, (-left, -right, -top, -bottom)) if any((top, bottom, left, right)) else x


def _split(crops: Pads, window: Window) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    """Padding and output padding of PyTorch's own layer, and what is to be left out behind it."""
    paddings, added, left_out = [], [], []
    for (before, after), most in zip(crops, map(max, window.stride, window.dilation), strict=True):
        is_own = before >= 0 and 0 <= before - after < most
        paddings.append(before if is_own else 0)
        added.append(before - after if is_own else max(-after, 0))
        left_out.append((0, 0) if is_own else (before, max(after, 0)))
    return (paddings[0], paddings[1]), (added[0], added[1]), (left_out[0], left_out[1])


class Resize(nn.Module):
    """A map enlarged or made smaller by a vertical and a horizontal factor, which are fractions.

    Attributes:
        factors: ((numerator, denominator), ...).
        mode: As `torch.nn.functional.interpolate` has it; likewise `align_corners`.
    """

    def __init__(self, factors: Pads, mode: str, align_corners: bool | None):
        super().__init__()
        self.factors, self.mode, self.align_corners = factors, mode, align_corners

    @property
    def whole(self) -> tuple[float, float] | None:
        """The factors where they are whole numbers."""
        (up_h, down_h), (up_w, down_w) = self.factors
        return (float(up_h), float(up_w)) if down_h == down_w == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Resize (N, C, H, W)."""
        if self.whole:
            return functional.interpolate(x, None, self.whole, self.mode, self.align_corners)
        size = [pixels * up // down for pixels, (up, down) in zip(x.shape[2:], self.factors, strict=True)]
        return functional.interpolate(x, size, None, self.mode, self.align_corners)


class Blocks(nn.Module):
    """Channels that become blocks of pixels, or the other way round.

    Args:
        size: Pixels of a block (vertical, horizontal).
        is_split: Whether channels become pixels.
        channels_first: Whether the channels of one result lie side by side, as PyTorch has them; otherwise those of
            one pixel do, as TensorFlow has them.
    """

    def __init__(self, size: tuple[int, int], is_split: bool, channels_first: bool):
        super().__init__()
        self.size, self.is_split, self.channels_first = size, is_split, channels_first

    def view(self, c: int, h: int, w: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The five axes in which a map is looked at, and in which order all six are to be, with images as the first."""
        b_h, b_w = self.size
        if not self.is_split:
            order = (0, 1, 3, 5, 2, 4) if self.channels_first else (0, 3, 5, 1, 2, 4)
            return (c, h // b_h, b_h, w // b_w, b_w), order
        kept = c // (b_h * b_w)
        if self.channels_first:
            return (kept, b_h, b_w, h, w), (0, 1, 4, 2, 5, 3)
        return (b_h, b_w, kept, h, w), (0, 3, 4, 1, 5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C / (b_h b_w), H b_h, W b_w), or back."""
        n, c, h, w = x.shape
        (parts, order), (b_h, b_w) = self.view(c, h, w), self.size
        x = x.reshape(n, *parts).permute(order)
        if self.is_split:
            return x.reshape(n, c // (b_h * b_w), h * b_h, w * b_w)
        return x.reshape(n, c * b_h * b_w, h // b_h, w // b_w)
