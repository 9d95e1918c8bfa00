"""Weighted sums of the rows of a matrix, on any device and differentiable."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Sums(NamedTuple):
    """Weighted sums of rows.

    Attributes:
        rows: (e,) rows of the matrix, sum by sum.
        starts: (m,) where every sum's rows begin.
        weights: (e,) of these rows.
    """

    rows: Tensor
    starts: Tensor
    weights: Tensor

    @classmethod
    def made_of(cls, rows: np.ndarray, lengths: np.ndarray, weights: np.ndarray | None = None) -> "Sums":
        """Sums of so many rows each; without weights each counts once."""
        weights = np.ones(len(rows)) if weights is None else weights
        return cls(*map(torch.from_numpy, (rows, np.cumsum(lengths) - lengths, weights)))

    def of(self, matrix: Tensor) -> Tensor:
        """(n, size) -> (m, size)."""
        # What `functional.embedding_bag` calls, without the checks that take longer than a small sum (mode 0 adds up).
        return torch.embedding_bag(matrix, self.rows, self.starts, mode=0, per_sample_weights=self.weights)[0]

    def to(self, device: torch.device, dtype: torch.dtype) -> "Sums":
        """The same sums on another device and with another type of weights."""
        return Sums(self.rows.to(device), self.starts.to(device), self.weights.to(device, dtype))


class RangeMeans(NamedTuple):
    """Means over ranges of a few lists of rows, with some rows added to and taken from the sum of each.

    The ranges of a list overlap: each takes the difference of two running sums.

    Attributes:
        rows: (n,) rows of the matrix, list by list.
        slots: (n,) the place of each of them in a table with a row for every list, which begins with an empty place.
        width: Width of that table.
        n_lists: Its height.
        starts: (m,) the place before every range's first row.
        stops: (m,) the place of its last one.
        changes: What is added to and taken from the sums.
        shares: (m, 1) the weight of a row in the mean.
    """

    rows: Tensor
    slots: Tensor
    width: int
    n_lists: int
    starts: Tensor
    stops: Tensor
    changes: Sums
    shares: Tensor

    @classmethod
    def made_of(
        cls,
        rows: np.ndarray,
        lengths: np.ndarray,
        ranges: tuple[np.ndarray, np.ndarray, np.ndarray],
        changes: Sums,
        shares: np.ndarray,
    ) -> "RangeMeans":
        """Means over ranges, each given as the number of its list and where in that it starts and stops."""
        width = int(lengths.max()) + 1
        number = np.repeat(np.arange(len(lengths)), lengths)
        slots = np.arange(len(rows)) + 1 + number * width - np.repeat(np.cumsum(lengths) - lengths, lengths)
        of_list, starts, stops = ranges
        return cls(
            torch.from_numpy(rows),
            torch.from_numpy(slots),
            width,
            len(lengths),
            torch.from_numpy(of_list * width + starts),
            torch.from_numpy(of_list * width + stops),
            changes,
            torch.from_numpy(shares[:, None]),
        )

    def of(self, matrix: Tensor) -> Tensor:
        """(n, size) -> (m, size)."""
        size = matrix.shape[1]
        table = matrix.new_zeros(self.n_lists * self.width, size)
        table = table.index_copy(0, self.slots, matrix.index_select(0, self.rows))
        table = table.view(self.n_lists, self.width, size).cumsum(1).view(-1, size)
        sums = table.index_select(0, self.stops) - table.index_select(0, self.starts)
        return (sums + self.changes.of(matrix)) * self.shares

    def to(self, device: torch.device, dtype: torch.dtype) -> "RangeMeans":
        """The same means on another device and with another type of weights."""
        moved = {name: getattr(self, name).to(device) for name in ("rows", "slots", "starts", "stops")}
        return self._replace(**moved, changes=self.changes.to(device, dtype), shares=self.shares.to(device, dtype))
