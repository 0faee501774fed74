r"""The exact negative log-likelihood of samples.

``-E log q_0(x)`` in nats, of samples ``x`` under the exact density at the last level. Exact samples have the entropy of
``q_0``, the floor. It is no distance: samples that crowd at the modes lie *below* the floor, and are as wrong as those
above it; the other distances tell. A sample that is nowhere near the data costs its squared distance over twice the
smallest variance, so that few of them may decide the mean.
"""

from __future__ import annotations

from torch import Tensor

from image_exps.distances.base import Distance, Statistic
from image_exps.distances.reference import Comparable, Reference, reference_of
from toy import ExactTarget

__all__ = ["NegativeLogLikelihood"]


class NegativeLogLikelihood(Distance):
    """``-E log q_0(x)``, in float64.

    Args:
        target: with an exact distribution.
    """

    name = "nll"
    least = 1

    def __init__(self, target: Comparable | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))
        if self.reference.law is None:
            raise ValueError(f"target must have an exact distribution, {self.reference.name} has none")

    def _prepare(self, x: Tensor) -> Statistic:
        surprise = -self.reference.exact.log_density(x)
        return lambda w: float(w @ surprise / w.sum())

    def remark(self, count: int) -> str:
        return "below the floor is as wrong as above it"
