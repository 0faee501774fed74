r"""One interface for every exact target: a distribution on R^d whose diffusion, score and Hessian are closed forms.

A target holds a data distribution ``p_data`` and a noise level: its density is ``q`` of ``x = alpha y + sigma z``, with
``y ~ p_data`` and ``z ~ N(0, I)``. It starts at ``alpha = 1, sigma = 0``, where ``q`` is ``p_data`` itself; `diffuse`
gives the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import Tensor

from lml.arguments import check_integer

__all__ = ["CHUNK_BYTES", "ExactTarget", "check_count", "check_finite", "check_level"]

# Bytes of the temporaries of one chunk. Small enough for a laptop, large enough that products run at full rate.
CHUNK_BYTES = 256 << 20


class ExactTarget(ABC):
    r"""A distribution with closed-form diffusions. Batches are (B, d); every method is evaluated in chunks of rows.

    Attributes:
        dim: the dimension d.
        alpha, sigma: the noise level, ``x = alpha y + sigma z``.
        dtype, device: of every result; inputs are converted.
    """

    dim: int
    alpha: float
    sigma: float
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def diffuse(self, alpha: float, sigma: float) -> Self:
        """Return the target of ``alpha x + sigma z`` with ``x`` from this one.

        Raises:
            ValueError: unless each of ``alpha`` and ``sigma`` is zero or in [1e-150, 1e150], and not both are zero.
        """

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """Return ``log q(x)``, normalised, shape (B,)."""

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """Return ``s = grad log q``, shape (B, d)."""

    @abstractmethod
    def hessian(self, x: Tensor) -> Tensor:
        """Return ``H = hess log q``, shape (B, d, d)."""

    @abstractmethod
    def hessian_vector(self, x: Tensor, v: Tensor) -> Tensor:
        """Return ``H v``, shape (B, d), without forming ``H``."""

    @abstractmethod
    def laplacian(self, x: Tensor) -> Tensor:
        """Return ``tr H``, shape (B,), without forming ``H``."""

    @abstractmethod
    def posterior_mean(self, x: Tensor) -> Tensor:
        """Return ``E[y | x]``, shape (B, d)."""

    @abstractmethod
    def posterior_covariance(self, x: Tensor) -> Tensor:
        """Return ``Cov(y | x)``, shape (B, d, d)."""

    @abstractmethod
    def mean(self) -> Tensor:
        """Return ``E[x]``, shape (d,)."""

    @abstractmethod
    def covariance(self) -> Tensor:
        """Return ``Cov(x)``, shape (d, d)."""

    @abstractmethod
    def sample(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Return ``count`` independent draws, shape (count, d)."""

    @abstractmethod
    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Return this target in another dtype or on another device."""

    def noise(self, x: Tensor) -> Tensor:
        """Return the exact noise prediction ``eps = E[z | x] = -sigma s`` (Tweedie), shape (B, d)."""
        return -self.sigma * self.score(x)

    def _check_batch(self, x: Tensor, name: str = "x") -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != self.dim:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"{name} must be a tensor of shape (B, {self.dim}), got {got}")
        return x.to(dtype=self.dtype, device=self.device)

    def _check_pair(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        x, v = self._check_batch(x), self._check_batch(v, "v")
        if len(v) != len(x):
            raise ValueError(f"v must have the batch size of x, {len(x)}, got {len(v)}")
        return x, v

    def _rows(self, batch: int, numbers_per_row: int) -> Iterator[slice]:
        """Split a batch so that ``numbers_per_row`` temporaries of each row stay within the chunk size."""
        step = max(1, CHUNK_BYTES // (8 * max(1, numbers_per_row)))
        for start in range(0, batch, step):
            yield slice(start, min(start + step, batch))

    def _in_chunks(
        self, numbers_per_row: int, shape: tuple[int, ...], f: Callable[..., Tensor], *inputs: Tensor
    ) -> Tensor:
        """Evaluate ``f`` on rows of the inputs, into a result of ``shape`` for each row."""
        batch = len(inputs[0])
        out = torch.empty((batch, *shape), dtype=self.dtype, device=self.device)
        for rows in self._rows(batch, numbers_per_row):
            out[rows] = f(*(x[rows] for x in inputs))
        return out


def check_level(alpha: float, sigma: float) -> tuple[float, float]:
    """Return a noise level as floats.

    Raises:
        ValueError: unless each is zero or in [1e-150, 1e150], and not both are zero.
    """
    alpha, sigma = float(alpha), float(sigma)
    for name, value in (("alpha", alpha), ("sigma", sigma)):
        # Squares enter every variance: outside of this range they are zero or infinite in float64.
        if value != 0 and not 1e-150 <= value <= 1e150:
            raise ValueError(f"{name} must be zero or lie in [1e-150, 1e150], got {value}")
    if alpha == sigma == 0:
        raise ValueError("alpha and sigma must not both be zero: the target would be a point")
    return alpha, sigma


def check_count(count: int) -> int:
    """Return a number of draws.

    Raises:
        ValueError: unless it is a positive integer.
    """
    return check_integer(count, "count")


def check_finite(tensor: Tensor, name: str) -> None:
    """Refuse an empty tensor and one with NaN or infinity.

    Raises:
        ValueError: naming ``name`` and how many entries are not finite.
    """
    if tensor.numel() == 0:
        raise ValueError(f"{name} must not be empty, got shape {tuple(tensor.shape)}")
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, {bad} of {tensor.numel()} entries are not")
