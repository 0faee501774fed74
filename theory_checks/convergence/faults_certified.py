"""Seeded faults of the certified claims H3c and C1c."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flint import arb, arb_series

from theory_checks.convergence.certified_gap import Line, check_certified_gap
from theory_checks.hessian.certified_bound import check_certified_bound
from theory_checks.ledger.faults import fault

Formula = Callable[..., Any]

REDUCED = {
    "H3c": partial(check_certified_bound, names=("points-1d",)),
    "C1c": partial(check_certified_gap, cases=(("gauss-1d", 4.0), ("bimodal-1d", 1.0))),
}


@fault("theory_checks.hessian.certified_bound:claimed_bound", "H3c")
def bound_without_the_data(original: Formula) -> Formula:
    """``sqrt(d) + R^2``: the term in the diameter left out."""
    return lambda d, squared_noise, data_term: original(d, squared_noise, arb(0))


@fault("theory_checks.hessian.certified_bound:claimed_excess", "H3c")
def excess_with_the_trace_subtracted(original: Formula) -> Formula:
    """``- 2 S tr V``."""
    return lambda root, half, snr, trace, squared: original(root, half, snr, -trace, squared)


@fault("theory_checks.hessian.certified_bound:claimed_excess", "H3c")
def excess_twice_as_large(original: Formula) -> Formula:
    """``2 T_0``: a certificate of more room than there is."""
    return lambda *terms: 2 * original(*terms)


@fault("theory_checks.convergence.certified_gap:barta_rate", "C1c")
def rate_without_the_mixed_term(original: Formula) -> Formula:
    """``s p`` left out of the Riccati expression."""
    return lambda s, slope, p, p_slope, damping: (
        original(s, slope, p, p_slope, damping) + s * p / (arb(damping) + s * s)
    )


@fault("theory_checks.convergence.certified_gap:rayleigh", "C1c")
def energy_halved(original: Formula) -> Formula:
    """``E[M f'^2]/(2 Var f)``: the rate of chi-squared for that of its root."""
    return lambda energy, variance: original(energy, 2 * variance)


@fault("theory_checks.convergence.certified_gap:Line.score", "C1c")
def spread_of_the_components_twice(original: Formula) -> Formula:
    """``s' = -sum_k r_k/v_k + sum_{jk} r_j r_k (s_j - s_k)^2``, each pair in both orders."""

    def score(self: Line, x: arb_series) -> tuple[arb_series, arb_series]:
        s, slope = original(self, x)
        r = self.responsibilities(x)
        within = sum((-a / arb(v) for a, v in zip(r, self.variances, strict=True)), 0 * x)
        return s, 2 * slope - within

    return score
