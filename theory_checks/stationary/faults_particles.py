"""Faults of the discretised and the Metropolis-adjusted chains, for the claim S4."""

from __future__ import annotations

from typing import Any

from theory_checks.ledger.faults import fault
from theory_checks.stationary.discretisation import check_discretisation

REDUCED = {"S4": lambda settings: check_discretisation(settings, ("random-8d",))}


@fault("theory_checks.numerics.particles:Proposal.log_density", "S4")
def proposal_without_its_determinant(original: Any) -> Any:
    """The density of a move lacks the root of det G, which is not the same there and back."""

    def log_density(self: Any, local: Any, y: Any) -> Any:
        value = original(self, local, y)
        return value if local.G is None else value - 0.5 * local.G.logdet()

    return log_density


@fault("theory_checks.numerics.particles:Proposal.log_density", "S4")
def proposal_taken_for_symmetric(original: Any) -> Any:
    """The accept ratio of a random walk is used, as if the way back were as likely."""
    return lambda self, local, y: 0.0 * original(self, local, y)


@fault("theory_checks.numerics.particles:Proposal.move", "S4")
def particles_without_the_two(original: Any) -> Any:
    """The noise of a step is sqrt(h) M^{1/2} z."""
    return lambda self, local, z: original(self, local, z / 2**0.5)


@fault("theory_checks.stationary.discretisation:literal_density", "S4")
def literal_limit_is_the_target(original: Any) -> Any:
    """The literal chain's limit is taken for q, as Prop. 3 has it."""
    return lambda q, x, damping: q.log_density(x).exp()


@fault("lml.geometry:DampedOuterProduct.divergence", "S4")
def divergence_without_the_trace(original: Any) -> Any:
    """The term s tr H of div M is forgotten."""
    return lambda self, hessian_vector, laplacian: original(self, hessian_vector, 0 * laplacian)
