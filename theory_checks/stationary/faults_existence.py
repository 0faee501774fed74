"""Faults of claims S1b and S6 and of the proofs of S5: conventions, and where the literal dynamics have a law."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from flint import arb
from torch import Tensor

from theory_checks.ledger.faults import fault
from theory_checks.numerics.symbolic_calculus import divergence, lam
from theory_checks.stationary import proofs_existence
from theory_checks.stationary.bounded_data import Terms, check_bounded_data
from theory_checks.stationary.conventions import check_conventions

Formula = Callable[..., Any]

REDUCED = {
    "S1b": partial(check_conventions, names=("Ito", "anti-Ito")),
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


@fault("theory_checks.stationary.conventions:theta_step", "S1b")
def conventions_exchanged(original: Formula) -> Formula:
    """``1 - theta`` in place of theta: the noise at the other end."""
    return lambda q, damping, theta, h, x, z: original(q, damping, 1 - theta, h, x, z)


@fault("theory_checks.stationary.conventions:line_density", "S1b")
def exponent_without_its_one(original: Formula) -> Formula:
    """``q M^theta``."""
    return lambda q, x, damping, theta: original(q, x, damping, theta + 1)


@fault("theory_checks.stationary.conventions:radius_density", "S1b")
def plane_as_on_the_line(original: Formula) -> Formula:
    """``theta div M/2`` for ``2 theta (div M - R div R)``, as if ``R div R = div M/2`` held in the plane."""

    def density(r: np.ndarray, d: int, damping: float, theta: float) -> Any:
        m = 1 / (damping + r**2)
        # With q M^(theta - 1) on every ray, as in one dimension.
        return r ** (d - 1) * np.exp(-(r**2) / 2) * m ** (theta - 1)

    return density


@fault("theory_checks.stationary.proofs_existence:claimed_exponent", "S1b")
def exponent_of_ito(original: Formula) -> Formula:
    """-1 for every theta."""
    return lambda: original() - proofs_existence.theta


@fault("theory_checks.stationary.proofs_existence:claimed_correction", "S1b")
def correction_of_one_dimension(original: Formula) -> Formula:
    """``div(R R)/2``, which is true in one dimension."""
    return lambda R, x: divergence(R * R, x) / 2


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
