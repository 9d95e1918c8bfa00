"""Layers that take maps (N, C, H, W) apart, put them in another order or normalise them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Slice(nn.Module):
    """Some channels, rows and columns."""

    def __init__(self, channels: slice, rows: slice, columns: slice):
        super().__init__()
        self.parts = channels, rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to what is left of it."""
        channels, rows, columns = self.parts
        return x[:, channels, rows, columns]


class Gather(nn.Module):
    """The channels of given numbers, in their order."""

    index: Tensor

    def __init__(self, index: Sequence[int]):
        super().__init__()
        self.register_buffer("index", torch.tensor(index), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, len(index), H, W)."""
        return x.index_select(1, self.index)


class Broadcast(nn.Module):
    """A single channel, row or column so many times; -1 for all as they are."""

    def __init__(self, channels: int, rows: int, columns: int):
        super().__init__()
        self.sizes = channels, rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the sizes."""
        return x.expand(-1, *self.sizes)


class PixelLayerNorm(nn.LayerNorm):
    """The channels of every pixel, normalised."""

    def __init__(self, channels: int, epsilon: float):
        super().__init__(channels, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
