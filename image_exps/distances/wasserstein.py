r"""Wasserstein-2 distances to a fixed set of exact samples: sliced, in any dimension, and exact.

``W_2^2(P, Q) = min E |x - y|^2`` over couplings of ``P`` and ``Q``. Between empirical distributions it is biased: of
``n`` exact samples it falls as ``n^{-1/2}`` in one dimension, and as slowly as ``n^{-1/d}`` in ``d``. The floor of as
many samples is the only thing to read it by.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import ot
import torch
from torch import Tensor

from image_exps.distances.base import Distance, Statistic, squared_distances
from image_exps.distances.reference import Comparable, Reference, reference_of
from lml.arguments import check_integer
from toy import ExactTarget, Pictures

__all__ = ["MOST", "W2", "SlicedW2"]

_REFERENCE = 2048
_DIRECTIONS = 128
_DIRECTION_SEED = 0xD17

#: Samples, of either side, up to which the exact distance is computed: a second on one core, and 30 MB.
MOST = 1024


class SlicedW2(Distance):
    r"""``SW_2 = (E_theta W_2^2(theta . P, theta . Q))^{1/2}`` over uniform directions: the mean over 128 fixed ones.

    In one dimension ``W_2^2 = int_0^1 (F^{-1} - G^{-1})^2`` of the quantile functions, step functions here, integrated
    exactly. A direction sees ``1/d`` of a squared distance: figures of different dimensions do not compare.

    Source: Rabin et al. 2012; Bonneel et al. 2015.
    """

    name = "sliced-w2"
    bounds = (0.0, math.inf)
    least = 1

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference, directions: int = _DIRECTIONS) -> None:
        super().__init__(reference_of(target))
        check_integer(directions, "directions")
        generator = torch.Generator().manual_seed(_DIRECTION_SEED)
        theta = torch.randn((self.reference.dim, directions), dtype=torch.float64, generator=generator)
        self._theta = theta / theta.norm(dim=0)

    @cached_property
    def _fixed(self) -> Tensor:
        """Sorted projections of the reference set, shape (directions, m)."""
        projected: Tensor = (self.reference.fixed(_REFERENCE) @ self._theta).T.contiguous()
        return torch.sort(projected, 1).values

    def _prepare(self, x: Tensor) -> Statistic:
        n, m = len(x), self._fixed.shape[1]
        rows, order = (x @ self._theta).T.contiguous().sort(1)
        # Where either quantile function steps, in units of 1/(n m).
        steps = torch.from_numpy(np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n))
        mass, at_x, at_y = steps.diff().double() / (n * m), steps[:-1] // m, steps[:-1] // n
        ours = self._fixed[:, at_y]
        places = (torch.arange(n) + 0.5).expand(len(rows), -1).double().contiguous()

        def value(w: Tensor) -> float:
            # The j-th of the drawn samples in order is the first whose weights add up to more than j.
            drawn = rows.gather(1, torch.searchsorted(w[order].cumsum(1), places))
            return math.sqrt(float(((drawn[:, at_x] - ours).square() @ mass).mean()))

        return value

    def remark(self, count: int) -> str:
        return f"{self._theta.shape[1]} directions, reference of {self._fixed.shape[1]}"


class W2(Distance):
    r"""The exact ``W_2`` to a fixed set of at most 1024 exact samples, by the network simplex.

    A resample is not solved anew. With the potential ``f`` of the optimal plan, ``W_2^2`` of samples with other weights
    is ``sum_i w_i f_i/n + const`` to first order, and that order alone has its limit law, about ``E W_2^2(P_n, Q)``.

    Source: POT, `ot.emd2` (Bonneel et al. 2011); del Barrio & Loubes 2019 for the limit law.
    """

    name = "w2"
    bounds = (0.0, math.inf)
    least = 1

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))

    @cached_property
    def _fixed(self) -> Tensor:
        return self.reference.fixed(MOST)

    def check(self, samples: Tensor) -> Tensor:
        x = super().check(samples)
        if len(x) > MOST:
            raise ValueError(f"samples must be at most {MOST} for {self.name}, got {len(x)}; sliced-w2 takes more")
        return x

    def _prepare(self, x: Tensor) -> Statistic:
        y, n = self._fixed, len(x)
        centre = y.mean(0)
        cost = squared_distances(x - centre, y - centre).numpy()
        square, log = ot.emd2(np.full(n, 1 / n), np.full(len(y), 1 / len(y)), cost, numItermax=10_000_000, log=True)
        potential = torch.from_numpy(np.asarray(log["u"], dtype=np.float64))

        def value(w: Tensor) -> float:
            return math.sqrt(max(0.0, float(square) + float((w - 1) @ potential) / n))

        return value

    def remark(self, count: int) -> str:
        return f"reference of {len(self._fixed)}"
