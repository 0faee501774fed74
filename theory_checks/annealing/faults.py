"""Faults of claims A: the flows of Eqs. 9 and 10, the samplers, the corrected SDE, its proofs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor

from lml.correction import Correction, Memory
from theory_checks.annealing.corrected_sde import check_corrected_sde
from theory_checks.annealing.marginals import check_data, check_marginals
from theory_checks.annealing.order import BASES, check_order
from theory_checks.ledger.faults import fault
from theory_checks.numerics.reverse_particles import ReverseSDE
from theory_checks.numerics.reverse_time import ReverseFlow

Coefficients = tuple[Tensor, Callable[[Tensor], Tensor]]
Formula = Callable[..., Any]

REDUCED = {
    # One damping and the control of ordinary flows.
    "A1": lambda settings: check_marginals(settings, (1.0, math.inf)),
    "A2": lambda settings: check_data(settings, (1.0, math.inf), "random-8d"),
    # A second-order base, a first-order one and one with two evaluations a step, on one target.
    "A3": lambda settings: check_order(
        settings, {name: BASES[name] for name in ("ddim", "dpm-solver-2m", "heun")}, ("cross-2d",)
    ),
    # One target on the line and one in the plane, at the damping at which lambda M is M.
    "A4": lambda settings: check_corrected_sde(settings, (1.0,), ("bimodal-1d",), (("cross-2d", 1.0),), ()),
}


# --- the flows of Eqs. 9 and 10


@fault("theory_checks.numerics.reverse_time:ReverseFlow.coefficients", "A1", "A2", "A4")
def noise_of_a_langevin_step(original: Any) -> Any:
    """The reverse SDE gets the sqrt(2) of a Langevin step, which belongs to twice its drift."""

    def coefficients(self: ReverseFlow, u: Tensor, tau: float) -> Coefficients:
        b, root = original(self, u, tau)
        return b, lambda z: math.sqrt(2) * root(z)

    return coefficients


@fault("theory_checks.numerics.reverse_time:ReverseFlow.coefficients", "A1", "A2")
def ode_keeps_the_whole_score(original: Any) -> Any:
    """Eq. 10 is given the drift of Eq. 9, without the half."""

    def coefficients(self: ReverseFlow, u: Tensor, tau: float) -> Coefficients:
        b, root = original(self, u, tau)
        return (2 * b if self.name == "ode" else b), root

    return coefficients


@fault("theory_checks.numerics.reverse_time:_fokker_planck", "A1", "A2")
def diffusion_matrix_outside_of_the_derivative(original: Any) -> Any:
    """The Fokker-Planck equation of Eq. 9 gets (N rho')' where the Ito calculus has (N rho)''."""

    def solve(flow: ReverseFlow, edges: np.ndarray, steps: int) -> Any:
        return original(
            dataclasses.replace(flow, name="divergence_added") if flow.name == "literal" else flow, edges, steps
        )

    return solve


@fault("theory_checks.numerics.reverse_time:DampedOuterProduct.divergence", "A2", "A4")
def corrected_sde_with_the_wrong_sign(original: Any) -> Any:
    """The corrected SDE subtracts the divergence that it must add."""
    return lambda self, hessian_vector, laplacian: -original(self, hessian_vector, laplacian)


@fault("theory_checks.numerics.reverse_time:ReverseFlow.level", "A1", "A2")
def score_of_the_clean_data(original: Any) -> Any:
    """The flows use the score of a level with half of the time, as a schedule read at the wrong argument would give."""
    return lambda self, tau: original(self, 0.5 * tau)


# --- the samplers, and the corrections in them


@fault("lml.correction:Correction.correct", "A3")
def memory_keeps_the_first_noise(original: Any) -> Any:
    """The previous noise is that of the first evaluation for ever, so that the change does not shrink with the step."""

    def correct(self: Correction, vector: Tensor, memory: Memory, progress: float = 0.0) -> tuple[Tensor, Memory]:
        turned, after = original(self, vector, memory, progress)
        return turned, memory if memory.history else after

    return correct


@fault("lml.correction:lml_direction_rank", "A3")
def turn_towards_the_previous_noise(original: Any) -> Any:
    """The sign of the extrapolation is wrong: the noise is turned towards the one before it."""
    return lambda noise, history, **options: original(noise, [2 * noise - p for p in history], **options)


@fault("lml.correction:lml_direction_rank", "A3")
def norm_is_not_restored(original: Any) -> Any:
    """Step 13 is left out: the extrapolated noise keeps the norm that comes out."""

    def direction(noise: Tensor, history: Any, *, damping: Any, mixing: float) -> Tensor:
        if not history:
            return noise
        turned: Tensor = noise + mixing * (noise * noise).sum(1, keepdim=True) / damping[:, None] * (noise - history[0])
        return turned

    return direction


@fault("lml.samplers.dpm_solver:multistep_sum", "A3")
def midpoint_is_the_end_point(original: Any) -> Any:
    """The second-order step extrapolates by a whole step instead of by half."""
    return lambda D, eta, **options: D[0] + D[1] if len(D) == 2 else original(D, eta, **options)


# --- the corrected SDE


@fault("theory_checks.numerics.reverse_particles:divergence", "A4")
def particles_without_the_divergence(original: Any) -> Any:
    """Div M is left out of the particles' drift."""
    return lambda M, s, H: torch.zeros_like(s)


@fault("theory_checks.numerics.reverse_particles:divergence", "A4")
def divergence_with_the_whole_square_of_the_noise(original: Any) -> Any:
    """Div M gets the factor g^2 where g^2/2 belongs."""
    return lambda M, s, H: 2 * original(M, s, H)


@fault("theory_checks.numerics.reverse_particles:ReverseSDE.at", "A4")
def noise_of_another_damping(original: Any) -> Any:
    """The M of the noise has three times the damping of the M of the drift."""

    def at(self: ReverseSDE, x: Tensor, tau: float) -> Any:
        other = original(dataclasses.replace(self, damping=3 * self.damping), x, tau)
        return original(self, x, tau)._replace(factor=other.factor)

    return at


@fault("theory_checks.numerics.reverse_time:ReverseFlow.coefficients", "A4")
def grid_with_noise_of_another_damping(original: Any) -> Any:
    """The same on the grid."""

    def coefficients(self: ReverseFlow, u: Tensor, tau: float) -> Coefficients:
        b, _ = original(self, u, tau)
        return b, original(dataclasses.replace(self, damping=3 * self.damping), u, tau)[1]

    return coefficients


@fault("theory_checks.numerics.reverse_time:ReverseFlow.coefficients", "A4")
def ordinary_flow_left_out(original: Any) -> Any:
    """The drift is 2 M s + div M: Eq. 9 with the correction of Prop. 3, without the score that carries the levels."""

    def coefficients(self: ReverseFlow, u: Tensor, tau: float) -> Coefficients:
        b, root = original(
            dataclasses.replace(self, name="divergence_added") if self.name == "corrected" else self, u, tau
        )
        return b, root

    return coefficients


@fault("theory_checks.annealing.corrected_sde:step_at_a_mode", "A4")
def step_of_the_reverse_sde(original: Any) -> Any:
    """The step at a mode is derived without the divergence, as if M were constant."""
    return lambda damping, variance: (original(damping, variance)[0], 1.0)


# --- symbolic proofs


@fault("theory_checks.annealing.proofs:corrected_drift", "A4")
def corrected_drift_without_the_divergence(original: Formula) -> Formula:
    """``f x - (g^2/2)(s + M s)``."""
    return lambda x, s, M, div_M: original(x, s, M, 0 * div_M)


@fault("theory_checks.annealing.proofs:reverse_change", "A4")
def reverse_time_taken_for_time(original: Formula) -> Formula:
    """``+ (g^2/2) sum_ij d_i d_j (M_ij rho)``: the noise of a forward equation."""

    def change(rho: sympy.Expr, a: sympy.Matrix, M: sympy.Matrix, x: tuple[sympy.Symbol, ...]) -> Any:
        return original(rho, a, -M, x)

    return change


@fault("theory_checks.annealing.proofs:claimed_excess", "A4")
def excess_without_the_divergence(original: Formula) -> Formula:
    """``(g^2/2) div(q (M - I) s)``."""
    return lambda q, x, s, M, div_M: original(q, x, s, M, 0 * div_M)
