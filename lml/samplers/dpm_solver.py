r"""DPM-Solver, multistep, in the noise prediction: the base of the paper.

With the transfer ``x' = linear x - gain e``, ``h`` the step in half-log-SNR and ``D_k`` the divided differences of the
last noise predictions (``D_1 ~ h e'``, ``D_2 ~ h^2 e''/2``)::

    order 1   x' = linear x - gain e                                       DDIM
    order 2   x' = linear x - gain (e + D_1/2)                             midpoint
    order 3   x' = linear x - gain (e + (phi_2/phi_1) D_1 + (phi_3/phi_1) D_2)

The expansion asks for ``2 phi_3/phi_1`` before ``D_2``. The published multistep code, and diffusers after it, has half
of that (their singlestep solver has the factor two). ``exact_curvature`` repairs it. Either way the start, whose first
step is of first order, leaves second order to the whole; with exact curvature and a history the steps are of third.

Source: Lu et al. 2022, DPM-Solver, Eqs. 3.4 and B.4, and its multistep code (``multistep_dpm_solver_third_update``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lml.samplers.base import Info, Level, Network, Sampler, State
from lml.samplers.exponential import divided_differences, multistep_order, multistep_sum, noise_transfer, step_size

__all__ = ["DPM_SOLVER_1", "DPM_SOLVER_2M", "DPM_SOLVER_3M", "dpm_solver"]


def step(
    state: State,
    network: Network,
    levels: Sequence[Level],
    i: int,
    *,
    order: int,
    lower_order_final: bool,
    exact_curvature: bool,
) -> tuple[State, Info]:
    """Take one step of DPM-Solver."""
    now, after = levels[i], levels[i + 1]
    evaluation, memory = network.noise(state.x, now, state.memory, i)
    outputs = ((now, evaluation.noise), *state.outputs)[:order]
    use = multistep_order(outputs, levels, i, lower_order_final=lower_order_final)
    transfer = noise_transfer(now, after)
    D = divided_differences(outputs[:use], step_size(now, after))
    u = -transfer.gain * multistep_sum(D, transfer.eta, exact_curvature=exact_curvature)
    x, memory = network.advance(transfer.linear * state.x, 1.0, u, memory, i)
    return State(x, memory, outputs), Info((evaluation,))


def dpm_solver(order: int, *, lower_order_final: bool = True, exact_curvature: bool = False) -> Sampler:
    """Return the multistep DPM-Solver.

    Args:
        order: 1, 2 or 3: how many noise predictions a step combines.
        lower_order_final: let the order fall in the last steps of a trajectory of fewer than 15, as published.
        exact_curvature: weigh the second derivative as the expansion asks, not by half of it.

    Raises:
        ValueError: for another order.
    """
    if order not in (1, 2, 3):
        raise ValueError(f"order must be 1, 2 or 3, got {order!r}")
    run = partial(step, order=order, lower_order_final=lower_order_final, exact_curvature=exact_curvature)
    # Written 2M and 3M: 2S and 3S are the singlestep solvers. Of first order they are one, DDIM.
    return Sampler("dpm-solver-1" if order == 1 else f"dpm-solver-{order}m", order=min(order, 2), step=run)


#: As published. The third combines three predictions; its order is two, for the start and for the weight of ``D_2``.
DPM_SOLVER_1, DPM_SOLVER_2M, DPM_SOLVER_3M = dpm_solver(1), dpm_solver(2), dpm_solver(3)
