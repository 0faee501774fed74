r"""Imperfect scores: a noise prediction plus an error whose kind and size are known (Q4).

With ``rms(v)^2 = sum v_i^2/d`` over the ``d`` numbers of a sample, every kind obeys, for every sample and not only on
average,

    ``rms(eps' - eps) = size * rms(eps)``.

- ``white``: ``eps' = eps + size rms(eps) z/rms(z)``, ``z`` standard normal, drawn once for a seed, a sample and a
  level: an error without structure in space, that does not repeat from level to level nor depend on ``x``.
- ``smooth``: ``eps' = eps + size rms(eps) h(x)``, a smooth function of a low-pass filtered ``x`` and of the level. The
  same ``x`` meets the same error, as with a trained network. With ``V`` orthonormal columns of lowest frequency (of the
  cosine transform for pictures, random otherwise), ``c = V^T x/sqrt(alpha^2 + sigma^2)`` and ``U = V Q`` for a random
  rotation ``Q``,

      ``h(x) = sqrt(2d/K) sum_j [U_2j cos(theta_j) + U_2j+1 sin(theta_j)]``,
      ``theta_j = omega_j.c + nu_j arctan(sigma/alpha) + b_j``,

  random Fourier features (Rahimi & Recht 2007) in pairs, for which ``rms(h) = 1`` exactly: ``cos^2 + sin^2 = 1``.
- ``bias``: ``eps' = (1 - size) eps``. Regression to the mean shrinks a noise prediction; here it is all that it does.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from lml.arguments import check_choice, check_integer, check_number
from lml.samplers import Level, NoiseModel

__all__ = ["KINDS", "Imperfect", "Kind"]

Kind = Literal["white", "smooth", "bias"]

#: The kinds of error by name.
KINDS: tuple[str, ...] = get_args(Kind)

# Numbers of x that the smooth error looks at and writes to: 8x8 frequencies of a grey picture.
_FEATURES = 64
# Standard deviation of nu: over the quarter turn from data to noise an error turns about once.
_TURNS = 4.0


@dataclass(frozen=True)
class Imperfect:
    """A noise model with a controlled error, itself a noise model. The module has the formulas.

    Results do not depend on the batch: the white error belongs to the sample's number, ``first`` plus its place in the
    batch, so that whoever splits samples into batches says where each one starts, with ``first``.

    Args:
        model: the noise prediction that is spoiled, usually exact.
        kind: one of `KINDS`.
        size: of the error, relative to the noise prediction; 0 leaves it as it is.
        seed: of the error, fixed for a whole study.
        shape: of one sample, (C, H, W) or (d,); the smooth error needs ``d >= 2``.
        first: number of the first sample of a batch.

    Raises:
        ValueError: for an argument that does not fit, naming it.
    """

    model: NoiseModel
    kind: Kind
    size: float
    seed: int
    shape: tuple[int, ...]
    first: int = 0

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", KINDS)
        check_number(self.size, "size", least=0)
        for name in ("seed", "first"):
            check_integer(getattr(self, name), name, least=0, below=2**63)
        if len(self.shape) not in (1, 3) or min(self.shape) < 1 or (self.kind == "smooth" and self._dim < 2):
            raise ValueError(f"shape must be (C, H, W) or (d,), of at least 2 numbers if smooth, got {self.shape}")

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the spoiled noise prediction, shape (B, ...)."""
        eps: Tensor = self.model(x, level)
        if x.shape[1:] != self.shape and x.shape[1:] != (self._dim,):
            raise ValueError(f"x must have shape (B, {', '.join(map(str, self.shape))}), got {tuple(x.shape)}")
        if self.kind == "bias" or self.size == 0:
            return eps * (1 - self.size)
        unit = self._white(len(x), level) if self.kind == "white" else self._smooth(x.flatten(1), level)
        scale = self.size * eps.flatten(1).norm(dim=1, keepdim=True) / math.sqrt(self._dim)
        spoiled: Tensor = eps + (scale * unit.to(eps)).view(eps.shape)
        return spoiled

    @property
    def _dim(self) -> int:
        return math.prod(self.shape)

    def _white(self, count: int, level: Level) -> Tensor:
        """Return ``z/rms(z)``, shape (count, d)."""
        # Six digits: levels that differ by rounding alone are one level.
        name = f"{level.half_log_snr:.6g}".encode()
        z = torch.stack([self._normal(self.first + i, name) for i in range(count)])
        unit: Tensor = z * (math.sqrt(self._dim) / z.norm(dim=1, keepdim=True))
        return unit

    def _normal(self, number: int, level: bytes) -> Tensor:
        digest = hashlib.blake2b(struct.pack("<qq", self.seed, number) + level, digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
        return torch.randn(self._dim, generator=generator, dtype=torch.float64)

    def _smooth(self, x: Tensor, level: Level) -> Tensor:
        """Return ``h(x)``, shape (B, d), in the dtype of ``x``."""
        fields = self._fields.to(x)
        c = (x / math.hypot(level.alpha, level.sigma)) @ fields.low_pass
        theta = c @ fields.frequency + fields.turn * math.atan2(level.sigma, level.alpha) + fields.phase
        return torch.cat((theta.cos(), theta.sin()), 1) @ fields.out

    @cached_property
    def _fields(self) -> _Fields:
        generator = torch.Generator().manual_seed(self.seed)
        count = min(_FEATURES, self._dim) // 2 * 2
        v = _low_frequencies(self.shape, count) if len(self.shape) == 3 else _rotation(self._dim, generator)[:, :count]
        u = v @ _rotation(count, generator)
        frequency = torch.randn(count, count // 2, generator=generator, dtype=torch.float64) / math.sqrt(count)
        turn = _TURNS * torch.randn(count // 2, generator=generator, dtype=torch.float64)
        phase = 2 * math.pi * torch.rand(count // 2, generator=generator, dtype=torch.float64)
        return _Fields(v, math.sqrt(2 * self._dim / count) * u.T, frequency, turn, phase)


@dataclass(frozen=True)
class _Fields:
    """The random parts of the smooth error.

    These are ``V`` (d, K), ``sqrt(2d/K) U^T`` (K, d), ``omega`` (K, K/2), ``nu`` and ``b`` (K/2).
    """

    low_pass: Tensor
    out: Tensor
    frequency: Tensor
    turn: Tensor
    phase: Tensor

    def to(self, like: Tensor) -> _Fields:
        """Return the same in the dtype and on the device of a tensor."""
        parts = (self.low_pass, self.out, self.frequency, self.turn, self.phase)
        return _Fields(*(part.to(like) for part in parts))


def _rotation(size: int, generator: torch.Generator) -> Tensor:
    """Return a random orthogonal matrix, shape (size, size)."""
    q, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return torch.as_tensor(q)


def _low_frequencies(shape: tuple[int, ...], count: int) -> Tensor:
    """Return the ``count`` cosine modes of lowest frequency, orthonormal, shape (C*H*W, count)."""
    channels, height, width = shape
    rows, columns = _cosines(height), _cosines(width)
    order = sorted((p * p + q * q, p, q, c) for p in range(height) for q in range(width) for c in range(channels))
    modes = torch.zeros(count, *shape, dtype=torch.float64)
    for mode, (_, p, q, c) in zip(modes, order[:count], strict=True):
        mode[c] = torch.outer(rows[p], columns[q])
    return modes.flatten(1).T.contiguous()


def _cosines(size: int) -> Tensor:
    """Return the orthonormal cosine transform (DCT-II), one mode a row, shape (size, size)."""
    k = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * k[:, None] * (k[None, :] + 0.5)) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows
