"""Faults of claims K: the kernel, its precision, the published code, several past noises, damping, their proofs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import sympy
import torch
from torch import Tensor

from lml.geometry import DampedOuterProduct
from theory_checks.kernel import proofs
from theory_checks.kernel.precision import check_precision
from theory_checks.ledger.faults import fault
from theory_checks.numerics import rational

Direction = Callable[..., Tensor]
Method = Callable[..., Tensor]
Formula = Callable[..., Any]

#: The other checks take a few seconds as they are.
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


@fault("theory_checks.numerics.rounding_noise:_spacing", "K4")
def spacing_of_a_shorter_mantissa(original: Method) -> Method:
    """A mantissa of 23 bits in the prediction, without the implicit one."""
    return lambda x: 2 * original(x)


# --- the published code


@fault("lml.correction:ReleasedLML.site", "K5")
def published_code_turns_the_noise(original: Any) -> str:
    """The noise is turned before the base sees it, as Algorithm 1 has it and the published code does not."""
    return "noise"


@fault("lml.samplers.base:Network.advance", "K5")
def published_code_turns_the_sample(original: Any) -> Any:
    """The whole next sample is turned instead of what the base adds to its linear part."""
    return lambda self, rest, scale, vector, memory, i: original(self, 0 * rest, 1.0, rest + scale * vector, memory, i)


@fault("lml.correction:lml_direction_textbook", "K5")
def textbook_with_ten_times_the_damping(original: Any) -> Any:
    """The damping is taken for another one, which leaves a tenth of the rounding noise."""
    return lambda noise, previous, *, damping, mixing: original(noise, previous, damping=10 * damping, mixing=mixing)


# --- several past noises, relative and adaptive damping


@fault("lml._rotation:_solve_damped", "K6")
def past_noises_taken_one_by_one(original: Any) -> Any:
    """The coupling of the past noises is left out: every ``zeta_j`` is that of rank one."""
    return lambda B, lam, a: a / (lam[:, None] + B.diagonal(dim1=1, dim2=2))


@fault("lml._rotation:_zeta_and_cosine", "K6")
def weights_of_the_past_are_one(original: Any) -> Any:
    """``a_j = 1``: the part of the past noises along ``e`` is left out of the mixed noise."""
    return lambda E, slope, *rest: original(E, torch.zeros_like(slope), *rest)


@fault("theory_checks.kernel.rank:orthogonal_parts", "K6")
def past_noises_not_made_orthogonal(original: Any) -> Any:
    """The second method's small system of the past noises themselves instead of their orthogonal parts."""
    return lambda e, history: history


@fault("lml.correction:damping_of", "K7")
def share_of_the_norm_instead_of_its_square(original: Any) -> Any:
    """``lambda = damping |e|``."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        lam = original(noise, history, mode=mode, damping=damping)
        return torch.sqrt(damping * lam) if isinstance(lam, Tensor) else lam

    return damping_of


@fault("lml.correction:damping_of", "K7")
def share_of_the_mean_square(original: Any) -> Any:
    """``lambda = damping |e|^2/d``: free of scale, but not of dimension."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        lam = original(noise, history, mode=mode, damping=damping)
        return lam / noise[0].numel() if isinstance(lam, Tensor) else lam

    return damping_of


@fault("lml.correction:damping_of", "K8")
def gain_of_the_present_change(original: Any) -> Any:
    """Projected on the present change instead of the last one: ``<e - p_1, p_1 - p_2>/|e - p_1|^2``."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        p1, p2 = history[:2] if len(history) > 1 else (noise, noise)
        lam: float | Tensor = original(p2, (p1, noise), mode=mode, damping=damping)
        return lam

    return damping_of


@fault("lml.correction:damping_of", "K8")
def gain_multiplies_the_damping(original: Any) -> Any:
    """``lambda = damping |e|^2 gain``: it turns furthest where the noise turned back."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        lam: float | Tensor = original(noise, history, mode=mode, damping=damping)
        relative: Tensor = original(noise, (), mode="relative", damping=damping)
        return relative**2 / lam if mode == "adaptive" else lam

    return damping_of


@fault("lml.damping:_LEAST_GAIN", "K8")
def least_gain_forgotten(original: Any) -> float:
    """The gain is bounded by a tenth from below: LML stays on where the noise turned back."""
    return 0.1


# --- symbolic proofs


@fault("theory_checks.kernel.proofs:claimed_inverse", "K1")
def inverse_without_damping_below(original: Formula) -> Formula:
    """``(I - s s^T/|s|^2)/lambda``: the limit of small lambda."""
    return lambda A: (sympy.eye(2) - A / proofs.S) / proofs.lam


@fault("theory_checks.kernel.proofs:claimed_root", "K1")
def root_without_a_root(original: Formula) -> Formula:
    """``lambda/(lambda + |s|^2)`` in place of its square root."""

    def root(A: sympy.Matrix) -> sympy.Matrix:
        return (sympy.eye(2) - A / (proofs.lam + proofs.S)) / sympy.sqrt(proofs.lam)

    return root


@fault("theory_checks.kernel.proofs:claimed_log_determinant", "K1")
def determinant_with_a_dimension_too_many(original: Formula) -> Formula:
    """``d log lambda``."""
    return lambda d: original(d) + sympy.log(proofs.lam)


@fault("theory_checks.kernel.proofs:published_direction", "K2", "K3")
def weights_of_the_noises_swapped(original: Formula) -> Formula:
    """``v = (1 - kappa) p + kappa e``."""
    kappa = proofs.kappa
    return lambda: original().subs(kappa, 1 - kappa)


@fault("theory_checks.kernel.proofs:multistep_direction", "K3")
def multistep_form_with_the_wrong_sign(original: Formula) -> Formula:
    """``+ kappa (E + kappa X) D``."""
    return lambda: sympy.diag(1, -1) * original()


@fault("theory_checks.kernel.proofs:claimed_eta", "K3")
def strength_without_its_denominator(original: Formula) -> Formula:
    """``kappa (E + kappa X)/lambda``: the limit of small kappa."""
    k, X = proofs.kappa, proofs.X
    return lambda: k * (proofs.E + k * X) / proofs.lam


@fault("theory_checks.kernel.proofs:rotation", "K3")
def rotation_with_all_of_the_move(original: Formula) -> Formula:
    """``zeta`` with ``<D,D>`` in place of ``<p',p'>``."""

    def rotation() -> tuple[sympy.Expr, sympy.Matrix, sympy.Expr]:
        zeta, orthogonal, w = original()
        return zeta * (proofs.lam + proofs.kappa**2 * w) / (proofs.lam + proofs.kappa**2), orthogonal, w

    return rotation


@fault("theory_checks.kernel.proofs:claimed_cosine", "K3")
def cosine_without_the_parallel_part(original: Formula) -> Formula:
    """``lambda E + kappa^2 E Q``."""
    return lambda: original() + proofs.kappa**2 * proofs.X**2


@fault("theory_checks.kernel.proofs:rank_two_zeta", "K3")
def rank_two_without_cross_terms(original: Formula) -> Formula:
    """The diagonal of W alone."""
    return lambda W, a: original(sympy.diag(W[0, 0], W[1, 1]), a)
