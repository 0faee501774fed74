r"""Frechet distances between the moments of samples and those of a target.

``F = |m - mu|^2 + tr(C + S - 2 (S^{1/2} C S^{1/2})^{1/2})`` for sample moments ``m, C`` (divided by ``n - 1``) and
exact ones ``mu, S``: the squared Wasserstein-2 distance of the two normal distributions. Of ``n`` exact samples it is
positive, about ``tr(S) (d + 1)/(4 n)`` for an isotropic ``S``: the floor, without which no figure can be read.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from image_exps.distances.base import Distance, Statistic
from image_exps.distances.reference import Comparable, Reference, reference_of
from toy import ExactTarget, Pictures

__all__ = ["FrechetDistance", "FrechetPCA", "frechet_statistic"]


def frechet_statistic(x: Tensor, mean: Tensor, root: Tensor, trace: float) -> Statistic:
    r"""Return ``F`` of samples (n, k) as a function of their weights, against a normal distribution.

    ``tr (S^{1/2} C S^{1/2})^{1/2}`` is the sum of the singular values of ``(x - m) S^{1/2}/sqrt(n - 1)``, from the
    smaller of its two Gram matrices, so that fewer samples than dimensions need no special case.

    Args:
        x: the samples, float64.
        mean: ``mu``, shape (k,).
        root: ``S^{1/2}``, shape (k, k), or its diagonal (k,).
        trace: ``tr S``.

    Source: Dowson & Landau 1982.
    """
    z = x - mean
    y = z * root if root.ndim == 1 else z @ root
    squares = z.square().sum(1)

    def value(w: Tensor) -> float:
        n = w.sum()
        shift, centre = w @ z / n, w @ y / n
        trace_C = (w @ squares - n * shift.square().sum()) / (n - 1)
        drawn = w > 0
        rows = (y[drawn] - centre) * (w[drawn] / (n - 1)).sqrt()[:, None]
        gram = rows @ rows.mT if len(rows) < rows.shape[1] else rows.mT @ rows
        cross = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().sum()
        return float(shift.square().sum() + trace_C + trace - 2 * cross)

    return value


class FrechetDistance(Distance):
    """The Frechet distance ``F`` to all moments of a target.

    Source: Dowson & Landau 1982; Heusel et al. 2017, there of features of pictures.
    """

    name = "frechet"

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))
        self.least = self.reference.dim + 1
        self._exact: tuple[Tensor, Tensor, float] | None = None

    def check(self, samples: Tensor) -> Tensor:
        try:
            return super().check(samples)
        except ValueError as error:
            if "at least" in str(error) and len(samples):
                d = self.reference.dim
                raise ValueError(
                    f"samples must have shape (n, d) with n > d, got {(len(samples), d)}; frechet-pca takes fewer"
                ) from None
            raise

    def _prepare(self, x: Tensor) -> Statistic:
        if self._exact is None:
            mean, S = self.reference.moments()
            values, vectors = torch.linalg.eigh(S)
            root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
            self._exact = mean, root, float(S.trace())
        return frechet_statistic(x, *self._exact)


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

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference, components: int = 64) -> None:
        super().__init__(reference_of(target))
        if isinstance(components, bool) or not isinstance(components, int) or components < 1:
            raise ValueError(f"components must be a positive integer, got {components!r}")
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
                values, vectors = (t.flip(-1)[..., :k] for t in torch.linalg.eigh(S))
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
        return frechet_statistic(projected, zero, values[:k].sqrt(), float(values[:k].sum()))
