r"""The Frechet distance between the moments of samples and the exact ones of a target.

``|m - mu|^2 + tr(C + S - 2 (C S)^{1/2})`` for sample moments ``m, C`` and exact ones ``mu, S``. Samples of the target
itself have a positive distance, which falls with their number: the floor, without which no figure can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from toy import ExactTarget

__all__ = ["FrechetDistance"]


class FrechetDistance:
    """The Frechet distance to a target whose mean and covariance are closed forms.

    Args:
        target: with a covariance of full rank.

    Source: Dowson & Landau 1982; Heusel et al. 2017, there of features of pictures.
    """

    def __init__(self, target: ExactTarget) -> None:
        self._target = target
        self._mean = target.mean().numpy()
        self._covariance = target.covariance().numpy()
        self._root = np.real(sqrtm(self._covariance))

    def __call__(self, samples: Tensor) -> float:
        """Return the distance of samples, shape (n, d).

        Raises:
            ValueError: for no more samples than dimensions: their covariance would have no full rank.
        """
        if samples.ndim != 2 or len(samples) <= samples.shape[1]:
            raise ValueError(f"samples must have shape (n, d) with n > d, got {tuple(samples.shape)}")
        x = samples.double().numpy()
        C = np.cov(x.T)
        # (C S)^{1/2} has the eigenvalues of (S^{1/2} C S^{1/2})^{1/2}, which is symmetric.
        cross = np.sqrt(np.linalg.eigvalsh(self._root @ C @ self._root).clip(0)).sum()
        shift = x.mean(0) - self._mean
        return float(shift @ shift + np.trace(C) + np.trace(self._covariance) - 2 * cross)

    def bootstrap(self, sets: Sequence[Tensor], repeats: int, generator: torch.Generator) -> np.ndarray:
        """Return the distances of resampled sets, (repeats, sets); the sets are paired: the same rows of each."""
        count = len(sets[0])
        rows = (torch.randint(count, (count,), generator=generator) for _ in range(repeats))
        return np.array([[self(samples[chosen]) for samples in sets] for chosen in rows])

    def floor(self, count: int, repeats: int, generator: torch.Generator) -> np.ndarray:
        """Return the distances of ``repeats`` sets of ``count`` exact samples, shape (repeats,)."""
        return np.array([self(self._target.sample(count, generator=generator)) for _ in range(repeats)])
