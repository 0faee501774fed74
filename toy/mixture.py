r"""Gaussian mixtures: every quantity of a diffusion model in closed form.

``p_data = sum_k w_k N(m_k, C_k)`` gives ``q_t = sum_k w_k N(alpha m_k, C_k,t)``, ``C_k,t = alpha^2 C_k + sigma^2 I``.
With responsibilities ``r_k(x)`` and component scores ``g_k = -C_k,t^{-1} (x - alpha m_k)``::

    s = sum_k r_k g_k
    H = sum_k r_k [ (g_k - s)(g_k - s)^T - C_k,t^{-1} ]
    E[y|x]   = sum_k r_k mu_k,    mu_k = m_k - alpha C_k g_k
    Cov(y|x) = sum_k r_k [ (mu_k - mu)(mu_k - mu)^T + sigma^2 C_k C_k,t^{-1} ]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from toy.covariance import Covariance, as_covariance
from toy.exact_target import ExactTarget, check_count, check_finite, check_level

__all__ = ["GaussianMixture"]


class GaussianMixture(ExactTarget):
    r"""The mixture ``sum_k w_k N(m_k, C_k)`` and its diffusions.

    Args:
        weights: ``w``, shape (K,), not negative, of sum one.
        means: ``m``, shape (K, d).
        covariances: ``C``: shape (K,) isotropic variances, (K, d) diagonals, (K, d, d) full matrices, or a
            `toy.covariance.Covariance` such as `LowRankPlusIsotropic`.
        dtype: of all results; float64 by default.

    Raises:
        ValueError: for shapes that disagree, entries that are not finite, weights that are negative or do not sum to
            one (to 1e-6), covariances that are not symmetric positive definite.
    """

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        covariances: Tensor | Covariance,
        *,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        w, m = (torch.as_tensor(t).detach().to(torch.float64) for t in (weights, means))
        check_finite(w, "weights")
        check_finite(m, "means")
        if w.ndim != 1 or m.ndim != 2 or len(w) != len(m):
            raise ValueError(f"weights must be (K,) and means (K, d), got {tuple(w.shape)} and {tuple(m.shape)}")
        if bool((w < 0).any()):
            raise ValueError(f"weights must not be negative, the smallest is {float(w.min())}")
        if abs(float(w.sum()) - 1) > 1e-6:
            raise ValueError(f"weights must sum to one, their sum is {float(w.sum())}")
        if not isinstance(covariances, Covariance):
            covariances = torch.as_tensor(covariances).detach().to(torch.float64)
        covariance = as_covariance(covariances, *m.shape)
        self._set(w / w.sum(), m, covariance.to(dtype=torch.float64, device=m.device), 1.0, 0.0, dtype, m.device)

    def _set(
        self,
        weights: Tensor,
        means: Tensor,
        covariance: Covariance,
        alpha: float,
        sigma: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        # The mixture is kept in float64, so that a level is derived from exact parameters in any dtype of results.
        self._exact = (weights, means, covariance)
        self.dim, self.alpha, self.sigma, self.dtype, self.device = means.shape[1], alpha, sigma, dtype, device
        self.weights = weights.to(dtype=dtype, device=device)
        self.means = means.to(dtype=dtype, device=device)
        self._data_covariance = covariance.to(dtype=dtype, device=device)
        self._set_level()

    def _set_level(self) -> None:
        weights, _, covariance = self._exact
        alpha, sigma, dtype, device = self.alpha, self.sigma, self.dtype, self.device
        diffused = covariance.diffuse(alpha, sigma)
        self._covariance = diffused.to(dtype=dtype, device=device)
        log_normaliser = weights.log() - 0.5 * (diffused.logdet() + self.dim * math.log(2 * math.pi)).to(weights.device)
        self._log_normaliser = log_normaliser.to(dtype=dtype, device=device)
        self._precision: Tensor | None = None

    def diffuse(self, alpha: float, sigma: float) -> Self:
        alpha, sigma = check_level(alpha, sigma)
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)  # what does not depend on the level is shared
        copy.alpha, copy.sigma = alpha * self.alpha, math.hypot(alpha * self.sigma, sigma)
        copy._set_level()
        return copy

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        copy = object.__new__(type(self))
        where = torch.device(device) if device is not None else self.device
        copy._set(*self._exact, self.alpha, self.sigma, dtype or self.dtype, where)
        return copy

    @property
    def components(self) -> int:
        """The number of components K."""
        return len(self.weights)

    @property
    def component_covariances(self) -> Covariance:
        """The covariances ``C_k,t`` of the components at this level."""
        return self._covariance

    def _deviations(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return ``log w_k N(x; k)``, shape (B, K), and the map from ``r`` (B, K) to ``-sum_k r_k g_k``, (B, d)."""
        quadratic, average = self._covariance.deviations(x, self.alpha * self.means)
        return self._log_normaliser - 0.5 * quadratic, average

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``log w_k N(x; k)``, shape (B, K), and the component scores ``g_k``, shape (B, K, d)."""
        u = x[:, None] - self.alpha * self.means
        g = -self._covariance.solve(u)
        return self._log_normaliser + 0.5 * (u * g).sum(2), g

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``r`` (B, K), ``g`` (B, K, d) and ``s`` (B, d)."""
        logits, g = self._parts(x)
        r = torch.softmax(logits, 1)
        return r, g, (r[:, :, None] * g).sum(1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return ``r_k(x)``, the posterior probabilities of the components, shape (B, K)."""
        x = self._check_batch(x)
        return self._in_chunks(
            self._covariance.row_numbers, (self.components,), lambda y: torch.softmax(self._deviations(y)[0], 1), x
        )

    def log_density(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)
        return self._in_chunks(
            self._covariance.row_numbers, (), lambda y: torch.logsumexp(self._deviations(y)[0], 1), x
        )

    def score(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)

        def chunk(y: Tensor) -> Tensor:
            logits, average = self._deviations(y)
            return -average(torch.softmax(logits, 1))

        return self._in_chunks(self._covariance.row_numbers, (self.dim,), chunk, x)

    def hessian(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)
        d = self.dim
        if self._precision is None:
            self._precision = self._covariance.precision()
        precision = self._precision.flatten(1)

        def chunk(y: Tensor) -> Tensor:
            r, g, s = self._moments(y)
            centred = g - s[:, None]
            mean_precision = (r @ precision).view(-1, d, d)
            return torch.baddbmm(mean_precision, (r[:, :, None] * centred).mT, centred, beta=-1)

        return self._in_chunks(6 * self.components * d + 2 * d * d, (d, d), chunk, x)

    def hessian_vector(self, x: Tensor, v: Tensor) -> Tensor:
        x, v = self._check_pair(x, v)

        def chunk(y: Tensor, u: Tensor) -> Tensor:
            r, g, s = self._moments(y)
            centred = g - s[:, None]
            along = (centred * u[:, None]).sum(2, keepdim=True)
            solved = self._covariance.solve(u[:, None].expand(-1, self.components, -1))
            return (r[:, :, None] * (centred * along - solved)).sum(1)

        return self._in_chunks(8 * self.components * self.dim, (self.dim,), chunk, x, v)

    def laplacian(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)
        trace = self._covariance.precision_trace()

        def chunk(y: Tensor) -> Tensor:
            r, g, s = self._moments(y)
            return (r * (((g - s[:, None]) ** 2).sum(2) - trace)).sum(1)

        return self._in_chunks(6 * self.components * self.dim, (), chunk, x)

    def _component_means(self, g: Tensor) -> Tensor:
        """Return ``mu_k = E[y | x, k]``, shape (B, K, d)."""
        return self.means + self.alpha * self._data_covariance.matvec(-g)

    def posterior_mean(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)

        def chunk(y: Tensor) -> Tensor:
            r, g, _ = self._moments(y)
            return (r[:, :, None] * self._component_means(g)).sum(1)

        return self._in_chunks(7 * self.components * self.dim, (self.dim,), chunk, x)

    def posterior_covariance(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)
        d = self.dim
        within = self.sigma**2 * self._covariance.solve(self._data_covariance.dense().transpose(0, 1)).transpose(0, 1)
        within = (0.5 * (within + within.mT)).flatten(1)

        def chunk(y: Tensor) -> Tensor:
            r, g, _ = self._moments(y)
            mu = self._component_means(g)
            centred = mu - (r[:, :, None] * mu).sum(1, keepdim=True)
            return torch.baddbmm((r @ within).view(-1, d, d), (r[:, :, None] * centred).mT, centred)

        return self._in_chunks(8 * self.components * d + 2 * d * d, (d, d), chunk, x)

    def mean(self) -> Tensor:
        return self.alpha * (self.weights @ self.means)

    def covariance(self) -> Tensor:
        centred = self.alpha * self.means - self.mean()
        return self._covariance.average(self.weights) + (self.weights[:, None] * centred).mT @ centred

    def sample(self, count: int, *, generator: torch.Generator) -> Tensor:
        weights = self._exact[0].to(generator.device)
        component = torch.multinomial(weights, check_count(count), replacement=True, generator=generator)
        component = component.to(self.device)
        return self.alpha * self.means[component] + self._covariance.sample(component, generator)
