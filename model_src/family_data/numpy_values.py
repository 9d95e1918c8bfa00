"""Numpy values in pickles, read as plain numbers and lists without numpy's own unpickling code."""

from typing import Any

import numpy as np


class _PickledDtype:
    """Stands for numpy.dtype in a pickle; remembers what the dtype was made from and does nothing with it."""

    def __init__(self, code: str, *_: Any):
        self.code = code
        self.byte_order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = state[1] if state[1] in ("<", ">") else "="


def _numbers(dtype: _PickledDtype, data: bytes) -> np.ndarray:
    kind = np.dtype(f"{dtype.byte_order}{dtype.code}")
    if kind.kind not in "biuf":
        raise ValueError(f"numbers of type {kind}")
    return np.frombuffer(data, kind)


def _scalar(dtype: _PickledDtype, data: bytes) -> Any:
    return _numbers(dtype, data)[0].item()


class _PickledArray(list[Any]):
    """Stands for numpy.ndarray in a pickle and becomes a nested list."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran_order, data = state
        self.extend(_numbers(dtype, data).reshape(shape, order="F" if fortran_order else "C").tolist())


# For `files.load_pickle`.
NUMPY_CLASSES: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _PickledDtype,
    ("numpy", "ndarray"): _PickledArray,
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("scalar", _scalar), ("_reconstruct", lambda *_: _PickledArray()))
    },
}
