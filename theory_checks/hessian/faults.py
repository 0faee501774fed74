"""Faults of claims H: the Hessian, its outer-product approximation, the certified bound, their proofs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import sympy
import torch
from flint import arb
from torch import Tensor

from theory_checks.hessian.certified_bound import check_certified_bound
from theory_checks.hessian.error_bound import OuterProductErrors, check_error_bound, check_zero_is_nearer
from theory_checks.hessian.identities import check_bartlett, check_residual, check_tweedie
from theory_checks.hessian.isotropic import check_isotropic
from theory_checks.ledger.faults import fault
from toy import DataMixture, ExactTarget, GaussianMixture

Method = Callable[..., Tensor]
Errors = Callable[..., OuterProductErrors]
Formula = Callable[..., Any]

REDUCED = {
    "H1": partial(check_residual, names=("skewed-1d", "random-8d", "points-8d"), large=("points-8d",)),
    "H2": partial(check_tweedie, names=("skewed-1d", "random-8d", "points-8d"), large=("points-8d",)),
    "H3": partial(check_error_bound, names=("points-2d", "points-8d")),
    "H3c": partial(check_certified_bound, names=("points-1d",)),
    "H4": partial(check_bartlett, names=("skewed-1d",), cases=(("random-64d", 0.0, "trace", 0.02),)),
    "H5": partial(check_zero_is_nearer, names=("bimodal-1d", "points-8d")),
    "H6": partial(check_isotropic, names=("points-2d", "points-8d")),
}


@fault("toy.mixture:GaussianMixture.hessian", "H1", "H2", "H4")
def hessian_of_the_density(original: Method) -> Method:
    """``hess(q)/q`` in place of ``hess log q``: the outer product of the score is not subtracted."""

    def hessian(self: GaussianMixture, x: Tensor) -> Tensor:
        s = self.score(x)
        return original(self, x) + s[:, :, None] * s[:, None, :]

    return hessian


@fault("toy.data_mixture:DataMixture.hessian", "H1", "H2", "H3")
def precision_with_a_power_of_sigma_too_few(original: Method) -> Method:
    """``I/sigma`` in place of ``I/sigma^2``."""

    def hessian(self: DataMixture, x: Tensor) -> Tensor:
        identity = torch.eye(self.dim, dtype=torch.float64)
        return original(self, x) + identity / self.variance - identity / math.sqrt(self.variance)

    return hessian


@fault("toy.data_mixture:DataMixture.hessian_vector", "H1", "H2")
def alpha_in_place_of_its_square(original: Method) -> Method:
    """``alpha/sigma^4 V u - u/sigma^2``."""
    return lambda self, x, v: (original(self, x, v) + v / self.variance) / self.alpha - v / self.variance


@fault("toy.data_mixture:DataMixture._weighted_covariance", "H1", "H2")
def covariance_not_centred(original: Method) -> Method:
    """``V`` without ``- delta delta^T``: it enters F and Cov(y|x) alike, so that they still agree with each other."""
    return lambda self, at: original(self, at) + at.shift[:, :, None] * at.shift[:, None, :]


@fault("toy.mixture:GaussianMixture.posterior_covariance", "H2")
def covariance_of_the_component_means_only(original: Method) -> Method:
    """The spread within each component, ``sigma^2 C C_t^{-1}``, left out."""

    def posterior_covariance(self: GaussianMixture, x: Tensor) -> Tensor:
        solved = self.component_covariances.solve(self._data_covariance.dense().transpose(0, 1)).transpose(0, 1)
        within = (self.responsibilities(x) @ (self.sigma**2 * solved).flatten(1)).view(-1, self.dim, self.dim)
        return original(self, x) - within

    return posterior_covariance


@fault("theory_checks.hessian.error_bound:hessian_error_bound", "H3")
def bound_without_the_radius(original: Method) -> Method:
    """``R^2`` left out: what remains is a bound on F alone."""
    return lambda q, radius, delta, diameter: original(q, radius, delta, diameter) - radius**2 / q.sigma**2


@fault("theory_checks.hessian.error_bound:hessian_error_bound", "H3")
def bound_without_the_network(original: Method) -> Method:
    """The terms in ``delta`` left out."""
    return lambda q, radius, delta, diameter: original(q, radius, 0.0, diameter)


@fault("theory_checks.hessian.error_bound:hessian_error_bound", "H3")
def bound_with_sigma_squared_above(original: Method) -> Method:
    """``sigma^2 [...]`` in place of ``[...]/sigma^2``."""
    return lambda q, radius, delta, diameter: original(q, radius, delta, diameter) * q.sigma**4


@fault("theory_checks.hessian.error_bound:outer_product_errors", "H3")
def cross_term_counted_once(original: Errors) -> Errors:
    """``|F|^2 - <s, F s> + |s|^4`` for the squared distance."""

    def errors(q: ExactTarget, x: Tensor, s: Tensor, squared_norm: Tensor | None = None) -> OuterProductErrors:
        right = original(q, x, s, squared_norm)
        along = right.best_multiple_coefficient * (s**2).sum(1) ** 2
        return right._replace(outer=(right.outer**2 + along).clamp_min(0).sqrt())

    return errors


@fault("toy.mixture:GaussianMixture.laplacian", "H4")
def mean_over_the_axes_for_the_trace(original: Method) -> Method:
    """``tr H / d``."""
    return lambda self, x: original(self, x) / self.dim


@fault("toy.mixture:GaussianMixture.score", "H1", "H4")
def noise_in_place_of_the_score(original: Method) -> Method:
    """``sigma s``: a power of sigma too many."""
    return lambda self, x: original(self, x) * self.sigma


@fault("toy.mixture:GaussianMixture.sample", "H4")
def samples_of_half_the_variance(original: Method) -> Method:
    """Draws about the mean, shrunk by the root of 2: not of the law whose score is taken."""

    def sample(self: GaussianMixture, count: int, *, generator: torch.Generator) -> Tensor:
        return self.mean() + (original(self, count, generator=generator) - self.mean()) / math.sqrt(2)

    return sample


@fault("theory_checks.hessian.error_bound:outer_product_errors", "H3", "H5")
def cross_term_with_the_wrong_sign(original: Errors) -> Errors:
    """``|F|^2 + 2 <s, F s> + |s|^4`` for the squared distance."""

    def errors(q: ExactTarget, x: Tensor, s: Tensor, squared_norm: Tensor | None = None) -> OuterProductErrors:
        right = original(q, x, s, squared_norm)
        along = right.best_multiple_coefficient * (s**2).sum(1) ** 2
        return right._replace(outer=(right.outer**2 + 4 * along).clamp_min(0).sqrt())

    return errors


@fault("toy.data_mixture:DataMixture.hessian_vector", "H5")
def product_with_a_power_of_sigma_too_many(original: Method) -> Method:
    """``H v/sigma``."""
    return lambda self, x, v: original(self, x, v) / self.sigma


@fault("theory_checks.hessian.error_bound:outer_product_errors", "H5")
def coefficient_over_the_squared_length(original: Errors) -> Errors:
    """``c* = <s, F s>/|s|^2``."""

    def errors(q: ExactTarget, x: Tensor, s: Tensor, squared_norm: Tensor | None = None) -> OuterProductErrors:
        right = original(q, x, s, squared_norm)
        return right._replace(best_multiple_coefficient=right.best_multiple_coefficient * (s**2).sum(1))

    return errors


# --- the certified bound


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


# --- the isotropic Hessian


@fault("theory_checks.hessian.isotropic:isotropic_gains", "H6")
def trace_counted_once(original: Formula) -> Formula:
    """``|s|^2 - tr F`` in place of ``|s|^2 - 2 tr F``."""

    def gains(s: Tensor, along: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
        return original(s, along, trace / 2)[0], original(s, along, trace)[1]

    return gains


@fault("theory_checks.hessian.isotropic:isotropic_gains", "H6")
def cross_term_of_the_outer_product_counted_once(original: Formula) -> Formula:
    """``- <s, F s>`` in place of ``- 2 <s, F s>``."""
    return lambda s, along, trace: original(s, along / 2, trace)


@fault("theory_checks.hessian.isotropic:threshold", "H6")
def threshold_too_low(original: Formula) -> Formula:
    """``d/(10 (d - 1))`` in place of ``2 d/(d - 1)``: the claim where it is not true."""
    return lambda d: original(d) / 20


# --- symbolic proofs


@fault("theory_checks.hessian.proofs:claimed_isotropic_gains", "H6")
def trace_not_shared_by_the_directions(original: Formula) -> Formula:
    """``2 |s|^2 tr F`` without the division by d."""

    def gains(s: sympy.Matrix, F: sympy.Matrix) -> tuple[sympy.Expr, sympy.Expr]:
        first, second = original(s, F)
        return first, second + 2 * s.dot(s) * F.trace() * (1 - sympy.Rational(1, s.rows))

    return gains


@fault("theory_checks.hessian.proofs:claimed_residual", "H1")
def residual_doubled(original: Formula) -> Formula:
    """``s s^T - 2 hess(q)/q``."""

    def residual(q: sympy.Expr, x: tuple[sympy.Symbol, ...]) -> sympy.Matrix:
        return original(q, x) - sympy.Matrix(len(x), len(x), lambda i, j: sympy.diff(q, x[i], x[j]) / q)

    return residual


@fault("theory_checks.hessian.proofs:claimed_tweedie", "H2")
def covariance_over_sigma_squared(original: Formula) -> Formula:
    """``(alpha^2/sigma^2) Cov``."""
    sigma = sympy.symbols("sigma", positive=True)
    return lambda covariance: original(sigma**2 * covariance)


@fault("theory_checks.hessian.proofs:claimed_component", "H2")
def component_that_ignores_the_noise(original: Formula) -> Formula:
    """The component's own variance for that of its posterior."""
    return lambda mean, variance, x: (original(mean, variance, x)[0], variance)


@fault("theory_checks.hessian.proofs:claimed_mixture_covariance", "H2")
def covariance_between_components_only(original: Formula) -> Formula:
    """``u_k`` left out."""
    return lambda r, mu, u: original(r, mu, [sympy.Integer(0) for _ in u])


@fault("theory_checks.hessian.proofs:claimed_square_gap", "H3", "H3c")
def square_gap_without_the_mixed_term(original: Formula) -> Formula:
    """``W`` left out of the quadratic form."""
    return lambda d, A, W, noise: original(d, A, W, noise) + 2 * (noise.T * W * noise)[0]


@fault("theory_checks.hessian.proofs:claimed_trace", "H3", "H3c")
def pairs_counted_twice(original: Formula) -> Formula:
    """``sum_ij`` without the half."""
    return lambda r, y: 2 * original(r, y)
