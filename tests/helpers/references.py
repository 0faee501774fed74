"""References for the exact targets: densities written out with dense matrices, differentiated by other means.

`automatic` goes through torch.distributions and autograd, `precise` through mpmath differences of order h^2 with
h = 1e-25 at 90 digits, whose error of 1e-50 is none. Neither knows a closed form of a score or a Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import torch
from torch import Tensor

import toy

U = 2.0**-53
KINDS = ("full", "diagonal", "isotropic", "low rank plus diagonal", "low rank plus isotropic")


@dataclass(frozen=True)
class Law:
    """A mixture of Gaussians with dense covariances: weights (K,), means (K, d), covariances (K, d, d)."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def diffused(self, alpha: float, sigma: float) -> Law:
        identity = torch.eye(self.means.shape[1], dtype=torch.float64)
        return Law(self.weights, alpha * self.means, alpha**2 * self.covariances + sigma**2 * identity)


def gaussian_mixture(kind: str, dim: int = 3, components: int = 3) -> tuple[toy.GaussianMixture, Law]:
    """Return a mixture of this kind of covariance and the same law in dense form."""
    g = torch.Generator().manual_seed(components + 10 * dim)
    weights = torch.softmax(torch.randn(components, generator=g, dtype=torch.float64), 0)
    means = 1.5 * torch.randn((components, dim), generator=g, dtype=torch.float64)
    variances = 0.1 + torch.rand((components, dim), generator=g, dtype=torch.float64)
    factor = torch.randn((components, dim, 2), generator=g, dtype=torch.float64)
    low_rank = torch.diag_embed(variances) + factor @ factor.mT
    vectors, excess, floor = torch.linalg.qr(factor)[0], factor.square().sum(1), variances[:, 0]
    isotropic = floor[:, None, None] * torch.eye(dim, dtype=torch.float64)
    covariances, dense = {
        "full": (low_rank, low_rank),
        "diagonal": (variances, torch.diag_embed(variances)),
        "isotropic": (floor, isotropic),
        "low rank plus diagonal": (toy.LowRankPlusDiagonal(factor, variances), low_rank),
        "low rank plus isotropic": (
            toy.LowRankPlusIsotropic(vectors, excess, floor),
            isotropic + (vectors * excess[:, None]) @ vectors.mT,
        ),
    }[kind]
    return toy.GaussianMixture(weights, means, covariances), Law(weights, means, dense)


def data_mixture(tau: float, dim: int = 3, count: int = 7) -> tuple[toy.DataMixture, Law]:
    """Return the mixture over random points, and the same law in dense form."""
    g = torch.Generator().manual_seed(count)
    points = 1.5 * torch.randn((count, dim), generator=g, dtype=torch.float64)
    covariances = tau**2 * torch.eye(dim, dtype=torch.float64).expand(count, dim, dim)
    return toy.DataMixture(points, tau), Law(torch.full((count,), 1 / count, dtype=torch.float64), points, covariances)


def torch_log_density(law: Law) -> Callable[[Tensor], Tensor]:
    components = torch.distributions.MultivariateNormal(law.means, law.covariances)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(law.weights), components)
    return mixture.log_prob


def automatic(law: Law, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log density, score and Hessian by autograd, (B,), (B, d), (B, d, d)."""
    log_density = torch_log_density(law)
    rows = [row.clone().requires_grad_() for row in x]
    score = torch.stack([torch.autograd.grad(log_density(row), row)[0] for row in rows])
    hessian = torch.stack([torch.autograd.functional.hessian(log_density, row) for row in x])
    return log_density(x), score, hessian


def precise(law: Law, alpha: float, sigma: float, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log density, score and Hessian of the diffused law at one point (d,), in 90 digits, rounded at the end."""
    d = len(x)
    with mpmath.workdps(90):
        a, s = mpmath.mpf(alpha), mpmath.mpf(sigma)
        parts = []
        for weight, mean, covariance in zip(law.weights, law.means, law.covariances, strict=True):
            matrix = a**2 * mpmath.matrix(covariance.tolist()) + s**2 * mpmath.eye(d)
            constant = mpmath.log(mpmath.mpf(float(weight))) - mpmath.log(mpmath.det(2 * mpmath.pi * matrix)) / 2
            parts.append((constant, a * mpmath.matrix(mean.tolist()), mpmath.inverse(matrix)))
        total = mpmath.log(sum(mpmath.mpf(float(weight)) for weight in law.weights))

        def log_density(y: mpmath.matrix) -> mpmath.mpf:
            logs = [c - (((y - m).T * P * (y - m))[0]) / 2 for c, m, P in parts]
            top = max(logs)
            return top + mpmath.log(sum(mpmath.exp(value - top) for value in logs)) - total

        point = mpmath.matrix(x.tolist())
        # Steps far below the scale on which the density changes, 1e-4 at least.
        h = mpmath.mpf(10) ** -25
        units = [h * mpmath.eye(d)[:, i] for i in range(d)]
        middle = log_density(point)
        up, down = ([log_density(point + sign * unit) for unit in units] for sign in (1, -1))
        score = [(up[i] - down[i]) / (2 * h) for i in range(d)]
        hessian = [[mpmath.mpf(0)] * d for _ in range(d)]
        for i in range(d):
            for j in range(i + 1):
                if i == j:
                    value = (up[i] - 2 * middle + down[i]) / h**2
                else:
                    both = log_density(point + units[i] + units[j]) + log_density(point - units[i] - units[j])
                    value = (both - up[i] - down[i] - up[j] - down[j] + 2 * middle) / (2 * h**2)
                hessian[i][j] = hessian[j][i] = value
        as_tensor = lambda values: torch.tensor([float(v) for v in values], dtype=torch.float64)
        return (
            torch.tensor(float(middle), dtype=torch.float64),
            as_tensor(score),
            torch.stack([as_tensor(row) for row in hessian]),
        )


def relative(a: Tensor, b: Tensor) -> float:
    """Return the largest error of a batch of numbers, vectors or matrices, each relative to its norm."""
    a, b = (t.double().reshape(len(t), -1) for t in (a, b))
    return float(((a - b).norm(dim=1) / b.norm(dim=1)).max())


def level_of_log_snr(log_snr: float) -> tuple[float, float]:
    """Return the variance-preserving ``alpha, sigma``."""
    both = torch.sigmoid(torch.tensor([log_snr, -log_snr], dtype=torch.float64)).sqrt()
    return float(both[0]), float(both[1])
