"""Seeded faults of claims K1 to K4."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lml.geometry import DampedOuterProduct
from theory_checks.kernel.precision import check_precision
from theory_checks.ledger.faults import fault
from theory_checks.numerics import rational

Direction = Callable[..., Tensor]
Method = Callable[..., Tensor]

#: K1 to K3 take a second as they are.
REDUCED = {"K4": partial(check_precision, rows=[("normal", d, 1e-3) for d in (64, 1024, 3072)])}


@fault("lml.geometry:DampedOuterProduct.solve", "K1")
def solve_without_damping_in_the_denominator(original: Method) -> Method:
    """``(x - s <s,x>/|s|^2)/lambda``."""

    def solve(self: DampedOuterProduct, x: Tensor) -> Tensor:
        along = (self.vector * x).sum(1, keepdim=True)
        return (x - self.vector * (along / self.squared_norm)) / self.damping

    return solve


@fault("lml.geometry:DampedOuterProduct.sqrt_solve", "K1")
def root_without_its_square_root(original: Method) -> Method:
    """``r = lambda/(lambda + |s|^2)`` in the square root."""

    def sqrt_solve(self: DampedOuterProduct, x: Tensor) -> Tensor:
        total = self.damping + self.squared_norm
        root = self.damping / total
        along = (self.vector * x).sum(1, keepdim=True)
        return (x - self.vector * (along * (1 - root) / self.squared_norm)) / torch.sqrt(self.damping)

    return sqrt_solve


@fault("lml.geometry:DampedOuterProduct.logdet", "K1")
def logdet_without_its_second_term(original: Method) -> Method:
    """``(d - 1) log lambda``."""
    return lambda self: original(self) - torch.log(self.damping + self.squared_norm)[:, 0]


@fault("lml.geometry:DampedOuterProduct.matvec", "K1")
def matvec_with_the_wrong_sign(original: Method) -> Method:
    """``lambda x - s <s,x>``."""
    return lambda self, x: 2 * self.damping * x - original(self, x)


@fault("lml.kernel:lml_direction", "K2")
def zero_taken_for_not_given(original: Direction) -> Direction:
    """``mixing or default``: zero is false, and the default takes its place."""
    return lambda noise, previous, *, damping, mixing: original(noise, previous, damping=damping, mixing=mixing or 1e-3)


@fault("lml.kernel:lml_direction", "K3")
def weights_exchanged(original: Direction) -> Direction:
    """Step 7 as ``v = (1 - kappa) eps_prev + kappa eps``."""
    return lambda noise, previous, *, damping, mixing: original(noise, previous, damping=damping, mixing=1 - mixing)


@fault("lml.kernel:lml_direction", "K2", "K3")
def norm_not_restored(original: Direction) -> Direction:
    """Step 13 left out: at ``kappa = 0`` a factor ``lambda/(lambda + |eps|^2)`` remains."""

    def direction(noise: Tensor, previous: Tensor | None, *, damping: float, mixing: float) -> Tensor:
        squared = noise.double().flatten(1).square().sum(1).view(-1, *[1] * (noise.ndim - 1))
        out = original(noise, previous, damping=damping, mixing=mixing)
        return (out * (damping / (damping + squared))).to(noise.dtype)

    return direction


@fault("theory_checks.numerics.rational:textbook_direction", "K2", "K3")
def rational_step_without_damping(original: Callable[..., Any]) -> Callable[..., Any]:
    """The second method's Sherman-Morrison with ``<v,v>`` alone in its denominator."""

    def direction(e: rational.Vector, p: rational.Vector, damping: Fraction, mixing: Fraction) -> rational.Vector:
        v = rational.combine(mixing, p, 1 - mixing, e)
        return rational.combine(Fraction(1), e, -rational.dot(v, e) / rational.dot(v, v), v)

    return direction


@fault("lml.kernel:lml_direction", "K3")
def stale_previous_noise(original: Direction) -> Direction:
    """The history advances one step too late."""
    kept: list[Tensor] = []

    def direction(noise: Tensor, previous: Tensor, *, damping: float, mixing: float) -> Tensor:
        stale = kept[-1] if kept and kept[-1].shape == previous.shape and kept[-1].dtype == previous.dtype else previous
        kept.append(previous)
        return original(noise, stale, damping=damping, mixing=mixing)

    return direction


@fault("lml._rotation:_zeta_and_cosine", "K3")
def rotation_towards_the_previous_noise(original: Callable[..., Any]) -> Callable[..., Any]:
    """``e + zeta p'``."""

    def scalars(*args: Any) -> tuple[Tensor, Tensor]:
        zeta, cosine = original(*args)
        return -zeta, cosine

    return scalars


@fault("lml._rotation:_zeta_and_cosine", "K3")
def damping_dropped(original: Callable[..., Any]) -> Callable[..., Any]:
    """``zeta = kappa (E + kappa X)/(kappa^2 w)``."""
    return lambda E, slope, W, lam, *rest: original(E, slope, W, 1e-30 * lam, *rest)


@fault("lml._rotation:_zeta_and_cosine", "K3")
def scalars_accumulated_in_float32(original: Callable[..., Any]) -> Callable[..., Any]:
    """The inner products rounded to single precision."""

    def scalars(E: Tensor, slope: Tensor, W: Tensor, *rest: Any) -> Any:
        return original(E.float().to(E), slope.float().to(slope), W.float().to(W), *rest)

    return scalars


@fault("lml.kernel:lml_direction_textbook", "K4")
def textbook_evaluated_in_float64(original: Direction) -> Direction:
    """The audited expression silently computed in double precision, where it is exact."""

    def direction(noise: Tensor, previous: Tensor, *, damping: float, mixing: float) -> Tensor:
        return original(noise.double(), previous.double(), damping=damping, mixing=mixing).to(noise.dtype)

    return direction


@fault("lml.kernel:lml_direction_textbook", "K4")
def textbook_without_damping(original: Direction) -> Direction:
    """``eps - v <v,eps>/<v,v>``: rounding noise in any dimension."""
    return lambda noise, previous, *, damping, mixing: original(noise, previous, damping=1e-30, mixing=mixing)


@fault("theory_checks.kernel.precision:_spacing", "K4")
def spacing_of_a_shorter_mantissa(original: Method) -> Method:
    """A mantissa of 23 bits in the prediction, without the implicit one."""
    return lambda x: 2 * original(x)
