"""Faults of the repaired SDE, for A4; more are in `faults_annealed`, those of its proofs in `faults_symbolic`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from theory_checks.annealing.corrected_sde import check_repaired
from theory_checks.ledger.faults import fault
from theory_checks.numerics.reverse_particles import ReverseSDE
from theory_checks.numerics.reverse_time import ReverseFlow

#: One target on the line and one in the plane, at the damping at which lambda M is M.
REDUCED = {"A4": lambda settings: check_repaired(settings, (1.0,), ("bimodal-1d",), (("cross-2d", 1.0),), ())}

Coefficients = tuple[Tensor, Callable[[Tensor], Tensor]]


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
        b, root = original(dataclasses.replace(self, name="sde_div") if self.name == "mixed" else self, u, tau)
        return b, root

    return coefficients


@fault("theory_checks.annealing.corrected_sde:step_at_a_mode", "A4")
def step_of_the_reverse_sde(original: Any) -> Any:
    """The step at a mode is derived without the divergence, as if M were constant."""
    return lambda damping, variance: (original(damping, variance)[0], 1.0)
