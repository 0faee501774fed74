r"""The distance of samples to where the exact flow ends from the same noises.

``E |x_i - x_i^*|/d^{1/2}``, ``x_i^*`` the endpoint from the noise of sample ``i``: the mean over samples of the root
mean square over dimensions. It is paired, so that its intervals are the narrowest of all distances; it is zero for the
exact flow alone, and so says nothing against samplers that end elsewhere on the same distribution.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from image_exps.distances.base import Distance, Statistic
from image_exps.distances.reference import Comparable, Reference, reference_of
from image_exps.endpoints import Endpoints, rms
from toy import ExactTarget, Pictures

__all__ = ["EndpointDistance"]


class EndpointDistance(Distance):
    """The mean distance to given endpoints; samples come in the order of the noises.

    Its floor is the error of the endpoints themselves, as `image_exps.endpoints.Endpoints` estimates it.

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
        exact = self.endpoints.exact.flatten(1).double()
        if exact.shape != x.shape:
            raise ValueError(f"samples must be those of the {len(exact)} noises of the endpoints, got {len(x)}")
        errors = rms(x - exact)
        return lambda w: float(w @ errors / w.sum())

    def pool_size(self, count: int) -> int | None:
        return None

    def floor(self, count: int, sets: int = 1) -> np.ndarray:
        return np.array([float(self.endpoints.refinement.mean())])

    def remark(self, count: int) -> str:
        return "the floor is the error of the endpoints"
