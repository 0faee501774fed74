r"""Whether samples reach every part of a target: modes of a mixture, and balls about real pictures.

**Modes.** A sample belongs to the component that it most likely came from, ``argmax_k p(k | x)``, which for a smoothed
data set is the nearest point. Of ``n`` samples a mode of weight ``w_k`` is due ``n w_k``; it is covered if it gets at
least half of that, and at least one. Coverage is the share of modes that are covered. With fewer samples than modes
even exact ones cover few: the floor.

**Resamples.** Who is reached by one sample alone is what both coverages turn on, and a resample without a third of the
samples loses too many. There they are taken to first order, as by the jackknife: a sample counts for what it alone
reaches. A mode that is due two samples and more is counted anew.

**Balls.** With the ball ``B_i`` about each reference sample ``y_i`` that reaches its fifth neighbour in the reference::

    coverage = share of balls with at least one sample
    density  = E_x (number of balls that hold x) / 5

In feature space for pictures that the feature network can look at, else in the samples' own.

Source: Naeem et al. 2020, Reliable Fidelity and Diversity Metrics, Eq. 5 and 6; Efron 1982, Sec. 3 (the jackknife).
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from image_exps.distances.base import Distance, Statistic
from image_exps.distances.features import feature_space, is_looked_at
from image_exps.distances.reference import Comparable, Reference, reference_of
from toy import DataMixture, ExactTarget, GaussianMixture, Pictures

__all__ = ["Coverage", "Density", "ModeCoverage"]

# A mode is covered by this share of its due.
_DUE = 0.5

_NEIGHBOURS = 5
_REFERENCE = 2048

# Entries of a table of distances that is held at once.
_TABLE = 1 << 24


class ModeCoverage(Distance):
    """The share of the modes of a mixture that get at least half of their due.

    Args:
        target: whose exact distribution is a mixture.
    """

    name = "mode-coverage"
    bounds = (0.0, 1.0)
    higher_is_better = True
    least = 1

    def __init__(self, target: Comparable | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))
        law = self.reference.law
        if isinstance(law, GaussianMixture):
            self._weights = law.weights.double()
        elif isinstance(law, DataMixture):
            self._weights = torch.full((law.count,), 1 / law.count, dtype=torch.float64)
        else:
            raise ValueError(f"target must be a mixture, {self.reference.name} is none")

    def modes(self, x: Tensor) -> Tensor:
        """Return the mode of each sample (n, d), shape (n,)."""
        law = self.reference.law
        if isinstance(law, GaussianMixture):
            return law.responsibilities(x).argmax(1)
        assert isinstance(law, DataMixture)
        points = law.alpha * law.points
        half = points.square().sum(1) / 2
        x = x.to(points.dtype)
        rows = max(1, _TABLE // len(points))
        return torch.cat([(part @ points.mT - half).argmax(1) for part in torch.split(x, rows)])

    def _prepare(self, x: Tensor) -> Statistic:
        modes, n = self.modes(x), len(x)
        due = (_DUE * n * self._weights).clamp_min(1)

        counts = torch.bincount(modes, minlength=len(due))
        rare = due == 1
        alone = (rare & (counts == 1))[modes].double() / len(due)
        reached = float((rare & (counts > 0)).double().mean())

        def value(w: Tensor) -> float:
            got = torch.zeros_like(due).index_add_(0, modes, w)
            # A due of k samples is k, not k and a rounding.
            frequent = float((~rare & (got >= due - 1e-9)).double().mean())
            return reached + frequent + float((w - 1) @ alone)

        return value

    def remark(self, count: int) -> str:
        return f"{len(self._weights)} modes"


class _BallDistance(Distance):
    """What samples have to do with the balls about the reference."""

    higher_is_better = True
    least = 1

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))
        self.space = feature_space(self.reference) if is_looked_at(self.reference) else None

    @cached_property
    def _balls(self) -> tuple[Tensor, Tensor]:
        """Centres (m, f) and radii (m,)."""
        y = self.reference.fixed(_REFERENCE) if self.space is None else self.space.fixed
        if len(y) <= _NEIGHBOURS:
            raise ValueError(f"target must have more than {_NEIGHBOURS} reference samples, got {len(y)}")
        # The nearest is the sample itself.
        return y, torch.cdist(y, y).kthvalue(_NEIGHBOURS + 1, dim=1).values

    def _of_balls(self, inside: Tensor) -> Statistic:
        """Return the figure of which samples lie in which balls, (n, m)."""
        raise NotImplementedError

    def _inside(self, points: Tensor) -> Tensor:
        centres, radii = self._balls
        return torch.cdist(points, centres) <= radii

    def _prepare(self, x: Tensor) -> Statistic:
        return self._of_balls(self._inside(x if self.space is None else self.space.of(x)))

    def pool_size(self, count: int) -> int | None:
        return self.reference.held_out if self.space is None else self.space.pool_size(count)

    def _exact_distance(self, count: int, generator: torch.Generator) -> float:
        if self.space is None:
            return super()._exact_distance(count, generator)
        inside = self._inside(self.space.draw(count, generator))
        return self._of_balls(inside)(torch.ones(count, dtype=torch.float64))

    def remark(self, count: int) -> str:
        where = f"of {len(self._balls[0])} exact samples"
        return f"balls {where}, {'samples' if self.space is None else 'features'}"


class Coverage(_BallDistance):
    """The share of balls with at least one sample: diversity. It grows with ``n``."""

    name = "coverage"
    bounds = (0.0, 1.0)

    def _of_balls(self, inside: Tensor) -> Statistic:
        times = inside.sum(0)
        alone = (inside & (times == 1)).double().mean(1)
        reached = float((times > 0).double().mean())
        return lambda w: reached + float((w - 1) @ alone)


class Density(_BallDistance):
    """The mean number of balls that hold a sample, over five: fidelity. About one for exact samples; it may exceed it.

    More than the floor is no better: samples that crowd where the reference is dense.
    """

    name = "density"

    def _of_balls(self, inside: Tensor) -> Statistic:
        held = inside.sum(1).double() / _NEIGHBOURS
        return lambda w: float(w @ held / w.sum())
