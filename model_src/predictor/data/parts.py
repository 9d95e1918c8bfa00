"""Networks packed in parts: as one, in memory, or as many that lie in a file, of which one is in memory at a time."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO
from weakref import finalize

import numpy as np
import torch

from model_src.predictor.data.batching import FeatureTensors, Pack

_ARRAYS = (
    *("rows", "originals", "edges", "bypassed"),
    *("node_start", "edge_start", "bypassed_start", "network", "parts"),
)


@dataclass(frozen=True)
class Parts:
    """Packs, one after the other; items and networks are numbered through all of them.

    Attributes:
        network: (items,) number of the network that every item belongs to.
        first: (parts + 1,) number of the first item of every part.
        read: Number of a part -> its pack.
    """

    network: np.ndarray
    first: np.ndarray
    read: Callable[[int], Pack]

    @classmethod
    def one(cls, pack: Pack) -> "Parts":
        """A single pack, in memory."""
        return cls(pack.network, np.array([0, len(pack.network)]), lambda _: pack)

    @classmethod
    def on_disk(cls, packs: Iterable[tuple[Pack, int]]) -> "Parts":
        """Packs, each given with its number of networks, in a temporary file that has no name and ends with them.

        Raises:
            OSError: It cannot be written.
        """
        starts, networks, n_networks = list[int](), list[np.ndarray](), 0
        with ExitStack() as stack:
            file = stack.enter_context(TemporaryFile())
            for pack, count in packs:
                starts.append(file.tell())
                for array in (*map(_as_array, pack.features), *(getattr(pack, name) for name in _ARRAYS)):
                    np.save(file, array, allow_pickle=False)
                networks.append((pack.network + n_networks).astype(np.int32))
                n_networks += count
            first = np.cumsum([0, *map(len, networks)])
            parts = cls(np.concatenate(networks), first, lambda number: _read(file, starts[number]))
            finalize(parts, stack.pop_all().close)
        return parts

    def divide(self, items: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Ascending items by part: the number of every part that has some of them, and these."""
        shares = np.split(items, np.searchsorted(items, self.first[1:-1]))
        return [(number, own) for number, own in enumerate(shares) if len(own)]


def _as_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy()


def _read(file: IO[bytes], start: int) -> Pack:
    file.seek(start)
    features = FeatureTensors(*(torch.from_numpy(np.load(file)) for _ in FeatureTensors._fields))
    return Pack(features, **{name: np.load(file) for name in _ARRAYS})
