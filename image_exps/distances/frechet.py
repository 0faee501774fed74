r"""Frechet distances between the moments of samples and those of a target.

``F = |m - mu|^2 + tr(C + S - 2 (S^{1/2} C S^{1/2})^{1/2})`` for sample moments ``m, C`` (divided by ``n - 1``) and
exact ones ``mu, S``: the squared Wasserstein-2 distance of the two normal distributions. Of ``n`` exact samples it is
positive, about ``tr(S) (d + 1)/(4 n)`` for an isotropic ``S``: the floor, without which no figure can be read.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh
from torch import Tensor

from image_exps.distances.base import Distance, Statistic
from image_exps.distances.reference import Comparable, Reference, reference_of
from lml.arguments import check_integer
from toy import ExactTarget, Pictures

__all__ = ["FrechetDistance", "FrechetPCA", "Moments", "frechet_statistic", "normal_moments", "sample_moments"]


class Moments(NamedTuple):
    """Mean and covariance ``S`` of a normal distribution in ``k`` dimensions, as `frechet_statistic` asks for them.

    Attributes:
        mean: ``mu``, shape (k,).
        root: ``R`` with ``R R^T = S``, shape (k, r), of any width r; or its diagonal, shape (k,).
        trace: ``tr S``.
    """

    mean: Tensor
    root: Tensor
    trace: float


def normal_moments(mean: Tensor, S: Tensor) -> Moments:
    """Return the moments of a mean (k,) and a covariance (k, k); ``R = S^{1/2}``."""
    values, vectors = _eigh(S)
    return Moments(mean, (vectors * values.clamp_min(0).sqrt()) @ vectors.mT, float(S.trace()))


def sample_moments(x: Tensor) -> Moments:
    """Return the moments of samples (n, k), the covariance divided by ``n - 1``.

    Of no more samples than dimensions the centred samples are a factor of their covariance, ``R = Y^T/sqrt(n - 1)``,
    and nothing is decomposed.
    """
    n, k = x.shape
    mean = x.mean(0)
    if n > k:
        return normal_moments(mean, torch.cov(x.T).reshape(k, k))
    Y = (x - mean) / math.sqrt(n - 1)
    return Moments(mean, Y.mT, float(Y.square().sum()))


def frechet_statistic(x: Tensor, moments: Moments) -> Statistic:
    r"""Return ``F`` of samples (n, k) as a function of their weights, against a normal distribution.

    With any factor ``R R^T = S`` and ``Z = (x - m) R/sqrt(n - 1)``, the matrices ``S^{1/2} C S^{1/2}`` and ``Z Z^T``
    have the same eigenvalues but for zeros. The smaller of ``Z Z^T`` and ``Z^T Z`` is diagonalised, so that few
    samples, or few behind ``R``, cost little, and no root is taken of rounding errors. Of other weights ``F`` is taken
    to first order, ``F + sum_i (w_i - 1) a_i`` with the influence of sample ``i`` ::

        a_i = 2 (m - mu)^T (x_i - mu)/n + |x_i - m|^2/(n - 1) - ((Z Z^T)^{1/2})_{ii}

    A resample computed anew would have fewer distinct samples, and with many dimensions a spread several times too
    large; this order alone has the limit law, and costs nothing.

    Args:
        x: the samples, float64.
        moments: of the distribution.

    Source: Dowson & Landau 1982; Rippl, Munk & Sturm 2016 for the limit law; Efron 1982, Sec. 6 (the infinitesimal
    jackknife).
    """
    n, (mean, root, trace) = len(x), moments
    z = x - mean
    shift = z.mean(0)
    centred = (z - shift) / math.sqrt(n - 1)
    Z = centred * root if root.ndim == 1 else centred @ root
    wide = n <= Z.shape[1]
    values, vectors = _eigh(Z @ Z.mT if wide else Z.mT @ Z)
    # Below this an eigenvalue is rounding.
    values = torch.where(values > values[-1] * len(values) * torch.finfo(torch.float64).eps, values, 0.0)
    if wide:
        diagonal = vectors.square() @ values.sqrt()
    else:
        diagonal = (Z @ vectors).square() @ torch.where(values > 0, values.rsqrt(), 0.0)
    spread = centred.square().sum(1)
    F = float(shift.square().sum() + spread.sum() + trace - 2 * values.sqrt().sum())
    influence = 2 * (z @ shift) / n + spread - diagonal
    return lambda w: F + float((w - 1) @ influence)


def _eigh(S: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, rising, and eigenvectors of a symmetric matrix.

    The usual routine (divide and conquer) may fail to converge on a matrix of low rank; QR iteration then does.
    """
    try:
        values, vectors = torch.linalg.eigh(S)
    except RuntimeError:  # torch.linalg.LinAlgError is one
        values, vectors = map(torch.from_numpy, eigh(S.numpy(), driver="ev"))
    return values, vectors


