r"""DPM-Solver++, multistep: 2M and 3M, in the data prediction ``x0 = (x - sigma e)/alpha``.

With the transfer ``x' = linear x - gain x0``, ``eta = -h`` and ``D_k`` the divided differences of the last data
predictions (``D_1 ~ h x0'``, ``D_2 ~ h^2 x0''/2``)::

    2M   x' = linear x - gain (x0 + D_1/2)                                 midpoint
    3M   x' = linear x - gain (x0 + (phi_2/phi_1) D_1 + (phi_3/phi_1) D_2)

with ``phi_k = phi_k(eta)``. What `lml.samplers.dpm_solver` says of the weight of ``D_2`` holds here too.

Source: Lu et al. 2022, DPM-Solver++, Algorithm 2 (2M); 3M is of its code (``multistep_dpm_solver_third_update``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lml.samplers.base import Info, Level, Network, Sampler, State
from lml.samplers.exponential import data_transfer, divided_differences, multistep_order, multistep_sum, step_size

__all__ = ["DPM_SOLVER_PP_2M", "DPM_SOLVER_PP_3M", "dpm_solver_pp"]


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
    """Take one step of DPM-Solver++."""
    now, after = levels[i], levels[i + 1]
    evaluation, memory = network.noise(state.x, now, state.memory, i)
    x0 = (state.x - now.sigma * evaluation.noise) / now.alpha
    outputs = ((now, x0), *state.outputs)[:order]
    use = multistep_order(outputs, levels, i, lower_order_final=lower_order_final)
    transfer = data_transfer(now, after)
    D = divided_differences(outputs[:use], step_size(now, after))
    u = -transfer.gain * multistep_sum(D, transfer.eta, exact_curvature=exact_curvature)
    x, memory = network.advance(transfer.linear * state.x, 1.0, u, memory, i)
    return State(x, memory, outputs), Info((evaluation,))


def dpm_solver_pp(order: int, *, lower_order_final: bool = True, exact_curvature: bool = False) -> Sampler:
    """Return the multistep DPM-Solver++.

    Args:
        order: 2 or 3: how many data predictions a step combines. (One is DDIM.)
        lower_order_final: let the order fall in the last steps of a trajectory of fewer than 15, as published.
        exact_curvature: weigh the second derivative as the expansion asks, not by half of it.

    Raises:
        ValueError: for another order.
    """
    if order not in (2, 3):
        raise ValueError(f"order must be 2 or 3, got {order!r}")
    run = partial(step, order=order, lower_order_final=lower_order_final, exact_curvature=exact_curvature)
    return Sampler(f"dpm-solver++-{order}m", order=2, step=run)


#: As published; both of second order (the start of 3M is of first).
DPM_SOLVER_PP_2M, DPM_SOLVER_PP_3M = dpm_solver_pp(2), dpm_solver_pp(3)
