"""Faults of the divergences along the corrected flow and of the log-Sobolev constants, for the claims C2 and C5."""

from __future__ import annotations

import math
from typing import Any

from theory_checks.convergence.divergences import check_divergences
from theory_checks.convergence.log_sobolev import check_log_sobolev
from theory_checks.ledger.faults import fault

REDUCED = {
    "C2": lambda settings: check_divergences(settings, (("bimodal-1d", 1.0),)),
    "C5": lambda settings: check_log_sobolev(settings, ("gauss-1d", "bimodal-1d")),
}


@fault("theory_checks.numerics.euler_chain:drift", "C2")
def drift_without_the_divergence(original: Any) -> Any:
    """The Ito form is that of the literal reading: its drift lacks div M."""
    return lambda at, *, damping, dynamics: original(at, damping=damping, dynamics="literal")


@fault("theory_checks.numerics.fokker_planck:diffusion_matrix", "C2")
def mobility_is_its_root(original: Any) -> Any:
    """The conductances are made of M^{1/2}."""
    return lambda s, **options: original(s, **options).sqrt()


@fault("theory_checks.convergence.divergences:DIVERGENCES", "C2")
def hellinger_without_the_root(original: Any) -> Any:
    """Hellinger's distance is given squared, and so falls at twice its rate."""
    return {**original, "Hellinger": lambda p, q: original["Hellinger"](p, q) ** 2}


@fault("theory_checks.convergence.divergences:DIVERGENCES", "C2")
def kl_the_wrong_way_round(original: Any) -> Any:
    """KL is taken of q from rho, which no chi-squared of rho from q bounds."""
    return {**original, "KL": lambda p, q: original["KL"](q, p + 1e-300)}


@fault("theory_checks.convergence.divergences:wasserstein", "C2")
def wasserstein_without_the_root(original: Any) -> Any:
    """The cost of transport is given for its root."""
    return lambda edges, p, q: original(edges, p, q) ** 2


@fault("theory_checks.numerics.fokker_planck:ReversibleFlow.gap", "C2", "C5")
def gap_is_the_third_eigenvalue(original: Any) -> Any:
    """The rate is read from the eigenvalue after the gap."""
    return property(lambda self: float(self.eigenvalues[2]))


@fault("theory_checks.convergence.log_sobolev:_criterion", "C5")
def criterion_of_the_plain_metric(original: Any) -> Any:
    """The integral of 1/(q M) is taken for that of 1/q, so that every reading has Langevin's constant."""
    return lambda log_p, resistance, step: original(log_p, 1 + 0 * resistance, step)


@fault("theory_checks.convergence.log_sobolev:log_sobolev_quotient", "C5")
def gradient_of_the_square(original: Any) -> Any:
    """The energy is that of q^{-a} instead of its root: four times as much."""

    def quotient(*args: Any, **options: Any) -> tuple[float, float]:
        value, bound = original(*args, **options)
        return value / 4, bound

    return quotient


@fault("theory_checks.convergence.log_sobolev:gaussian_bound", "C5")
def log_determinant_with_the_wrong_sign(original: Any) -> Any:
    """KL between two Gaussians adds the log of the ratio of variances that it must subtract."""
    return lambda a, d: original(a, d) - 2 * d / a**2 * math.log1p(-a)
