r"""The distance of samples to where the exact flow ends from the same noises.

With ``x_i^*`` the endpoint from the noise of sample ``i``, and ``r_i = |x_i - x_i^*|/d^{1/2}`` the root mean square
over dimensions::

    endpoint-rmse    E r_i
    endpoint-pooled  (E r_i^2)^{1/2}
    endpoint-median  the median of r_i

The first is the mean over samples. The second weighs the few samples that end at another picture or mode: where most
of them are near and some far, the two can order samplers differently; the third leaves these few out. All are paired,
so that their intervals are the narrowest of all distances; they are zero for the exact flow alone, and so say nothing
against samplers that end elsewhere on the same distribution.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from image_exps.distances.base import Distance, Statistic
from image_exps.distances.reference import Comparable, Reference, reference_of
from image_exps.problems.endpoints import Endpoints, rms
from toy import ExactTarget, Pictures

__all__ = ["ENDPOINT_DISTANCES", "EndpointDistance", "MedianEndpointDistance", "PooledEndpointDistance"]


class EndpointDistance(Distance):
    """The mean distance to given endpoints; samples come in the order of the noises.

    Its floor is the error of the endpoints themselves, as `image_exps.problems.endpoints.Endpoints` estimates it.

    Args:
        target: for its dimension and name.
        endpoints: of the exact flow, from the noises of the samples.
    """

    name = "endpoint-rmse"
    least = 1

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference, endpoints: Endpoints) -> None:
        super().__init__(reference_of(target))
        self.endpoints = endpoints

    def _prepare(self, x: Tensor) -> Statistic:
        return self._mean_of(x, power=1)

    def _mean_of(self, x: Tensor, power: int) -> Statistic:
        errors = self._errors(x) ** power
        return lambda w: float(w @ errors / w.sum())

    def _errors(self, x: Tensor) -> Tensor:
        """Return the distances of samples (n, d) from their endpoints, shape (n,)."""
        exact = self.endpoints.exact.flatten(1).double()
        if exact.shape != x.shape:
            raise ValueError(f"samples must be those of the {len(exact)} noises of the endpoints, got {len(x)}")
        return rms(x - exact)

    def pool_size(self, count: int) -> int | None:
        return None

    def floor(self, count: int, sets: int = 1) -> np.ndarray:
        return np.array([float(self.endpoints.refinement.mean())])

    def remark(self, count: int) -> str:
        return "the floor is the error of the endpoints"


class PooledEndpointDistance(EndpointDistance):
    """The root mean square distance to given endpoints, over samples and dimensions; arguments as of its base."""

    name = "endpoint-pooled"

    def _prepare(self, x: Tensor) -> Statistic:
        mean_of = self._mean_of(x, power=2)
        return lambda w: mean_of(w) ** 0.5

    def floor(self, count: int, sets: int = 1) -> np.ndarray:
        return np.array([float(self.endpoints.refinement.square().mean().sqrt())])


class MedianEndpointDistance(EndpointDistance):
    """The median distance to given endpoints, the lower one of an even number; arguments as of its base."""

    name = "endpoint-median"

    def _prepare(self, x: Tensor) -> Statistic:
        errors, order = self._errors(x).sort()

        def value(w: Tensor) -> float:
            below = w[order].cumsum(0)
            return float(errors[torch.searchsorted(below, below[-1:] / 2)])

        return value

    def floor(self, count: int, sets: int = 1) -> np.ndarray:
        return np.array([float(self.endpoints.refinement.median())])


#: By name: what needs the endpoints of the flow from the samples' noises, and so is no distance to the target alone.
ENDPOINT_DISTANCES: dict[str, type[EndpointDistance]] = {
    each.name: each for each in (EndpointDistance, PooledEndpointDistance, MedianEndpointDistance)
}
