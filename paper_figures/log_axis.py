"""Ticks of logarithmic axes: three labels or more, plain numbers, and small ticks that show that the axis is one."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, Locator, LogLocator, MaxNLocator, NullFormatter, NullLocator

__all__ = ["FewTicks", "mark_logarithms"]

# Multiples of a power of ten that are labelled, from few to many.
_MULTIPLES = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))

# Of labels on an axis; and the most decades that are divided by small ticks.
_LEAST, _MOST, _DIVIDED = 3, 7, 6.5

# Outside of these a number is written as a power of ten.
_PLAIN = (1e-3, 1e5)


class FewTicks(Locator):
    """Three to seven places on a logarithmic axis: every k-th power of ten, or round multiples of them."""

    def __call__(self) -> list[float]:
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        low, high = sorted((vmin, vmax))
        if not low > 0:
            return []
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        every = max(1, math.ceil((math.log10(high) - math.log10(low)) / _MOST))
        # Multiples of the stride, so that 1 is among them.
        powers = np.arange(every * math.floor(first / every), last + 1, every)
        for multiples in _MULTIPLES[: len(_MULTIPLES) if every == 1 else 1]:
            ticks = np.sort([m * 10.0**p for p in powers for m in multiples])
            inside = ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]
            if len(inside) >= _LEAST:
                return [float(x) for x in inside]
        return [float(x) for x in MaxNLocator(5).tick_values(low, high) if low <= x <= high]


class _Plain(Formatter):
    """Plain numbers, or powers of ten where an axis reaches far from one."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        assert self.axis is not None
        low, high = sorted(self.axis.get_view_interval())
        if low >= _PLAIN[0] / 1.01 and high <= _PLAIN[1]:
            return f"{x:g}" if x < 1e4 else f"{x:,.0f}".replace(",", r"$\,$")
        power = math.floor(math.log10(x) + 1e-9)
        multiple = x / 10.0**power
        return rf"$10^{{{power}}}$" if abs(multiple - 1) < 1e-6 else rf"${multiple:g}\times10^{{{power}}}$"


def mark_logarithms(axis: Axis) -> None:
    """Put readable ticks on a logarithmic axis; one that is linear, or whose ticks were chosen, stays as it is."""
    if axis.get_scale() != "log" or not isinstance(axis.get_major_locator(), LogLocator):
        return
    axis.set_major_locator(FewTicks())
    axis.set_major_formatter(_Plain())
    low, high = sorted(axis.get_view_interval())
    divided = low > 0 and math.log10(high / low) <= _DIVIDED
    axis.set_minor_locator(LogLocator(subs=list(range(2, 10))) if divided else NullLocator())
    axis.set_minor_formatter(NullFormatter())
