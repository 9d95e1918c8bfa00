"""Axes of the charts in reports: where on a canvas a value lies, and what the axis says."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Axis:
    """A direction of a chart.

    Attributes:
        label: What it measures.
        low: The value at `begin`.
        high: The value at `end`.
        begin: Where it begins on the canvas; likewise `end`.
        ticks: Values that are written beside it, as (value, text).
    """

    label: str
    low: float
    high: float
    begin: float
    end: float
    ticks: tuple[tuple[float, str], ...] = ()

    def __call__(self, value: float) -> float:
        """The place of a value on the canvas, to a tenth."""
        return round(self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin), 1)


@dataclass(frozen=True)
class Canvas:
    """A chart of a size, in units of its own.

    Attributes:
        x: The horizontal axis.
        y: The vertical one.
        width: Of the whole; likewise `height`.
    """

    x: Axis
    y: Axis
    width: float
    height: float


def axis(label: str, values: Iterable[float], begin: float, end: float, integer: bool = False) -> Axis:
    """An axis over all finite values, a little longer on both sides.

    Args:
        label: What it measures.
        values: The values.
        begin: Where it begins on the canvas.
        end: Where it ends.
        integer: Whether only whole numbers are written beside it.
    """
    from matplotlib.ticker import MaxNLocator

    finite = [value for value in values if isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    ticks = [
        value
        for value in MaxNLocator(5, integer=integer, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)
        if low <= value <= high
    ]
    scale, sign = (1e6, " M") if max(map(abs, ticks), default=0) >= 1e6 else (1, "")
    told = [float(value) / scale for value in ticks]
    digits = next(n for n in range(12) if n == 11 or all(abs(round(value, n) - value) < 1e-9 for value in told))
    texts = (f"{value:,.{digits}f}{sign}" for value in told)
    return Axis(label, low, high, begin, end, tuple(zip(map(float, ticks), texts, strict=True)))


def canvas(
    x: tuple[str, Iterable[float]], y: tuple[str, Iterable[float]], width: float, height: float, counts: bool = False
) -> Canvas:
    """A chart with room for what its axes say.

    Args:
        x: Label and values of the horizontal axis.
        y: Label and values of the vertical one.
        width: Of the whole.
        height: Of the whole.
        counts: Whether the horizontal axis has whole numbers only.
    """
    across = axis(*x, begin=78, end=width - 14, integer=counts)
    return Canvas(across, axis(*y, begin=height - 56, end=34), width, height)


def colours(count: int) -> list[str]:
    """So many colours from dark to light, for a sequence; seen on light and on dark ground."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.12 + 0.78 * number / max(count - 1, 1))) for number in range(count)]
