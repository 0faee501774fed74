"""Faults of claim S6 and of the proofs of S5 and S6: where the literal dynamics have a stationary law."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flint import arb
from torch import Tensor

from theory_checks.ledger.faults import fault
from theory_checks.numerics.symbolic_calculus import lam
from theory_checks.stationary import proofs_existence
from theory_checks.stationary.bounded_data import Terms, check_bounded_data

Formula = Callable[..., Any]

REDUCED = {
    "S6": partial(check_bounded_data, family=((2, 0.5, 1.0), (64, 2.0, 10.0)), sets=(("points-2d", 0.0),)),
}


@fault("theory_checks.stationary.bounded_data:terms", "S6")
def trace_with_one_direction_more(original: Formula) -> Formula:
    """``d/lambda`` in place of ``(d - 1)/lambda``."""
    return lambda d, strength, t, m, p: original(d + 1, strength, t, m, p)


@fault("theory_checks.stationary.bounded_data:terms", "S6")
def posterior_mean_along_x_only(original: Formula) -> Formula:
    """The part of the posterior mean across x left out."""

    def terms(d: int, strength: float, t: arb, m: arb, p: arb) -> Terms:
        found: Terms = original(d, strength, t, m, 0 * p)
        return found

    return terms


@fault("theory_checks.stationary.bounded_data:growth_rate", "S6")
def growth_of_the_noise_alone(original: Formula) -> Formula:
    """``2 (d - 1)/lambda``: the drift left out."""
    return lambda d, strength: original(d, strength) + 2


@fault("theory_checks.stationary.bounded_data:deviation", "S6")
def deviation_of_data_at_the_origin(original: Formula) -> Formula:
    """Rho left out of (3)."""

    def deviation(strength: float, rho: float, t: Tensor) -> Any:
        return original(0.0, 0.0, t)

    return deviation


@fault("lml.geometry:DampedOuterProduct.sqrt_solve", "S6")
def noise_of_the_squared_root(original: Formula) -> Formula:
    """``M z`` in place of ``M^{1/2} z`` in the particles."""
    return lambda self, x: self.solve(x)


@fault("theory_checks.stationary.proofs_existence:claimed_terms", "S6")
def second_term_without_the_turn(original: Formula) -> Formula:
    """``B = t^2/D``: the part of the score across x left out."""

    def terms(d: int, t2: Any, tm: Any, tp2: Any) -> Any:
        A, B = original(d, t2, tm, tp2)
        return A, B / (1 + tp2 / t2 / lam)

    return terms


@fault("theory_checks.stationary.proofs_existence:claimed_scale_slope", "S5")
def scale_without_the_volume(original: Formula) -> Formula:
    """``(d - 1)/r`` left out."""
    return lambda: original() - (proofs_existence.dim - 1) / proofs_existence.r


@fault("theory_checks.stationary.proofs_existence:claimed_law", "S5")
def law_without_its_first_factor(original: Formula) -> Formula:
    """``lambda + r^2/v^2`` left out."""
    e = proofs_existence
    return lambda: original() / (lam + e.r**2 / e.v**2)
