r"""Exact targets with classes: what a classifier could know at best, and what a network that is given a class predicts.

``q = sum_c pi_c q_c`` with every ``q_c`` exact. At any level the diffusion of ``q`` is the same mixture of the diffused
classes, so that the best classifier is Bayes' rule::

    log p(c|x) = log pi_c + log q_c(x) - log q(x)

Two mixtures of labelled data have the same mean and covariance, those of the data with ``tau^2 I`` added:

- `smoothed_classes`, every class its own points smoothed by ``tau``. Where ``tau`` is small the classes lie apart.
- `gaussian_classes`, every class the normal distribution with its mean, and the covariance within classes that all of
  them share (Fisher's linear discriminant). The classes overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from lml.arguments import check_positive
from toy.data_mixture import DataMixture
from toy.datasets import Pictures
from toy.exact_target import ExactTarget
from toy.mixture import GaussianMixture

__all__ = ["ClassMixture", "gaussian_classes", "smoothed_classes"]


class ClassMixture:
    r"""The mixture ``q = sum_c pi_c q_c`` of classes, and its diffusions.

    Args:
        whole: ``q`` itself, in whatever form its score is the cheapest.
        classes: the ``q_c``, K of them, at the level of ``whole``.
        weights: ``pi``, shape (K,), positive, of sum one.

    Raises:
        ValueError: for fewer than two classes, weights of another shape, that are not positive or do not sum to one,
            classes of another dimension or level than ``whole``.
    """

    def __init__(self, whole: ExactTarget, classes: Sequence[ExactTarget], weights: Tensor) -> None:
        if len(classes) < 2:
            raise ValueError(f"classes must be at least two, got {len(classes)}")
        if weights.shape != (len(classes),) or not bool((weights > 0).all()):
            raise ValueError(f"weights must be {len(classes)} positive numbers, one a class, got {weights.tolist()}")
        if abs(float(weights.double().sum()) - 1) > 1e-6:
            raise ValueError(f"weights must sum to one, their sum is {float(weights.double().sum())}")
        place = (whole.dim, whole.alpha, whole.sigma)
        for k, each in enumerate(classes):
            if (each.dim, each.alpha, each.sigma) != place:
                got = (each.dim, each.alpha, each.sigma)
                raise ValueError(f"classes must have the whole's (dim, alpha, sigma) {place}, got {got} at {k}")
        self.whole, self.classes, self.weights = whole, tuple(classes), weights.to(whole.dtype)

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.whole.dim

    def diffuse(self, alpha: float, sigma: float) -> Self:
        """Return the mixture of ``alpha x + sigma z``; arguments and errors are those of `ExactTarget.diffuse`."""
        classes = [each.diffuse(alpha, sigma) for each in self.classes]
        return type(self)(self.whole.diffuse(alpha, sigma), classes, self.weights)

    def draw_labels(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return classes drawn with the weights, shape (B,), the label of each sample from its own generator."""
        drawn = [torch.multinomial(self.weights, 1, generator=g) for g in generators]
        return torch.cat(drawn)

    def class_noise(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return ``eps_c(x)``, the noise prediction of each sample's own class, shape (B, d).

        Args:
            x: samples at this level, shape (B, d).
            labels: numbers of their classes, shape (B,).

        Raises:
            ValueError: for labels of another shape, or that are no class.
        """
        labels = self._check_labels(x, labels)
        noise = torch.empty_like(x, dtype=self.whole.dtype)
        for k in sorted(set(labels.tolist())):
            rows = labels == k
            noise[rows] = self.classes[k].noise(x[rows])
        return noise

    def log_posterior(self, x: Tensor) -> Tensor:
        """Return ``log p(c|x)`` of all classes, shape (B, K)."""
        return self._log_joint(x).log_softmax(1)

    def log_odds(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return ``log p(c|x) - log(1 - p(c|x))`` of each sample's own class in nats, shape (B,).

        Unlike the posterior itself it does not saturate: it goes on growing where ``p(c|x)`` is one to all digits.

        Raises:
            ValueError: as `class_noise`.
        """
        own = self._check_labels(x, labels)[:, None]
        joint = self._log_joint(x)
        others = joint.scatter(1, own, -math.inf)
        return joint.gather(1, own)[:, 0] - others.logsumexp(1)

    def _log_joint(self, x: Tensor) -> Tensor:
        return torch.stack([each.log_density(x) for each in self.classes], 1) + self.weights.log()

    def _check_labels(self, x: Tensor, labels: Tensor) -> Tensor:
        if labels.shape != (len(x),):
            raise ValueError(f"labels must be one a sample, shape ({len(x)},), got {tuple(labels.shape)}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise ValueError(
                f"labels must lie in 0 .. {len(self.classes) - 1}, got {int(labels.min())} .. {int(labels.max())}"
            )
        return labels.long()


def smoothed_classes(pictures: Pictures, tau: float) -> ClassMixture:
    """Return the labelled pictures smoothed by ``tau``; classes have the order of their sorted labels.

    Raises:
        ValueError: for pictures of fewer than two labels, or ``tau`` that is not positive and finite.
    """
    points, groups, weights = _grouped(pictures, tau)
    return ClassMixture(DataMixture(points, tau), [DataMixture(points[rows], tau) for rows in groups], weights)


def gaussian_classes(pictures: Pictures, tau: float) -> ClassMixture:
    r"""Return normal classes: ``q_c = N(m_c, W + tau^2 I)``, with ``W = sum_c pi_c C_c`` the covariance within classes.

    Raises:
        ValueError: as `smoothed_classes`.

    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, Sec. 4.3.
    """
    points, groups, weights = _grouped(pictures, tau)
    means = torch.stack([points[rows].mean(0) for rows in groups])
    d = points.shape[1]  # torch.cov makes a number of one dimension
    within = torch.stack([torch.cov(points[rows].mT, correction=0).reshape(d, d) for rows in groups])
    shared = torch.einsum("k,kij->ij", weights, within) + tau**2 * torch.eye(d, dtype=points.dtype)
    one = torch.ones(1, dtype=weights.dtype)
    whole = GaussianMixture(weights, means, shared.expand(len(means), -1, -1))
    return ClassMixture(whole, [GaussianMixture(one, m[None], shared[None]) for m in means], weights)


def _grouped(pictures: Pictures, tau: float) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return the points (N, d) in float64, the rows of each class, and the classes' shares (K,)."""
    check_positive(tau, "tau")
    names = sorted(set(pictures.labels))
    groups = [torch.tensor([i for i, label in enumerate(pictures.labels) if label == name]) for name in names]
    counts = torch.tensor([len(rows) for rows in groups], dtype=torch.float64)
    return pictures.images.flatten(1).double(), groups, counts / counts.sum()
