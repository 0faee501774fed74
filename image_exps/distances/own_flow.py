r"""Distances to a model's own flow that need more than the flow's ends from the samples' noises.

With ``r_i`` the error of sample i, as in `image_exps.distances.endpoint`, and ``b_i`` that of DDIM from the same noise
at the same levels, paired::

    endpoint-gain    1 - E r_i / E b_i
    endpoint-nearer  P(r_i < b_i), where equal errors count one half

The others are to draws of the exact flow from *other* noises. So "does it look like the model" has an answer without
any data set::

    flow-frechet  the Frechet distance within the 16 leading principal components of these draws
    flow-sliced   the sliced Wasserstein-2 distance within the same components

Their floor is the distance of two such sets: the flow's ends from the samples' own noises, held against the draws.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from torch import Tensor

from image_exps.distances.base import Statistic
from image_exps.distances.endpoint import EndpointDistance
from image_exps.distances.frechet import FrechetPCA
from image_exps.distances.reference import Reference
from image_exps.distances.wasserstein import SlicedW2
from image_exps.problems.endpoints import Endpoints

__all__ = [
    "BASE_DISTANCES",
    "COMPONENTS",
    "DRAW_DISTANCES",
    "FlowFrechet",
    "FlowSliced",
    "GainDistance",
    "NearerDistance",
]

#: Principal components of the draws within which distributions are compared.
COMPONENTS = 16


class _Paired(EndpointDistance):
    """What the errors of samples are beside those of DDIM.

    Args:
        reference: for its dimension and name.
        endpoints: of the exact flow, from the noises of the samples.
        base: DDIM's samples from these noises, shape (n, d).
    """

    higher_is_better = True
    least = 2

    def __init__(self, reference: Reference, endpoints: Endpoints, base: Tensor) -> None:
        super().__init__(reference, endpoints)
        self._base = self._errors(self.check(base))

    def floor(self, count: int, sets: int = 1) -> np.ndarray:
        return np.array([math.nan])

    def remark(self, count: int) -> str:
        return "beside DDIM at the same levels"


class GainDistance(_Paired):
    """The share of DDIM's mean error that is gone; arguments as of its base."""

    name = "endpoint-gain"
    bounds = (-math.inf, 1.0)

    def _prepare(self, x: Tensor) -> Statistic:
        errors = self._errors(x)
        return lambda w: 1 - float(w @ errors) / float(w @ self._base)


class NearerDistance(_Paired):
    """The share of samples that end nearer than DDIM's; arguments as of its base."""

    name = "endpoint-nearer"
    bounds = (0.0, 1.0)

    def _prepare(self, x: Tensor) -> Statistic:
        nearer = (1 + (self._base - self._errors(x)).sign()) / 2
        return lambda w: float(w @ nearer / w.sum())


class _Whole(Reference):
    """Samples all of which are the reference, and none held out."""

    @cached_property
    def _halves(self) -> tuple[Tensor, Tensor]:
        assert self.real is not None
        return self.real, self.real[:0]


class FlowFrechet(FrechetPCA):
    """The Frechet distance to draws of the exact flow.

    Args:
        reference: for its shape and name.
        endpoints: of the exact flow, from the noises of the samples: they give the floor.
        draws: ends of the flow from other noises, shape (m, d).
    """

    name = "flow-frechet"

    def __init__(self, reference: Reference, endpoints: Endpoints, draws: Tensor) -> None:
        super().__init__(_Whole(reference.name, reference.shape, real=draws.flatten(1).double()), COMPONENTS)
        self.endpoints = endpoints

    def pool_size(self, count: int) -> int | None:
        return None

    def floor(self, count: int, sets: int = 1) -> np.ndarray:
        return np.array([self(self.endpoints.exact)])

    def remark(self, count: int) -> str:
        return f"{super().remark(count)}; the floor is that of one other set of draws of the flow"

    def projected(self, x: Tensor) -> Tensor:
        """Return samples (n, d) within the components, shape (n, k)."""
        mean, vectors, *_ = self._leading()
        return (x - mean) @ vectors


class FlowSliced(FlowFrechet):
    """The sliced Wasserstein-2 distance to draws of the exact flow; arguments as of its base."""

    name = "flow-sliced"

    @cached_property
    def _sliced(self) -> SlicedW2:
        draws = self.reference.fixed(len(self.reference.real))  # type: ignore[arg-type]
        return SlicedW2(_Whole(self.reference.name, (self.components,), real=self.projected(draws)))

    def _prepare(self, x: Tensor) -> Statistic:
        return self._sliced._prepare(self.projected(x))


#: By name: what needs DDIM's samples from the same noises.
BASE_DISTANCES: dict[str, type[_Paired]] = {each.name: each for each in (GainDistance, NearerDistance)}

#: By name: what needs draws of the flow from other noises.
DRAW_DISTANCES: dict[str, type[FlowFrechet]] = {each.name: each for each in (FlowFrechet, FlowSliced)}
