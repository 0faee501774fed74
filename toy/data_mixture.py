r"""The mixture over a data set: an exact denoiser of real data, with no training.

``p_data = (1/N) sum_i N(y_i, tau^2 I)`` gives ``q_t = (1/N) sum_i N(alpha y_i, v I)``, ``v = alpha^2 tau^2 + sigma^2``.
With the posterior weights ``r_i(x)`` of the points, their mean ``m = sum_i r_i y_i`` and covariance ``V``::

    s = -(x - alpha m)/v            H = -I/v + (alpha^2/v^2) V
    E[y|x] = (sigma^2 m + alpha tau^2 x)/v            Cov(y|x) = (tau^2 sigma^2/v) I + (sigma^2/v)^2 V

At low noise the squares in ``|x - alpha y_i|^2`` cancel. Then every moment is taken about the nearest point ``b`` of
the data instead of the data's mean: with ``rho = x - alpha b`` and ``z_i = y_i - b``, the weights are
``r_i ~ exp((alpha <rho,z_i> - alpha^2 |z_i|^2/2)/v)``, and ``m = b + sum_i r_i z_i``, in which ``b`` itself has
``z = 0``: what remains is accurate relative to the weight of the other points. The score, which samplers ask for, then
needs one product with the data, to find the points that carry weight, and exact differences for those few.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from lml.arguments import check_positive
from toy.exact_target import CHUNK_BYTES, ExactTarget, check_count, check_finite, check_level

__all__ = ["DataMixture"]

# Squared radius of the data over v, up to which moments about the data's mean lose no more than four digits.
_CONDITION = 1e4

# Posterior weights below this are zero to every moment in float64; up to so many points are multiplied directly.
_NEGLIGIBLE = 1e-20
_DIRECT = 768

# A pair of a sample and a point costs so much more by itself than in a product of all with all.
_PAIR_COST = 64


class _Moments(NamedTuple):
    """Posterior weights of the points about a base point, for rows (b,) of a batch."""

    weights: Tensor  # r_i, (b, N); zero for the base point, if it is one of the data
    base: Tensor  # b minus the data's mean, (b, d)
    residual: Tensor  # rho = x - alpha b, (b, d)
    shift: Tensor  # delta = sum_i r_i z_i, (b, d)
    squares: Tensor  # |z_i|^2, (b, N)
    log_sum: Tensor  # log sum_i exp((alpha <rho,z_i> - alpha^2 |z_i|^2/2)/v), (b,)


class DataMixture(ExactTarget):
    r"""The mixture of equal isotropic Gaussians at the points of a data set, and its diffusions.

    Args:
        data: the points, shape (N, ...); a point is all dimensions but the first.
        tau: the standard deviation of each component; zero puts the mass on the points.
        dtype: of all results; float64 by default.

    Attributes:
        shape: the shape of one point, for pictures (channels, height, width).

    Raises:
        ValueError: if ``data`` is empty or not finite, or ``tau`` is negative or not finite.
    """

    def __init__(self, data: Tensor, tau: float = 0.0, *, dtype: torch.dtype = torch.float64) -> None:
        if not isinstance(data, Tensor) or data.ndim < 2:
            got = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
            raise ValueError(f"data must be a tensor of shape (N, ...) with at least two dimensions, got {got}")
        check_finite(data, "data")
        if tau != 0:
            tau = check_positive(tau, "tau")
        points = data.detach().flatten(1).to(torch.float64)
        centre = points.mean(0)
        self.shape = tuple(data.shape[1:])
        self.tau = float(tau)
        self._set(centre, (points - centre).to(dtype), 1.0, 0.0, dtype, data.device)

    def _set(
        self, centre: Tensor, points: Tensor, alpha: float, sigma: float, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._centre64 = centre
        self._points = points.to(dtype=dtype, device=device)
        self._centre = centre.to(dtype=dtype, device=device)
        self._squares = (self._points**2).sum(1)
        self._squared_radius = float(self._squares.max())
        self._outer: Tensor | None = None
        self._level(alpha, sigma, dtype, device)

    def _level(self, alpha: float, sigma: float, dtype: torch.dtype, device: torch.device) -> None:
        self.alpha, self.sigma, self.dtype, self.device = alpha, sigma, dtype, device
        self.dim = self._points.shape[1]
        #: ``v = alpha^2 tau^2 + sigma^2``, the variance of every component of ``q``.
        self.variance = (alpha * self.tau) ** 2 + sigma**2

    def diffuse(self, alpha: float, sigma: float) -> Self:
        alpha, sigma = check_level(alpha, sigma)
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)  # the points are shared, never copied
        copy._level(alpha * self.alpha, math.hypot(alpha * self.sigma, sigma), self.dtype, self.device)
        return copy

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        where = torch.device(device) if device is not None else self.device
        copy._set(self._centre64, self._points, self.alpha, self.sigma, dtype or self.dtype, where)
        return copy

    @property
    def count(self) -> int:
        """The number of points N."""
        return len(self._points)

    @property
    def points(self) -> Tensor:
        """The data, shape (N, d)."""
        return self._points + self._centre

    def diameter(self) -> float:
        """Return the largest distance between two points, the ``D_y`` of claim H3."""
        largest = 0.0
        for rows in self._rows(self.count, self.count):
            largest = max(largest, float(torch.cdist(self._points[rows], self._points).max()))
        return largest

    @property
    def _about_mean(self) -> bool:
        """Whether moments are taken about the data's mean rather than about the nearest point."""
        return self.alpha**2 * self._squared_radius < _CONDITION * self.variance

    def _check_batch(self, x: Tensor, name: str = "x") -> Tensor:
        if self.variance == 0:
            raise ValueError("the target has no density at tau = 0 and sigma = 0: call diffuse first")
        return super()._check_batch(x, name)

    def _moments(self, x: Tensor) -> _Moments:
        a, v = self.alpha, self.variance
        centred = x - a * self._centre
        Y = self._points
        if self._about_mean:
            base = torch.zeros_like(centred)
            residual, squares = centred, self._squares.expand(len(x), -1)
            logits = (a * (residual @ Y.mT) - 0.5 * a * a * squares) / v
            nearest = None
        else:
            nearest = (a * (centred @ Y.mT) - 0.5 * a * a * self._squares).argmax(1)
            base = Y[nearest]
            residual = centred - a * base
            squares = (self._squares - 2 * (base @ Y.mT) + self._squares[nearest, None]).clamp_min(0)
            squares.scatter_(1, nearest[:, None], 0.0)
            along = residual @ Y.mT - (residual * base).sum(1, keepdim=True)
            logits = (a * along - 0.5 * a * a * squares) / v
            logits.scatter_(1, nearest[:, None], 0.0)
        log_sum = torch.logsumexp(logits, 1)
        weights = self._without_subnormal(torch.exp(logits - log_sum[:, None]))
        if nearest is not None:
            weights.scatter_(1, nearest[:, None], 0.0)
        shift = weights @ Y - weights.sum(1, keepdim=True) * base
        return _Moments(weights, base, residual, shift, squares, log_sum)

    @property
    def _row_numbers(self) -> int:
        return 6 * self.count + 6 * self.dim

    def log_density(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)

        def chunk(y: Tensor) -> Tensor:
            at = self._moments(y)
            constant = math.log(self.count) + 0.5 * self.dim * math.log(2 * math.pi * self.variance)
            return at.log_sum - 0.5 * (at.residual**2).sum(1) / self.variance - constant

        return self._in_chunks(self._row_numbers, (), chunk, x)

    def score(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)

        chunk = self._score_about_mean if self._about_mean else self._score_about_nearest
        return self._in_chunks(3 * self.count + 4 * self.dim, (self.dim,), chunk, x)

    def _logits(self, centred: Tensor) -> Tensor:
        """Return ``(alpha <x, y_i> - alpha^2 |y_i|^2/2)/v`` about the data's mean, shape (b, N), in one product."""
        scale = self.alpha / self.variance
        return torch.addmm(-0.5 * self.alpha * scale * self._squares, centred, self._points.mT, alpha=scale)

    def _score_about_mean(self, x: Tensor) -> Tensor:
        centred = x - self.alpha * self._centre
        weights = self._without_subnormal(torch.softmax(self._logits(centred), 1))
        return torch.addmm(centred, weights, self._points, beta=-1 / self.variance, alpha=self.alpha / self.variance)

    def _without_subnormal(self, weights: Tensor) -> Tensor:
        """Set to zero what would be subnormal, itself or times a point: products are slow with such numbers."""
        limit = torch.finfo(self.dtype).tiny / torch.finfo(self.dtype).eps
        return torch.nn.functional.threshold(weights, limit, 0.0, inplace=not weights.requires_grad)

    def _score_about_nearest(self, x: Tensor) -> Tensor:
        """Return the score from the points that may carry weight, if they are few; else from all."""
        if x.device.type != "cpu":
            return self._score_of_all(x)  # how many they are is not known on another device without waiting for it
        a, v, Y = self.alpha, self.variance, self._points
        centred = x - a * self._centre
        logits = self._logits(centred)
        largest, nearest = logits.max(1)
        # A product of d terms errs by no more than d u |x| |y|: twice that, and the logarithm of what is negligible.
        unit = self.dim * torch.finfo(self.dtype).eps * a / v * math.sqrt(self._squared_radius)
        margin = 2 * unit * (centred.norm(dim=1) + a * math.sqrt(self._squared_radius)) - math.log(_NEGLIGIBLE)
        row, point = (logits >= (largest - margin)[:, None]).nonzero(as_tuple=True)
        if _PAIR_COST * len(row) > logits.numel() and self.count > _PAIR_COST:
            return self._score_of_all(x)
        base = Y[nearest]
        residual = centred - a * base
        z = Y[point] - base[row]
        exact = (a * (residual[row] * z).sum(1) - 0.5 * a * a * (z * z).sum(1)) / v
        top = exact.detach().new_zeros(len(x)).scatter_reduce(0, row, exact.detach(), "amax")
        weight = torch.exp(exact - top[row])
        total = torch.zeros_like(top).index_add(0, row, weight)
        shift = torch.zeros_like(centred).index_add(0, row, (weight / total[row])[:, None] * z)
        return (a * shift - residual) / v

    def _score_of_all(self, x: Tensor) -> Tensor:
        at = self._moments(x)
        return (self.alpha * at.shift - at.residual) / self.variance

    def _weighted_covariance(self, at: _Moments) -> Tensor:
        """Return ``V``, the covariance of the points under the posterior weights, shape (b, d, d)."""
        rows = []
        for weights, base, shift in zip(at.weights, at.base, at.shift, strict=True):
            V = -torch.outer(shift, shift)
            for part in self._rows(self.count, 2 * self.dim):
                z = self._points[part] - base
                V = V + (z * weights[part, None]).mT @ z
            rows.append(V)
        return torch.stack(rows)

    def _weighted_trace(self, at: _Moments) -> Tensor:
        """Return ``tr V``, shape (b,)."""
        return (at.weights * at.squares).sum(1) - (at.shift**2).sum(1)

    def hessian(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)
        d, v = self.dim, self.variance
        identity = torch.eye(d, dtype=self.dtype, device=self.device)

        def chunk(y: Tensor) -> Tensor:
            return (self.alpha / v) ** 2 * self._weighted_covariance(self._moments(y)) - identity / v

        return self._in_chunks(self._row_numbers + 2 * d * d, (d, d), chunk, x)

    def hessian_vector(self, x: Tensor, v: Tensor) -> Tensor:
        x, v = self._check_pair(x, v)

        def chunk(y: Tensor, u: Tensor) -> Tensor:
            at = self._moments(y)
            along = at.weights * (u @ self._points.mT - (u * at.base).sum(1, keepdim=True))
            product = along @ self._points - along.sum(1, keepdim=True) * at.base
            product = product - at.shift * (at.shift * u).sum(1, keepdim=True)
            return (self.alpha / self.variance) ** 2 * product - u / self.variance

        return self._in_chunks(self._row_numbers, (self.dim,), chunk, x, v)

    def laplacian(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)

        def chunk(y: Tensor) -> Tensor:
            trace = self._weighted_trace(self._moments(y))
            return (self.alpha / self.variance) ** 2 * trace - self.dim / self.variance

        return self._in_chunks(self._row_numbers, (), chunk, x)

    def hessian_squared_norm(self, x: Tensor) -> Tensor:
        """Return ``|H|_HS^2 = d/v^2 - 2 (alpha^2/v^3) tr V + (alpha^4/v^4) |V|_HS^2`` with no d x d matrix.

        ``|V|_HS^2 = sum_ij r_i r_j <z_i - delta, z_j - delta>^2`` comes from the Gram matrix of the points that carry
        weight; where they are many, from that of the data, or, where that would cancel or be large, from ``V``.
        """
        x = self._check_batch(x)
        a, v = self.alpha, self.variance

        def chunk(y: Tensor) -> Tensor:
            at = self._moments(y)
            squared = torch.stack([self._weighted_squared_norm(at, row) for row in range(len(y))])
            return self.dim / v**2 - 2 * a**2 / v**3 * self._weighted_trace(at) + (a / v) ** 4 * squared

        return self._in_chunks(self._row_numbers, (), chunk, x)

    def _weighted_squared_norm(self, at: _Moments, row: int) -> Tensor:
        """Return ``|V|_HS^2`` for one row, a scalar."""
        weights, base, shift = at.weights[row], at.base[row], at.shift[row]
        active = weights > _NEGLIGIBLE
        if int(active.sum()) <= _DIRECT:
            # The base point has z = 0 and the weight that the others leave; it is a point like them about m.
            z = torch.cat([self._points[active] - base - shift, -shift[None]])
            r = torch.cat([weights[active], (1 - weights.sum()).clamp_min(0)[None]])
            gram = z @ z.mT
            return r @ (gram * gram) @ r
        if not self._about_mean or 8 * self.count**2 > CHUNK_BYTES:
            V = self._weighted_covariance(_Moments(*(part[row : row + 1] for part in at)))[0]
            return (V * V).sum()
        if self._outer is None:
            self._outer = (self._points @ self._points.mT) ** 2
        # Here m = delta: sum_ij r_i r_j <y_i,y_j>^2 - 2 sum_i r_i <y_i,m>^2 + |m|^4.
        return weights @ (self._outer @ weights) - 2 * (weights @ (self._points @ shift) ** 2) + (shift @ shift) ** 2

    def posterior_mean(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)

        def chunk(y: Tensor) -> Tensor:
            at = self._moments(y)
            # m + (alpha tau^2/v) (x - alpha m), in which x - alpha m = rho - alpha delta.
            gain = self.alpha * self.tau**2 / self.variance
            return self._centre + at.base + at.shift + gain * (at.residual - self.alpha * at.shift)

        return self._in_chunks(self._row_numbers, (self.dim,), chunk, x)

    def posterior_covariance(self, x: Tensor) -> Tensor:
        x = self._check_batch(x)
        d = self.dim
        ratio = self.sigma**2 / self.variance
        identity = torch.eye(d, dtype=self.dtype, device=self.device)

        def chunk(y: Tensor) -> Tensor:
            return ratio**2 * self._weighted_covariance(self._moments(y)) + self.tau**2 * ratio * identity

        return self._in_chunks(self._row_numbers + 2 * d * d, (d, d), chunk, x)

    def mean(self) -> Tensor:
        return self.alpha * self._centre

    def covariance(self) -> Tensor:
        identity = torch.eye(self.dim, dtype=self.dtype, device=self.device)
        return self.alpha**2 * (self._points.mT @ self._points) / self.count + self.variance * identity

    def sample(self, count: int, *, generator: torch.Generator) -> Tensor:
        shape = (check_count(count),)
        index = torch.randint(self.count, shape, generator=generator, device=generator.device).to(self.device)
        z = torch.randn((count, self.dim), dtype=torch.float64, generator=generator, device=generator.device)
        centred = self.alpha * self._points[index] + math.sqrt(self.variance) * z.to(self._points)
        return centred + self.alpha * self._centre
