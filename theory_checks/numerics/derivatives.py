r"""The second methods of claims H1 and H2: derivatives of a density, and posteriors, by definition.

Nothing here uses a target's closed forms of the score, the Hessian or the posterior.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from theory_checks.numerics.levels import U
from toy import DataMixture, ExactTarget, GaussianMixture

__all__ = [
    "LogDensity",
    "difference_hessian",
    "posterior_by_quadrature",
    "posterior_of_points",
    "posterior_of_points_vector",
    "reference_log_density",
    "relative_hessian",
    "relative_hessian_vector",
]

LogDensity = Callable[[Tensor], Tensor]


def reference_log_density(q: ExactTarget) -> LogDensity:
    """Return ``log q`` of one point (d,) from the definition, sharing no code with the target's closed forms."""
    if isinstance(q, DataMixture):
        means, variance = q.alpha * q.points, q.variance
        normaliser = math.log(len(means)) + 0.5 * q.dim * math.log(2 * math.pi * variance)
        return lambda x: torch.logsumexp(-((x - means) ** 2).sum(1) / (2 * variance), 0) - normaliser
    if not isinstance(q, GaussianMixture):
        raise TypeError(f"no reference density for {type(q).__name__}")
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(q.weights, validate_args=False),
        torch.distributions.MultivariateNormal(q.alpha * q.means, q.component_covariances.dense(), validate_args=False),
        validate_args=False,
    )
    log_density: LogDensity = mixture.log_prob
    return log_density


def _relative_gradient(log_density: LogDensity, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (d,) as a leaf and ``grad q(.)/q(x)`` there, to be differentiated again."""
    leaf = x.detach().clone().requires_grad_()
    ratio = torch.exp(log_density(leaf) - log_density(x).detach())
    return leaf, torch.autograd.grad(ratio, leaf, create_graph=True)[0]


def relative_hessian(log_density: LogDensity, x: Tensor) -> Tensor:
    """Return ``hess(q)/q`` at x (d,) by differentiating ``q(.)/q(x)`` twice; d x d."""
    with torch.enable_grad():
        leaf, gradient = _relative_gradient(log_density, x)
        return torch.stack([torch.autograd.grad(entry, leaf, retain_graph=True)[0] for entry in gradient])


def relative_hessian_vector(log_density: LogDensity, x: Tensor, u: Tensor) -> Tensor:
    """Return ``hess(q) u / q`` at x (d,)."""
    with torch.enable_grad():
        leaf, gradient = _relative_gradient(log_density, x)
        return torch.autograd.grad(gradient @ u, leaf)[0]


def difference_hessian(log_density: LogDensity, x: Tensor, scale: float) -> tuple[Tensor, float]:
    """Return ``hess(q)/q`` at x (d,) from central differences of sixth order, and its error from a second step size."""
    constant = float(log_density(x))
    d = len(x)
    offsets = torch.arange(-3, 4, dtype=torch.float64)
    first = torch.tensor([-1 / 60, 3 / 20, -3 / 4, 0, 3 / 4, -3 / 20, 1 / 60], dtype=torch.float64)
    second = torch.tensor([1 / 90, -3 / 20, 3 / 2, -49 / 18, 3 / 2, -3 / 20, 1 / 90], dtype=torch.float64)

    def at(step: float) -> Tensor:
        result = torch.zeros((d, d), dtype=torch.float64)
        axes = torch.eye(d, dtype=torch.float64) * step
        for i in range(d):
            line = torch.stack([torch.exp(log_density(x + k * axes[i]) - constant) for k in offsets])
            result[i, i] = second @ line / step**2
            for j in range(i):
                grid = torch.stack([torch.stack([torch.exp(log_density(x + k * axes[i] + m * axes[j]) - constant)
                                                 for m in offsets]) for k in offsets])  # fmt: skip
                result[i, j] = result[j, i] = first @ grid @ first / step**2
        return result

    step = 0.02 * scale
    coarse, fine = at(2 * step), at(step)
    truncation = float((coarse - fine).norm())
    rounded = 50 * U * float(fine.norm() * scale**2 + 1) / step**2
    return fine, truncation + rounded


def _posterior_weights(q: DataMixture, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of the points given x by definition, and the points about the posterior mean, for tau = 0."""
    distance = ((x - q.alpha * q.points) ** 2).sum(1)
    weights = torch.softmax(-distance / (2 * q.sigma**2), 0)
    return weights, q.points - weights @ q.points


def posterior_of_points(q: DataMixture, x: Tensor) -> Tensor:
    """Return ``Cov(y | x)`` at x (B, d) from the posterior weights of the points; (B, d, d)."""
    rows = []
    for point in x:
        weights, centred = _posterior_weights(q, point)
        rows.append((centred * weights[:, None]).mT @ centred)
    return torch.stack(rows)


def posterior_of_points_vector(q: DataMixture, x: Tensor, u: Tensor) -> Tensor:
    """Return ``Cov(y | x) u`` at x (B, d) for u (B, d), without a matrix."""
    rows = []
    for point, vector in zip(x, u, strict=True):
        weights, centred = _posterior_weights(q, point)
        rows.append((weights * (centred @ vector)) @ centred)
    return torch.stack(rows)


def posterior_by_quadrature(data: GaussianMixture, q: ExactTarget, x: Tensor) -> tuple[Tensor, float]:
    """Return ``Cov(y|x)`` by the trapezoidal rule on ``p(y) N(x; alpha y, sigma^2)``, and its relative error.

    The rule converges faster than any power for such integrands; the error is the difference to twice the spacing.
    """
    d = data.dim
    spread = torch.linalg.eigvalsh(data.component_covariances.dense())
    widest, narrowest = math.sqrt(float(spread.max())), math.sqrt(float(spread.min()))
    reach = float(data.means.abs().max()) + 9 * widest
    width = 1 / math.sqrt(1 / narrowest**2 + (q.alpha / q.sigma) ** 2)  # of the posterior, at least
    points = 2 * math.ceil(reach / (0.45 * width)) + 1
    results = []
    for n in (points, 2 * points - 1):
        axis = torch.linspace(-reach, reach, n, dtype=torch.float64)
        grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
        prior = data.log_density(grid)
        rows = []
        for point in x:
            weights = torch.softmax(prior - ((point - q.alpha * grid) ** 2).sum(1) / (2 * q.sigma**2), 0)
            centred = grid - weights @ grid
            rows.append((centred * weights[:, None]).mT @ centred)
        results.append(torch.stack(rows))
    scale = math.sqrt(d) * q.sigma**2 / q.alpha**2
    return results[1], float((results[1] - results[0]).norm(dim=(1, 2)).max()) / scale
