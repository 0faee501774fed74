"""Faults of the flows of Eqs. 9 and 10, for the claims A1 and A2, and of what A4 shares with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from theory_checks.annealing.marginals import check_data, check_marginals
from theory_checks.ledger.faults import fault
from theory_checks.numerics.reverse_time import ReverseFlow

#: One damping and the control of ordinary flows.
REDUCED = {
    "A1": lambda settings: check_marginals(settings, (1.0, math.inf)),
    "A2": lambda settings: check_data(settings, (1.0, math.inf), "random-8d"),
}

Coefficients = tuple[Tensor, Callable[[Tensor], Tensor]]


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
def mobility_outside_of_the_derivative(original: Any) -> Any:
    """The Fokker-Planck equation of Eq. 9 gets (N rho')' where the Ito calculus has (N rho)''."""

    def solve(flow: ReverseFlow, edges: np.ndarray, steps: int) -> Any:
        return original(dataclasses.replace(flow, name="sde_div") if flow.name == "sde" else flow, edges, steps)

    return solve


@fault("theory_checks.numerics.reverse_time:DampedOuterProduct.divergence", "A2", "A4")
def repaired_sde_with_the_wrong_sign(original: Any) -> Any:
    """The repaired SDE subtracts the divergence that it must add."""
    return lambda self, hessian_vector, laplacian: -original(self, hessian_vector, laplacian)


@fault("theory_checks.numerics.reverse_time:ReverseFlow.level", "A1", "A2")
def score_of_the_clean_data(original: Any) -> Any:
    """The flows use the score of a level with half of the time, as a schedule read at the wrong argument would give."""
    return lambda self, tau: original(self, 0.5 * tau)
