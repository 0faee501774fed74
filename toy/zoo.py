"""Named targets in 1, 2, 8, 16 and 64 dimensions and over the embedded data: the worlds on which claims are checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lml.arguments import check_choice
from toy.data_mixture import DataMixture
from toy.datasets import dataset
from toy.exact_target import ExactTarget
from toy.mixture import GaussianMixture

__all__ = ["ZOO", "Entry", "target"]


@dataclass(frozen=True)
class Entry:
    """A named target: what it is for, its dimension, and how it is made."""

    description: str
    dim: int
    make: Callable[[], ExactTarget]


def _double(*entries: object) -> torch.Tensor:
    return torch.tensor(entries, dtype=torch.float64)


def _gauss(dim: int) -> GaussianMixture:
    return GaussianMixture(_double(1.0), torch.zeros((1, dim), dtype=torch.float64), _double(1.0))


def _bimodal() -> GaussianMixture:
    return GaussianMixture(_double(0.5, 0.5), _double([-1.5], [1.5]), _double(0.6, 0.6))


def _pair() -> GaussianMixture:
    return GaussianMixture(_double(0.5, 0.5), _double([-1.5, 0.0], [1.5, 0.0]), _double(0.6, 0.6))


def _skewed() -> GaussianMixture:
    return GaussianMixture(_double(0.2, 0.5, 0.3), _double([-2.5], [0.0], [1.5]), _double(0.3, 1.0, 0.1))


def _ring(count: int, radius: float, spread: float) -> GaussianMixture:
    angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    means = radius * torch.stack((angles.cos(), angles.sin()), 1)
    return GaussianMixture(
        torch.full((count,), 1 / count, dtype=torch.float64), means, torch.full((count,), spread**2).double()
    )


def _cross() -> GaussianMixture:
    covariances = _double([[2.0, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.0, 2.0]], [[0.6, 0.4], [0.4, 0.6]])
    return GaussianMixture(_double(0.4, 0.35, 0.25), _double([0.0, 0.0], [0.0, 0.0], [2.0, 2.0]), covariances)


def _random(dim: int, components: int, seed: int) -> GaussianMixture:
    """Means of standard deviation 1.5, covariances with eigenvalues log-uniform in [0.05, 2] in random directions."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    weights = torch.softmax(0.5 * draw(components), 0)
    bases = torch.linalg.qr(draw(components, dim, dim))[0]
    uniform = torch.rand((components, dim), dtype=torch.float64, generator=generator)
    eigenvalues = torch.exp(math.log(0.05) + uniform * math.log(40.0))
    return GaussianMixture(weights, 1.5 * draw(components, dim), (bases * eigenvalues[:, None]) @ bases.mT)


#: The zoo by name.
ZOO: dict[str, Entry] = {
    "gauss-1d": Entry("N(0, 1)", 1, lambda: _gauss(1)),
    "bimodal-1d": Entry("N(-1.5, 0.6) and N(1.5, 0.6), equal weights", 1, _bimodal),
    "skewed-1d": Entry("three components of different weight and width", 1, _skewed),
    "points-1d": Entry("five points, tau = 0: bounded data", 1, lambda: _points(1, 5, 11)),
    "gauss-2d": Entry("N(0, I)", 2, lambda: _gauss(2)),
    "bimodal-2d": Entry("N((-1.5, 0), 0.6 I) and N((1.5, 0), 0.6 I), equal weights", 2, _pair),
    "ring-2d": Entry("eight components on a circle of radius 3", 2, lambda: _ring(8, 3.0, 0.4)),
    "cross-2d": Entry("two crossed, elongated components and a correlated one", 2, _cross),
    "points-2d": Entry("nine points, tau = 0: bounded data", 2, lambda: _points(2, 9, 12)),
    "random-8d": Entry("five components with random full covariances", 8, lambda: _random(8, 5, 13)),
    "points-8d": Entry("thirty points, tau = 0: bounded data", 8, lambda: _points(8, 30, 14)),
    "random-16d": Entry("eight components with random full covariances", 16, lambda: _random(16, 8, 16)),
    "random-16d-tuning": Entry("as random-16d, of another seed", 16, lambda: _random(16, 8, 17)),
    "random-64d": Entry("sixteen components with random full covariances", 64, lambda: _random(64, 16, 15)),
    "digits": Entry("scikit-learn's 1797 digits at 8x8, tau = 0", 64, lambda: _data("digits")),
    "emoji": Entry("3786 colour emoji at 32x32, tau = 0", 3072, lambda: _data("emoji")),
}


def _points(dim: int, count: int, seed: int) -> DataMixture:
    generator = torch.Generator().manual_seed(seed)
    return DataMixture(1.5 * torch.randn((count, dim), dtype=torch.float64, generator=generator))


def _data(name: str) -> DataMixture:
    return DataMixture(dataset(name).images)


def target(name: str) -> ExactTarget:
    """Return the target of this name, at ``alpha = 1, sigma = 0``.

    Raises:
        ValueError: for a name that is not in `ZOO`.
    """
    check_choice(name, "target", ZOO)
    return ZOO[name].make()
