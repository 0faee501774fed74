"""Faults of the divergences along the corrected flow, for the claim C2."""

from __future__ import annotations

from typing import Any

from theory_checks.divergences import check_divergences
from theory_checks.faults import fault

REDUCED = {"C2": lambda settings: check_divergences(settings, (("bimodal-1d", 1.0),))}


@fault("theory_checks.chain:drift", "C2")
def drift_without_the_divergence(original: Any) -> Any:
    """The Ito form is that of the literal reading: its drift lacks div M."""
    return lambda at, *, damping, dynamics: original(at, damping=damping, dynamics="literal")


@fault("theory_checks.fokker_planck:mobility", "C2")
def mobility_is_its_root(original: Any) -> Any:
    """The conductances are made of M^{1/2}."""
    return lambda s, **options: original(s, **options).sqrt()


@fault("theory_checks.divergences:DIVERGENCES", "C2")
def hellinger_without_the_root(original: Any) -> Any:
    """Hellinger's distance is given squared, and so falls at twice its rate."""
    return {**original, "Hellinger": lambda p, q: original["Hellinger"](p, q) ** 2}


@fault("theory_checks.divergences:DIVERGENCES", "C2")
def kl_the_wrong_way_round(original: Any) -> Any:
    """KL is taken of q from rho, which no chi-squared of rho from q bounds."""
    return {**original, "KL": lambda p, q: original["KL"](q, p + 1e-300)}


@fault("theory_checks.divergences:wasserstein", "C2")
def wasserstein_without_the_root(original: Any) -> Any:
    """The cost of transport is given for its root."""
    return lambda edges, p, q: original(edges, p, q) ** 2
