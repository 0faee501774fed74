r"""Controls: what could have produced LML's figures by other means (claim Q2).

LML is an extrapolation ``e + eta (e - p)`` followed by a restoration of the norm. `Extrapolation` has the first without
the second, `NormOnly` the change of norm that the second undoes without the turn. `RandomTurn` turns by the angle that
LML would have turned by, in a random direction; `ElementNoise` perturbs every element and restores the norm, and
`MatchedNoise` does so by as much as LML would have changed the whole. `OtherSample` makes the change that LML makes to
another sample, and `LevelShift` one of LML's size along the noise itself, as a wrong noise level would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lml._rows import row_norm, row_sum
from lml.arguments import check_positive
from lml.correction import LML, Correction, Turn

__all__ = ["ElementNoise", "Extrapolation", "LevelShift", "MatchedNoise", "NormOnly", "OtherSample", "RandomTurn"]

Generators = torch.Generator | Sequence[torch.Generator]


def extrapolation_coefficient(noise: Tensor, previous: Tensor, *, damping: float | Tensor, mixing: float) -> Tensor:
    r"""Return ``eta = kappa (E + kappa X)/(lambda + kappa X + kappa^2 Q)``, shape (B,), in float64.

    ``E = <e,e>``, ``X = <e,D>``, ``Q = <D,D>`` with ``D = previous - e``. Only where the denominator is positive does
    ``e + eta (e - previous)`` point where LML does; where it is negative it points the other way, and at zero it has no
    limit (`lml.kernel`). Source: claim K3.
    """
    e = noise.flatten(1).double()
    D = previous.flatten(1).double() - e
    E, X, Q = (row_sum(product)[:, 0] for product in (e * e, e * D, D * D))
    return mixing * (E + mixing * X) / (damping + mixing * X + mixing**2 * Q)


@dataclass(frozen=True)
class _Shadow(Correction):
    """A control of one turn, acting where that one does.

    Args:
        lml: the correction whose strength is copied.
    """

    lml: Turn = field(default_factory=LML)

    @property
    def depth(self) -> int:
        return self.lml.depth

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        if not self.lml.acts(history, progress):
            return vector
        return self._shadow(vector, history)

    def _shadow(self, vector: Tensor, history: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)  # without it, the constructor of `_Shadow` knows of no check
class _RankOne(_Shadow):
    lml: LML = field(default_factory=LML)

    def __post_init__(self) -> None:
        if self.lml.rank != 1:
            raise ValueError(f"rank must be 1 for {type(self).__name__}, got {self.lml.rank}")
        if self.lml.norm != "kept":
            raise ValueError(f"norm must be 'kept' for {type(self).__name__}, got {self.lml.norm!r}")

    def _extrapolated(self, e: Tensor, history: Sequence[Tensor]) -> Tensor:
        """Return ``e + eta (e - p)``, shape (B, d), in float64."""
        lam = self.lml.damping_at(e, history)
        eta = extrapolation_coefficient(e, history[0], damping=lam, mixing=self.lml.mixing)
        flat: Tensor = e.flatten(1).double()
        return flat + eta[:, None] * (flat - history[0].flatten(1).double())


class Extrapolation(_RankOne):
    """``e + eta (e - p)``, with the norm that comes out.

    Nothing bounds that norm: where the denominator ``lambda + kappa X + kappa^2 Q`` of eta comes near zero it explodes,
    and where it is negative the result points away from LML's direction (`extrapolation_coefficient`). At the default
    strengths that takes a ``p`` that points against ``e``, ``<e,p> <= -|e|^2``. LML has no such place.

    Raises:
        ValueError: for a correction whose rank is not one, or whose norm is not ``kept``.
    """

    def _shadow(self, vector: Tensor, history: Sequence[Tensor]) -> Tensor:
        return self._extrapolated(vector, history).to(vector.dtype).reshape(vector.shape)


class NormOnly(_RankOne):
    """``e |e + eta (e - p)|/|e|``: the norm of the extrapolation, without its turn.

    It explodes where `Extrapolation` does.

    Raises:
        ValueError: for a correction whose rank is not one, or whose norm is not ``kept``.
    """

    def _shadow(self, vector: Tensor, history: Sequence[Tensor]) -> Tensor:
        e = vector.flatten(1).double()
        scale = row_norm(self._extrapolated(vector, history)) / _norm(e)
        scaled: Tensor = e * scale
        return scaled.to(vector.dtype).reshape(vector.shape)


@dataclass(frozen=True)
class RandomTurn(_Shadow):
    """The turn of LML, by the same angle, in a random direction orthogonal to ``e``.

    Args:
        lml: the correction whose angle is copied.
        generator: one generator for the batch, or one a sample, which makes results independent of the batch.
    """

    generator: Generators = field(default_factory=torch.Generator)

    def _shadow(self, vector: Tensor, history: Sequence[Tensor]) -> Tensor:
        e = vector.flatten(1).double()
        u = self.lml.direction(vector, history).flatten(1).double()
        E = row_sum(e * e).clamp_min(torch.finfo(torch.float64).tiny)
        along = row_sum(u * e) / E
        length = row_norm(u - along * e)
        z = _normal(e, self.generator)
        z = z - row_sum(z * e) / E * e
        turned: Tensor = along * e + length * z / _norm(z)
        return turned.to(vector.dtype).reshape(vector.shape)


@dataclass(frozen=True)
class ElementNoise(Correction):
    r"""``e_i (1 + size z_i)``, ``z ~ N(0, I)``, then the norm of ``e``: noise of a given size at every evaluation.

    Args:
        size: relative standard deviation of an element, positive.
        generator: one generator for the batch, or one a sample, which makes results independent of the batch.

    Raises:
        ValueError: for a size that is not positive.
    """

    size: float = 0.2
    generator: Generators = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        check_positive(self.size, "size")

    @property
    def depth(self) -> int:
        return 0

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        return _element_noise(vector, self.size, self.generator)


@dataclass(frozen=True)
class MatchedNoise(_Shadow):
    r"""``e_i (1 + size z_i)``, ``z ~ N(0, I)``, then the norm of ``e``, with ``size = |e_lml - e|/|e|`` of the sample.

    The noise of `ElementNoise` in the size that LML's own change has, sample by sample and step by step: what it gains,
    any change of that size gains.

    Args:
        lml: the correction whose change of the noise is measured.
        generator: one generator for the batch, or one a sample, which makes results independent of the batch.
    """

    generator: Generators = field(default_factory=torch.Generator)

    def _shadow(self, vector: Tensor, history: Sequence[Tensor]) -> Tensor:
        e = vector.flatten(1).double()
        change = self.lml.direction(vector, history).flatten(1).double() - e
        return _element_noise(vector, row_norm(change) / _norm(e), self.generator)


class OtherSample(_Shadow):
    """``e + c'`` with the norm of ``e``: ``c'`` is the change that LML makes to the noise of the sample before.

    It has the size and the statistics of LML's change, and nothing to do with the trajectory at hand.
    """

    def _shadow(self, vector: Tensor, history: Sequence[Tensor]) -> Tensor:
        e = vector.flatten(1).double()
        change = self.lml.direction(vector, history).flatten(1).double() - e
        changed = e + change.roll(1, 0)
        restored: Tensor = changed * (row_norm(e) / _norm(changed))
        return restored.to(vector.dtype).reshape(vector.shape)


@dataclass(frozen=True)
class LevelShift(_Shadow):
    """``e (1 + sign |e_lml - e|/|e|)``: LML's change in size, along the noise.

    A step that is given a noise longer by a share is that of a sample whose noise level is higher by that share.

    Args:
        lml: the correction whose change of the noise is measured.
        sign: 1 or -1.
    """

    sign: int = 1

    def _shadow(self, vector: Tensor, history: Sequence[Tensor]) -> Tensor:
        e = vector.flatten(1).double()
        change = self.lml.direction(vector, history).flatten(1).double() - e
        shifted: Tensor = e * (1 + self.sign * row_norm(change) / _norm(e))
        return shifted.to(vector.dtype).reshape(vector.shape)


def _element_noise(vector: Tensor, size: float | Tensor, generator: Generators) -> Tensor:
    """Return ``e_i (1 + size z_i)`` with the norm of ``e``, shape (B, ...), for one size or one a sample, (B, 1)."""
    e = vector.flatten(1).double()
    noisy = e * (1 + size * _normal(e, generator))
    restored: Tensor = noisy * (row_norm(e) / _norm(noisy))
    return restored.to(vector.dtype).reshape(vector.shape)


def _norm(x: Tensor) -> Tensor:
    """Return row norms as divisors, (B, 1)."""
    return row_norm(x).clamp_min(torch.finfo(x.dtype).tiny)


def _normal(like: Tensor, generator: Generators) -> Tensor:
    """Draw in float64 on the generator's device, a row from each generator if there is one a sample."""
    if isinstance(generator, torch.Generator):
        draws = torch.randn(like.shape, dtype=torch.float64, generator=generator, device=generator.device)
    else:
        if len(generator) != len(like):
            raise ValueError(f"generator must be one or one a sample, {len(like)}, got {len(generator)}")
        draws = torch.stack(
            [torch.randn(like.shape[1:], dtype=torch.float64, generator=g, device=g.device) for g in generator]
        )
    return draws.to(like)