class FrechetDistance(Distance):
    """The Frechet distance ``F`` to all moments of a target.

    Source: Dowson & Landau 1982; Heusel et al. 2017, there of features of pictures.
    """

    name = "frechet"
    bounds = (0.0, math.inf)

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))
        self.least = self.reference.dim + 1
        self._exact: Moments | None = None

    def _too_few(self, count: int) -> str:
        if count == 0:
            return super()._too_few(count)
        return f"samples must have shape (n, d) with n > d, got {(count, self.reference.dim)}; frechet-pca takes fewer"

    def _prepare(self, x: Tensor) -> Statistic:
        if self._exact is None:
            self._exact = normal_moments(*self.reference.moments())
        return frechet_statistic(x, self._exact)


class FrechetPCA(Distance):
    r"""The Frechet distance within the leading principal components of the target.

    ``F`` of ``U^T x``, with ``U`` (d, k) the leading eigenvectors of the target's covariance ``S``. What happens
    outside of their span is not seen; the remark says how much of the variance is inside. Fewer than ``2 k`` samples
    shrink ``k`` to half of their number, and the remark says so.

    Args:
        target: what samples are compared with.
        components: k, at most d.

    Source: as `FrechetDistance`; Jolliffe 2002, Principal Component Analysis.
    """

    name = "frechet-pca"
    bounds = (0.0, math.inf)

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference, components: int = 64) -> None:
        super().__init__(reference_of(target))
        check_integer(components, "components")
        self.components = min(components, self.reference.dim)
        self._basis: tuple[Tensor, Tensor, Tensor, float] | None = None

    def _leading(self) -> tuple[Tensor, Tensor, Tensor, float]:
        """Return ``mu`` (d,), ``U`` (d, k), the eigenvalues (k,), largest first, and ``tr S``."""
        if self._basis is None:
            mean, S = self.reference.moments()
            d, k = self.reference.dim, self.components
            if 4 * k < d:
                # Lanczos, from a fixed start: a tenth of the time of all eigenvectors at d = 3072.
                start = np.random.default_rng(0).standard_normal(d)
                values, vectors = map(torch.from_numpy, eigsh(S.numpy(), k=k, v0=start, which="LA"))
                order = values.argsort(descending=True)
                values, vectors = values[order], vectors[:, order]
            else:
                values, vectors = (t.flip(-1)[..., :k] for t in _eigh(S))
            self._basis = mean, vectors, values.clamp_min(0), float(S.trace())
        return self._basis

    def used(self, count: int) -> int:
        """Return how many components are used for ``count`` samples."""
        return min(self.components, max(1, count // 2))

    def remark(self, count: int) -> str:
        _, _, values, trace = self._leading()
        k = self.used(count)
        share = f"{k} leading of {self.reference.dim} components, {float(values[:k].sum()) / trace:.1%} of the variance"
        return share + (f"; shrunk from {self.components} for {count} samples" if k < self.components else "")

    def _prepare(self, x: Tensor) -> Statistic:
        mean, vectors, values, _ = self._leading()
        k = self.used(len(x))
        projected = (x - mean) @ vectors[:, :k]
        zero = torch.zeros(k, dtype=torch.float64)
        return frechet_statistic(projected, Moments(zero, values[:k].sqrt(), float(values[:k].sum())))
