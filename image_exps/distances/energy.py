r"""Energy distance and MMD to a fixed set of exact samples: both are differences of mean kernels.

``D = E k(x, x') - 2 E k(x, y) + E k(y, y')`` with independent ``x, x'`` of the samples and ``y, y'`` exact. The means
are over pairs of different samples (U-statistics), so that ``D`` is unbiased, and of exact samples it is zero on the
average, sometimes negative. In a resample a sample and its own copy are no pair either.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from image_exps.distances.base import Distance, Statistic, squared_distances
from image_exps.distances.reference import Comparable, Reference, reference_of
from toy import ExactTarget, Pictures

__all__ = ["MMD", "EnergyDistance"]

_REFERENCE = 2048


class _KernelDistance(Distance):
    """The distance of a kernel that is a function of ``|x - y|^2``."""

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))

    def _kernel(self, squares: Tensor) -> Tensor:
        raise NotImplementedError

    @cached_property
    def _fixed(self) -> tuple[Tensor, Tensor]:
        """The reference set's mean, (d,), and the set about it, (m, d)."""
        y = self.reference.fixed(_REFERENCE)
        centre = y.mean(0)
        return centre, y - centre

    @cached_property
    def _own_squares(self) -> Tensor:
        """``|y - y'|^2`` of all pairs of the reference set, shape (m (m - 1)/2,)."""
        y = self._fixed[1]
        rows, columns = torch.triu_indices(len(y), len(y), 1)
        return squared_distances(y, y)[rows, columns]

    @cached_property
    def _own(self) -> float:
        """``E k(y, y')`` of the reference set."""
        return float(self._kernel(self._own_squares).mean())

    def _prepare(self, x: Tensor) -> Statistic:
        centre, y = self._fixed
        x = x - centre
        within = self._kernel(squared_distances(x, x)).fill_diagonal_(0)
        across = self._kernel(squared_distances(x, y)).mean(1)

        def value(w: Tensor) -> float:
            n = w.sum()
            pairs = n * n - w @ w
            if pairs == 0:  # one sample, drawn every time: there is no pair
                return math.nan
            return float(w @ (within @ w) / pairs - 2 * (w @ across) / n + self._own)

        return value

    def remark(self, count: int) -> str:
        return f"reference of {len(self._fixed[1])}"


class EnergyDistance(_KernelDistance):
    r"""``2 E|x - y| - E|x - x'| - E|y - y'|``, the kernel ``-|x - y|``; zero for equal distributions alone.

    Source: Szekely & Rizzo 2013; Sejdinovic et al. 2013 for the kernel.
    """

    name = "energy"

    def _kernel(self, squares: Tensor) -> Tensor:
        return -squares.sqrt()


class MMD(_KernelDistance):
    r"""The squared maximum mean discrepancy of the kernel ``exp(-|x - y|^2/(2 h^2))``.

    The bandwidth ``h`` is the median distance of the reference's pairs, whatever the samples are.

    Source: Gretton et al. 2012, Eq. 3, and Sec. 8 for the median.
    """

    name = "mmd"

    @cached_property
    def bandwidth(self) -> float:
        """``h``."""
        return math.sqrt(float(self._own_squares.median()))

    def _kernel(self, squares: Tensor) -> Tensor:
        return torch.exp(squares / (-2 * self.bandwidth**2))

    def remark(self, count: int) -> str:
        return f"{super().remark(count)}, bandwidth {self.bandwidth:.4g}"
