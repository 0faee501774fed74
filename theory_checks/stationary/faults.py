"""Faults of claims S: the stationary measure, the mirror reading, discretised chains, their proofs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lml.geometry import DampedOuterProduct
from theory_checks.ledger.faults import fault
from theory_checks.numerics.dynamics import drift
from theory_checks.numerics.symbolic_calculus import claimed_divergence, lam
from theory_checks.stationary.discretisation import check_discretisation
from theory_checks.stationary.gaussian import check_existence
from theory_checks.stationary.mirror_map import check_mirror
from theory_checks.stationary.stationary_measure import check_corrected, check_literal

Method = Callable[..., Tensor]
Formula = Callable[..., Any]

REDUCED = {
    "S1": partial(check_literal, dampings=(10.0,)),
    "S2": partial(check_corrected, names=("skewed-1d", "cross-2d"), large=(("random-8d", 0.0),)),
    "S3": partial(check_mirror, names=("gauss-2d", "random-8d")),
    "S4": partial(check_discretisation, names=("random-8d",)),
    "S5": partial(check_existence, cases=((2, 3.0, 1.0), (3, 1.0, 1.0))),
}


@fault("lml.geometry:DampedOuterProduct.solve_vector", "S1", "S2", "S5")
def drift_without_the_geometry(original: Method) -> Method:
    """``s/lambda`` in place of ``M s``."""
    return lambda self: self.vector / self.damping


@fault("lml.geometry:DampedOuterProduct.divergence", "S1", "S2", "C1")
def divergence_with_the_wrong_sign(original: Method) -> Method:
    """``- div M``."""
    return lambda self, hessian_vector, laplacian: -original(self, hessian_vector, laplacian)


@fault("lml.geometry:DampedOuterProduct.divergence", "S1", "S2", "C1")
def second_term_of_the_divergence_dropped(original: Method) -> Method:
    """The derivative of the denominator left out: no ``2 s (s^T H s)/(lambda + |s|^2)^2``."""

    def divergence(self: DampedOuterProduct, hessian_vector: Tensor, laplacian: Tensor) -> Tensor:
        total = self.damping + self.squared_norm
        return -(hessian_vector + self.vector * laplacian[:, None]) / total / self.damping

    return divergence


@fault("lml.geometry:DampedOuterProduct.divergence", "S1", "S2")
def trace_of_the_hessian_left_out(original: Method) -> Method:
    """``H s`` in place of ``H s + s tr H``."""
    return lambda self, hessian_vector, laplacian: original(self, hessian_vector, 0 * laplacian)


@fault("theory_checks.stationary.stationary_measure:drift", "S2")
def literal_drift_taken_for_the_corrected(original: Method) -> Method:
    """``M s`` alone, which is what Prop. 3 says."""
    return lambda at, *, damping, dynamics: original(at, damping=damping, dynamics="literal")


@fault("theory_checks.stationary.stationary_measure:diffusion_matrix", "S2")
def diffusion_matrix_times_the_damping(original: Method) -> Method:
    """``lambda M`` in the noise and ``M`` in the drift: ``lambda`` in place of ``1/lambda``."""
    return lambda s, *, damping, dynamics: damping * original(s, damping=damping, dynamics=dynamics)


@fault("toy.mixture:GaussianMixture.laplacian", "S2")
def curvature_of_one_axis_for_the_trace(original: Method) -> Method:
    """``H_11`` in place of ``tr H``: nothing changes in one dimension."""
    return lambda self, x: self.hessian(x)[:, 0, 0]


@fault("theory_checks.numerics.euler_chain:drift", "S1")
def corrected_drift_taken_for_the_literal(original: Method) -> Method:
    """The chain simulates the dynamics of S2 under the name of S1."""
    return lambda at, *, damping, dynamics: drift(at, damping=damping, dynamics="corrected")


@fault("theory_checks.numerics.euler_chain:diffusion_matrix", "S1", "C1")
def step_of_half_the_noise(original: Method) -> Method:
    """``sqrt(h D) z`` in place of ``sqrt(2 h D) z``."""
    return lambda s, *, damping, dynamics: 0.5 * original(s, damping=damping, dynamics=dynamics)


@fault("theory_checks.numerics.euler_chain:diffusion_matrix", "S1")
def noise_of_plain_langevin(original: Method) -> Method:
    """``D = I/lambda``: the noise does not know the geometry."""
    return lambda s, *, damping, dynamics: original(0 * s, damping=damping, dynamics=dynamics)


@fault("theory_checks.stationary.stationary_measure:literal_density", "S1")
def density_over_the_diffusion_matrix_inverted(original: Method) -> Method:
    """``q M`` in place of ``q/M``."""
    return lambda q, x, damping: q.log_density(x).exp() ** 2 / original(q, x, damping)


@fault("theory_checks.stationary.stationary_measure:literal_density", "S1")
def length_in_place_of_its_square(original: Method) -> Method:
    """``q (lambda + |s|)``."""
    return lambda q, x, damping: q.log_density(x).exp() * (damping + q.score(x)[:, 0].abs())


@fault("theory_checks.stationary.mirror_map:defect", "S3")
def defect_counted_once(original: Method) -> Method:
    """``|T|^2 = |H|^2 |s|^2 - |H s|^2``, without the factor 2 of the two orders of the indices."""
    return lambda s, H: original(s, H) / math.sqrt(2)


@fault("theory_checks.stationary.mirror_map:defect", "S3")
def cross_term_of_the_defect_left_out(original: Method) -> Method:
    """``|T|^2 = 2 |H|^2 |s|^2``: not zero in one dimension."""
    return lambda s, H: math.sqrt(2) * H.flatten(1).norm(dim=1) * s.norm(dim=1)


@fault("lml.geometry:DampedOuterProduct.matvec", "S3")
def geometry_with_a_minus(original: Method) -> Method:
    """``lambda I - s s^T``: the circulation changes its sign."""
    return lambda self, x: 2 * self.damping * x - original(self, x)


@fault("lml.geometry:DampedOuterProduct.dense", "S3")
def elementwise_product_for_the_outer(original: Method) -> Method:
    """``lambda I + diag(s_i^2)``."""
    return lambda self: torch.diag_embed(self.damping + self.vector**2)


@fault("lml.geometry:DampedOuterProduct.sqrt_solve", "S5")
def root_of_the_noise_forgotten(original: Method) -> Method:
    """``M z`` in place of ``M^{1/2} z``."""
    return lambda self, x: self.solve(x)


@fault("lml.geometry:DampedOuterProduct.sqrt_solve", "S5")
def noise_with_the_geometry_along_s_only(original: Method) -> Method:
    """``(s <s,z>/|s|^2)/sqrt(lambda + |s|^2)``: the noise across s, which drives the growth, left out."""

    def sqrt_solve(self: DampedOuterProduct, x: Tensor) -> Tensor:
        right: Tensor = original(self, x)
        along = (self.vector * right).sum(1, keepdim=True) / self.squared_norm
        return self.vector * along

    return sqrt_solve


@fault("theory_checks.stationary.gaussian:mean_square", "S5")
def scale_with_a_plus(original: Callable[..., float]) -> Any:
    """``c = v/(1 + (d-1)/(lambda v))``: a law for every damping."""

    def mean_square(d: int, damping: float, v: float) -> float:
        c = v / (1 + (d - 1) / (damping * v))
        return (damping * c * d + c**2 * d * (d + 2) / v**2) / (damping + c * d / v**2)

    return mean_square


@fault("theory_checks.stationary.gaussian:mean_square", "S5")
def mean_square_of_q(original: Callable[..., float]) -> Any:
    """``v d``: what Prop. 3 says, where there is a law."""
    return lambda d, damping, v: v * d if math.isfinite(original(d, damping, v)) else math.inf


# --- discretised and Metropolis-adjusted chains


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


# --- symbolic proofs


@fault("theory_checks.stationary.proofs:claimed_divergence", "S2")
def formula_without_the_trace(original: Formula) -> Formula:
    """``s tr H`` left out."""
    return lambda s, H: original(s, H) + s * H.trace() / (lam + s.dot(s)) / lam


@fault("theory_checks.stationary.proofs:claimed_literal_density", "S1")
def density_with_the_inverse_metric(original: Formula) -> Formula:
    """``q/(lambda + s^2)``."""
    return lambda L, s: original(L, s) / (lam + s**2) ** 2


@fault("theory_checks.stationary.proofs:corrected_drift", "S2", "C1")
def literal_drift(original: Formula) -> Formula:
    """``M s``: the literal reading."""
    return lambda s, H: original(s, H) - claimed_divergence(s, H)


@fault("theory_checks.stationary.proofs:claimed_defect", "S3")
def defect_with_the_wrong_sign(original: Formula) -> Formula:
    """``H_ik s_j + H_ij s_k``."""
    return lambda s, H, i, j, k: H[i, k] * s[j] + H[i, j] * s[k]


@fault("theory_checks.stationary.proofs:claimed_squared_defect", "S3")
def squared_defect_without_a_factor(original: Formula) -> Formula:
    """``|H|^2 |s|^2 - |H s|^2``."""
    return lambda s, H: original(s, H) / 2
