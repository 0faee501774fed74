r"""The coefficients of Eqs. 9 and 10 a second way: in the paper's own variables, from dense matrices and autograd.

`theory_checks.numerics.reverse_time` works in ``u = x/alpha`` and ``tau = -log alpha``, with Eq. 8 for M. Here Eq. 9 is
taken as it stands, ``dx = [f x - g^2 N s] dt + g N^{1/2} dB`` with ``N = lambda (lambda I + s s^T)^{-1}`` by
elimination, ``s`` by automatic differentiation of log q, ``div N`` likewise, and f and g^2 of the schedule in t. Then
``du = (dx - f x dt)/alpha`` and ``dtau = -f dt``, so that in falling tau

    drift ``(g^2/alpha) N s/(-f)``,    squared noise ``(g^2/alpha^2) N/(-f)``,

and half of the drift without noise for Eq. 10.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import toy
from theory_checks.numerics.levels import U
from theory_checks.numerics.reverse_time import FLOWS, ReverseFlow
from toy import GaussianMixture

__all__ = ["coefficients_error", "paper_coefficients"]


def paper_coefficients(data: GaussianMixture, name: str, damping: float, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """Return the drift (B, d) and the squared noise (B, d, d) in falling tau at points x (B, d) and schedule time t."""
    schedule = toy.noise_schedule("vp-linear")
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    f, g2 = float(schedule.drift(t)), float(schedule.squared_diffusion(t))
    q = data.diffuse(alpha, sigma)
    weights, means, covariances = q.weights, alpha * q.means, q.component_covariances.dense()

    def log_q(y: Tensor) -> Tensor:
        r = y - means
        squares = (r[:, None, :] @ torch.linalg.solve(covariances, r[:, :, None]))[:, 0, 0]
        return torch.logsumexp(weights.log() - 0.5 * (squares + torch.linalg.slogdet(covariances)[1]), 0)

    score = torch.func.grad(log_q)
    identity = torch.eye(data.dim, dtype=torch.float64)

    def normalised(y: Tensor) -> Tensor:
        s = score(y)
        inverse: Tensor = torch.linalg.inv(damping * identity + torch.outer(s, s))
        return damping * inverse

    s = torch.stack([score(y) for y in x])
    n = torch.stack([normalised(y) for y in x])
    divergence = torch.stack([torch.einsum("ijj->i", torch.func.jacrev(normalised)(y)) for y in x])
    moved = torch.einsum("bij,bj->bi", n, s)
    drift = {
        "literal": g2 * moved,
        "divergence_added": g2 * (moved + 0.5 * divergence),
        "ode": 0.5 * g2 * moved,
        "corrected": 0.5 * g2 * (s + moved + divergence),
    }[name]
    noise = torch.zeros_like(n) if name == "ode" else g2 * n
    return drift / (-f * alpha), noise / (-f * alpha**2)


def coefficients_error(data: GaussianMixture, dampings: tuple[float, ...], generator: torch.Generator) -> float:
    """Return the largest difference of the two ways over its rounding, for every flow, at points of several levels."""
    worst = 0.0
    for damping in dampings:
        for t in (0.05, 0.3, 0.7):
            schedule = toy.noise_schedule("vp-linear")
            alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
            x = data.diffuse(alpha, sigma).sample(4, generator=generator)
            for name in FLOWS:
                flow = ReverseFlow(data, name, damping, 3.0)
                b, root = flow.coefficients(x / alpha, -math.log(alpha))
                squared = torch.stack([root(column.expand_as(x)) for column in torch.eye(data.dim).double()], 2)
                drift, noise = paper_coefficients(data, name, damping, x, t)
                # Elimination loses the condition of G, and the divergence that of G once more.
                s2 = float(data.diffuse(alpha, sigma).score(x).square().sum(1).max())
                rounding = 100 * data.dim * U * (1 + s2 / damping) ** 2
                for ours, theirs in ((b, drift), (squared @ squared.mT, noise)):
                    size = float(theirs.abs().max()) + 1 / alpha
                    worst = max(worst, float((ours - theirs).abs().max()) / (rounding * size))
    return worst
